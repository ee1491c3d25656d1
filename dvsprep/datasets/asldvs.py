"""ASL-DVS (Bi et al. 2019): 24 letters of the American sign language, without j and z."""

from __future__ import annotations

from dvsprep.datasets.dataset import Dataset
from dvsprep.datasets.layouts import class_folders, part
from dvsprep.raw import Resource

DATASET = Dataset(
    name="asldvs",
    title="ASL-DVS",
    paper="Graph-Based Object Classification for Neuromorphic Vision Sensing, Bi et al., ICCV 2019",
    licence="see the authors' repository [?]",
    classes=tuple("abcdefghiklmnopqrstuvwxy"),
    sensor=(180, 240),
    format="asl-mat",
    resources=(
        # The host packs the folder anew at each request, so no MD5 holds; one build had 5,807,293,496 bytes.
        Resource("ICCV2019_DVS_dataset.zip", md5=None, page="https://github.com/PIX2NVS/NVS2Graph"),
    ),
    layout=class_folders(".mat", class_of=part(0)),
    splits=("all",),
    samples={"all": 100800},
    nested=True,
    status={
        "dropbox.com": "link reported dead (NVS2Graph issue 18, SpikingJelly issue 638)",
        "OpenI": "`openi dataset download OpenI/ASLDVS`; the zip lies inside its ASLDVS.zip [?]",
    },
    note="x = 239 - x and y = 179 - y as SpikingJelly has it; which of its mirrors is right is not known [?]. "
    "Labels are 0 to 23 without a gap; tonic's have one at 9.",
)
