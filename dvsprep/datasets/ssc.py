"""SSC, Spiking Speech Commands (Cramer et al. 2020): 35 words through a model of the cochlea."""

from __future__ import annotations

from dvsprep.datasets.dataset import Dataset, files
from dvsprep.datasets.layouts import containers
from dvsprep.events import spikes
from dvsprep.raw import Resource

HOST = "https://zenkelab.org/datasets"
# The order of the labels is the one of the file's extra/keys; here it is alphabetical [?].
WORDS = """
    backward bed bird cat dog down eight five follow forward four go happy house learn left marvin nine no off on one
    right seven sheila six stop three tree two up visual wow yes zero
""".split()

DATASET = Dataset(
    name="ssc",
    title="SSC",
    paper="The Heidelberg Spiking Data Sets for the Systematic Evaluation of Spiking Neural Networks, "
    "Cramer et al., IEEE TNNLS, 2020",
    licence="CC BY 4.0",
    classes=tuple(WORDS),
    sensor=(1, 700),
    channels=1,
    format="spikes-h5",
    resources=(
        Resource("ssc_train.h5.zip", md5="d102be95e7144fcc0553d1f45ba94170", urls=(f"{HOST}/ssc_train.h5.zip",)),
        Resource("ssc_valid.h5.zip", md5="b4eee3516a4a90dd0c71a6ac23a8ae43", urls=(f"{HOST}/ssc_valid.h5.zip",)),
        Resource("ssc_test.h5.zip", md5="a35ff1e9cffdd02a20eb850c17c37748", urls=(f"{HOST}/ssc_test.h5.zip",)),
    ),
    layout=containers,
    splits=("train", "valid", "test"),
    class_names=lambda trees: spikes.shd_classes(next(files(trees["ssc_train.h5.zip"], "ssc_train.h5"))),
    samples={"train": 75466, "valid": 9981, "test": 20382},
    status={"zenkelab.org": "in tonic 1.7 (SpikingJelly 2.0 fetches SHD by mistake); not probed here [?]"},
    note="One-dimensional: frames are [T, 1, 1, 700]. A build takes the words from the file's extra/keys.",
)
