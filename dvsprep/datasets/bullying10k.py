"""Bullying10K (Dong et al. 2023): ten kinds of contact between two people, seen by a DAVIS346."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dvsprep.datasets.dataset import Dataset, files, find_folder
from dvsprep.datasets.layouts import by_number
from dvsprep.errors import ArchiveError
from dvsprep.events import Instances, Recording, Sample
from dvsprep.raw import Resource, figshare

# class: figshare file id, MD5; SpikingJelly's label order
FILES = {
    "handshake": (41268834, "681d70f499e736a1e805305284ddc425"),
    "slapping": (41247021, "84b41d6805958f9f62f425223916ffc2"),
    "punching": (41263314, "40954f480ab210099d448b7b88fc4719"),
    "walking": (41247024, "56e4cac9c0814ce701c3b2292c15b6a9"),
    "fingerguess": (41253057, "f83114e5b4f0ea57cac86fb080c7e4d7"),
    "strangling": (41261904, "8185ecd6f3147e9b609d22f06270aa86"),
    "greeting": (41268792, "4a763fad728b04c8356db8544f1121fe"),
    "pushing": (41268951, "7986c74ade7149a98672120a89b13ba8"),
    "hairgrabs": (41277855, "a9cf690ed0a3305da4a4b8e110f64db1"),
    "kicking": (41278008, "6c3218f977de4ac29c84a10b17779c33"),
}


def layout(trees: Mapping[str, Path], dataset: Dataset, instances: Instances) -> list[Recording]:  # noqa: ARG001
    """Every fifth recording is test, as in the authors' script, but counted in the order of class and path.

    The authors count in the order of the file system, which no second machine has.
    """
    recordings: list[Recording] = []
    for label, (name, tree) in enumerate(zip(dataset.classes, trees.values(), strict=True)):
        above = find_folder(tree, name)
        # Equal names in different folders of a class are different recordings: the id holds the folders too.
        found = {p.relative_to(above).with_suffix("").as_posix(): p for p in files(above / name, ".npy")}
        if not found:
            raise ArchiveError(f"{above / name}: holds no .npy file")
        for id in sorted(found, key=by_number):
            split = "train" if len(recordings) % 5 else "test"
            recordings.append(Recording(found[id], dataset.format, split, (Sample(id, label),)))
    return recordings


DATASET = Dataset(
    name="bullying10k",
    title="Bullying10K",
    paper="Bullying10K: A Large-Scale Neuromorphic Dataset towards Privacy-Preserving Bullying Recognition, "
    "Dong et al., NeurIPS 2023 Datasets and Benchmarks",
    licence="see the figshare record [?]",
    classes=tuple(FILES),
    sensor=(260, 346),
    format="bullying10k-npy",
    resources=tuple(
        Resource(
            f"{name}.zip",
            md5=md5,
            urls=figshare(file_id),
            page="https://doi.org/10.6084/m9.figshare.19160663",
        )
        for name, (file_id, md5) in FILES.items()
    ),
    layout=layout,
    samples={"train": 8000, "test": 2000},
    status={"figshare.com": "2026-07: the API answers, the download hosts send a bot challenge (tonic PR 337)"},
    note="About 255 GB. The split is by position in the sorted list of recordings; the authors' depends on the disk.",
)
