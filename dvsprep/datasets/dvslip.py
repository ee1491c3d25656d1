"""DVS-Lip (Tan et al. 2022): 100 words read from the lips, 40 speakers, no speaker in both splits."""

from __future__ import annotations

from dvsprep.datasets.dataset import Dataset
from dvsprep.datasets.layouts import class_folders
from dvsprep.raw import Resource

WORDS = """
    accused action allow allowed america american another around attacks banks become being benefit benefits
    between billion called capital challenge change chief couple court death described difference different during
    economic education election england evening everything exactly general germany giving ground happen happened
    having heavy house hundreds immigration judge labour leaders legal little london majority meeting military
    million minutes missing needs number numbers paying perhaps point potential press price question really right
    russia russian saying security several should significant spend spent started still support syria syrian taken
    taking terms these thing think times tomorrow under warning water welcome words worst years young
""".split()

DATASET = Dataset(
    name="dvslip",
    title="DVS-Lip",
    paper="Multi-Grained Spatio-Temporal Features Perceived Network for Event-Based Lip-Reading, Tan et al., CVPR 2022",
    licence="see the authors' page [?]",
    classes=tuple(WORDS),
    sensor=(128, 128),
    format="dvslip-npy",
    resources=(
        Resource(
            "DVS-Lip.zip",
            md5="2dcb959255122d4cdeb6094ca282494b",
            page="https://sites.google.com/view/event-based-lipreading",
        ),
    ),
    layout=class_folders(".npy", folders={"train": "train", "test": "test"}),
    samples={"train": 14896, "test": 4975},
    note="About 1.7 GB. Coordinates as stored; the authors train on rows and columns 16 to 111, then on 88 x 88.",
    status={"drive.google.com": "a confirmation page stands before the file; by hand"},
)
