"""NavGesture-walk (Maro et al. 2020): six gestures before a smartphone's ATIS, 10 subjects walking, phone in hand."""

from __future__ import annotations

from dvsprep.datasets.dataset import Dataset
from dvsprep.datasets.layouts import class_folders, part
from dvsprep.raw import Resource


def navgesture(kind: str, md5: str, said: int) -> Dataset:
    """Return NavGesture-walk or -sit: the same gestures, phone and layout, another archive."""
    return Dataset(
        name=f"navgesture-{kind}",
        title=f"NavGesture-{kind}",
        paper="Event-Based Gesture Recognition With Dynamic Background Suppression Using Smartphone Computational "
        "Capabilities, Maro et al., Frontiers in Neuroscience 14:275, 2020",
        licence="see the paper [?]",
        classes=("do", "ho", "le", "ri", "se", "up"),  # down, home, left, right, select, up
        sensor=(240, 304),
        format="navgesture-dat",
        resources=(
            Resource(
                f"navgesture-{kind}.zip",
                md5=md5,
                page=f"https://www.neuromorphic-vision.com/public/downloads/navgesture/navgesture-{kind}.zip",
            ),
        ),
        layout=class_folders(".dat", class_of=part(1)),
        splits=("all",),
        nested=True,
        said=said,
        status={
            "neuromorphic-vision.com": "domain lapsed, answers with a page (SpikingJelly issue 423); ask the authors"
        },
        note="y = 239 - y and times from 0, as SpikingJelly has it. "
        "A recording whose clock runs backward is an error, or in order with --unsorted sort.",
    )


DATASET = navgesture("walk", "5d305266f13005401959e819abe206f0", said=339)
