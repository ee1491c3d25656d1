"""tonic's mirror of DVS128 Gesture: cut by class, times rounded to milliseconds, one sample a class and trial."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dvsprep.datasets import dvs128
from dvsprep.datasets.dataset import Dataset, files, find_folder
from dvsprep.errors import ArchiveError
from dvsprep.events import Instances, Recording, Sample
from dvsprep.raw import Resource, figshare

# archive: figshare file id, MD5
FILES = {
    "ibmGestureTrain.tar.gz": (38022171, "3a8f0d4120a166bac7591f77409cb105"),
    "ibmGestureTest.tar.gz": (38020584, "56070e45dadaa85fff82e0fbfbc06de5"),
}


def layout(trees: Mapping[str, Path], dataset: Dataset, instances: Instances) -> list[Recording]:  # noqa: ARG001
    """``ibmGestureTrain/<trial>/<label>.npy``."""
    recordings = []
    for split, tree in zip(dataset.splits, trees.values(), strict=True):
        found = []
        folder = {"train": "ibmGestureTrain", "test": "ibmGestureTest"}[split]
        for path in files(find_folder(tree, folder) / folder, ".npy"):
            if not path.stem.isdecimal() or int(path.stem) >= len(dataset.classes):
                raise ArchiveError(f"{path}: expected <label>.npy with a label of 0 to {len(dataset.classes) - 1}")
            sample = Sample(f"{path.parent.name}_class{int(path.stem) + 1:02d}", int(path.stem))
            found.append(Recording(path, dataset.format, split, (sample,)))
        if not found:
            raise ArchiveError(f"{tree}: {folder} holds no .npy file")
        recordings += sorted(found, key=lambda r: r.samples[0].id)
    return recordings


DATASET = Dataset(
    name="dvs128-ms",
    title="DVS128 Gesture (ms)",
    paper="A Low Power, Fully Event-Based Gesture Recognition System, Amir et al., CVPR 2017; re-cut for tonic",
    licence="CC BY 4.0",
    classes=dvs128.CLASSES,
    sensor=(128, 128),
    format="gesture-ms-npy",
    resources=tuple(
        Resource(
            name,
            md5=md5,
            urls=figshare(file_id),
        )
        for name, (file_id, md5) in FILES.items()
    ),
    layout=layout,
    samples={"train": 1077, "test": 264},
    status={"figshare.com": "2026-07: the API answers with the right MD5, the download hosts do not (tonic PR 337)"},
    note="Not the original: use dvs128 where you can. Times were stored in milliseconds.",
)
