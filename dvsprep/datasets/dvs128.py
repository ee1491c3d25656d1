"""DVS128 Gesture (Amir et al., CVPR 2017): 11 gestures, hour-long AER recordings with a label csv beside each."""

from __future__ import annotations

from dvsprep.datasets import layouts
from dvsprep.datasets.dataset import Dataset
from dvsprep.raw import Resource

CLASSES = (
    "hand clapping",
    "right hand wave",
    "left hand wave",
    "right arm clockwise",
    "right arm counter-clockwise",
    "left arm clockwise",
    "left arm counter-clockwise",
    "arm roll",
    "air drums",
    "air guitar",
    "other gestures",
)
PAGE = "https://ibm.ent.box.com/s/3hiq58ww1pbbjrinh367ykfdf60xsfm8/folder/50167556794"


def user_of(sample: str) -> str:
    """Return ``user01`` of ``user01_fluorescent_led_row01``."""
    return sample.partition("_")[0]


DATASET = Dataset(
    name="dvs128",
    title="DVS128 Gesture",
    paper="A Low Power, Fully Event-Based Gesture Recognition System, Amir et al., CVPR 2017",
    licence="CC BY 4.0",
    classes=CLASSES,
    sensor=(128, 128),
    format="aedat3.1",
    resources=(
        Resource("DvsGesture.tar.gz", md5="8a5c71fb11e24e5ca5b11866ca6c00a1", page=PAGE),
        Resource("gesture_mapping.csv", md5="109b2ae64a0e1f3ef535b18ad7367fd1", page=PAGE, optional=True),
        Resource("LICENSE.txt", md5="065e10099753156f18f51941e6e44b66", page=PAGE, optional=True),
        Resource("README.txt", md5="a0663d3b1d8307c329a43d949ee32d19", page=PAGE, optional=True),
    ),
    layout=layouts.trial_lists,
    recording_of=layouts.trial,
    samples={"train": 1176, "test": 288},
    has_instances=True,
    user_of=user_of,
    status={"ibm.ent.box.com": "a page with a button stands before the files; by hand"},
    tested="10 real gestures, re-encoded in the official layout",
    note="A browser is needed: the host offers no address that a program can fetch.",
)
