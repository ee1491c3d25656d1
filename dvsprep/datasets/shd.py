"""SHD, Spiking Heidelberg Digits (Cramer et al. 2020): spoken digits through a model of the cochlea."""

from __future__ import annotations

from dvsprep.datasets.dataset import Dataset
from dvsprep.datasets.layouts import containers
from dvsprep.raw import Resource

HOST = "https://zenkelab.org/datasets"

DATASET = Dataset(
    name="shd",
    title="SHD",
    paper="The Heidelberg Spiking Data Sets for the Systematic Evaluation of Spiking Neural Networks, "
    "Cramer et al., IEEE TNNLS, 2020",
    licence="CC BY 4.0",
    classes=(
        *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
        *("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"),
    ),
    sensor=(1, 700),
    channels=1,
    format="spikes-h5",
    resources=(
        Resource("shd_train.h5.zip", md5="f3252aeb598ac776c1b526422d90eecb", urls=(f"{HOST}/shd_train.h5.zip",)),
        Resource("shd_test.h5.zip", md5="1503a5064faa34311c398fb0a1ed0a6f", urls=(f"{HOST}/shd_test.h5.zip",)),
    ),
    layout=containers,
    samples={"train": 8156, "test": 2264},
    status={"zenkelab.org": "in SpikingJelly 2.0 and tonic 1.7; not probed here [?]"},
    note="One-dimensional: frames are [T, 1, 1, 700]. Times are microseconds, where SpikingJelly counts milliseconds. "
    "The project page counts 8,332 + 2,088; users of the files count 8,156 + 2,264.",
)
