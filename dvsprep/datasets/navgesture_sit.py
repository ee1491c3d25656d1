"""NavGesture-sit (Maro et al. 2020): six gestures before a smartphone's ATIS, 28 subjects sitting."""

from __future__ import annotations

from dvsprep.datasets.dataset import Dataset
from dvsprep.datasets.layouts import class_folders, part
from dvsprep.raw import Resource

DATASET = Dataset(
    name="navgesture-sit",
    title="NavGesture-sit",
    paper="Event-Based Gesture Recognition With Dynamic Background Suppression Using Smartphone Computational "
    "Capabilities, Maro et al., Frontiers in Neuroscience 14:275, 2020",
    licence="see the paper [?]",
    classes=("do", "ho", "le", "ri", "se", "up"),  # down, home, left, right, select, up
    sensor=(240, 304),
    format="navgesture-dat",
    resources=(
        Resource(
            "navgesture-sit.zip",
            md5="1571753ace4d9e0946e6503313712c22",
            page="https://www.neuromorphic-vision.com/public/downloads/navgesture/navgesture-sit.zip",
        ),
    ),
    layout=class_folders(".dat", class_of=part(1)),
    splits=("all",),
    nested=True,
    said=1342,
    status={"neuromorphic-vision.com": "domain lapsed, answers with a page (SpikingJelly issue 423); ask the authors"},
    note="y = 239 - y and times from 0, as SpikingJelly has it. "
    "A recording whose clock runs backward is an error, or in order with --unsorted sort.",
)
