"""N-MNIST (Orchard et al. 2015): MNIST's digits on a screen, seen by a saccading ATIS."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dvsprep.datasets.dataset import Dataset, files, find_folder
from dvsprep.errors import ArchiveError
from dvsprep.events import Instances, Recording, Sample
from dvsprep.raw import Resource

MENDELEY = "https://data.mendeley.com/public-files/datasets/468j46mzdv/files/{}/file_downloaded"
PAGE = "https://www.garrickorchard.com/datasets/n-mnist"


def layout(trees: Mapping[str, Path], dataset: Dataset, instances: Instances) -> list[Recording]:  # noqa: ARG001
    """``Train/<digit>/NNNNN.bin`` and ``Test/...``; samples are ordered by their number, as MNIST's are."""
    recordings = []
    for split, tree in zip(dataset.splits, trees.values(), strict=True):
        folder = split.capitalize()
        found = []
        for path in files(find_folder(tree, folder) / folder, ".bin"):
            if path.parent.name not in dataset.classes:
                raise ArchiveError(f"{path}: lies in no folder of a digit")
            sample = Sample(path.stem, dataset.classes.index(path.parent.name))
            found.append(Recording(path, dataset.format, split, (sample,)))
        if not found:
            raise ArchiveError(f"{tree}: {folder} holds no .bin file")
        recordings += sorted(found, key=lambda r: r.samples[0].id)
    return recordings


DATASET = Dataset(
    name="nmnist",
    title="N-MNIST",
    paper="Converting Static Image Datasets to Spiking Neuromorphic Datasets Using Saccades, "
    "Orchard et al., Frontiers in Neuroscience 9:437, 2015",
    licence="CC BY-SA 4.0",
    classes=tuple("0123456789"),
    sensor=(34, 34),
    format="atis",
    resources=(
        Resource(
            "Train.zip",
            md5="20959b8e626244a1b502305a9e6e2031",
            urls=(MENDELEY.format("39c25547-014b-4137-a934-9d29fa53c7a0"),),
            page=PAGE,
        ),
        Resource(
            "Test.zip",
            md5="69ca8762b2fe404d9b9bad1103e97832",
            urls=(MENDELEY.format("05a4d654-7e03-4c15-bdfa-9bb2bcbea494"),),
            page=PAGE,
        ),
    ),
    layout=layout,
    samples={"train": 60000, "test": 10000},
    status={"data.mendeley.com": "in tonic 1.7, same MD5s as SpikingJelly's; not probed here [?]"},
    tested="1,100 real recordings",
    note="Coordinates and times as stored.",
)
