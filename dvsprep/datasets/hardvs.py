"""HARDVS (Wang et al. 2024): 300 human activities seen by a DAVIS346."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dvsprep.datasets.dataset import Dataset, files
from dvsprep.errors import ArchiveError
from dvsprep.events import Instances, Recording, Sample
from dvsprep.raw import Resource

PAGE = "https://github.com/Event-AHU/HARDVS"
CLASSES = tuple(Path(__file__).with_name("hardvs_actions.txt").read_text("utf-8").splitlines())


def layout(trees: Mapping[str, Path], dataset: Dataset, instances: Instances) -> list[Recording]:  # noqa: ARG001
    """``action_XXX/<name>.npz``; ``train_label.txt`` and the like list ``action_XXX/<name> <label>``."""
    archive = trees["MINI_HARDVS_files.zip"]
    paths = {f"{path.parent.name}/{path.stem}": path for path in files(archive, ".npz")}
    if not paths:
        raise ArchiveError(f"{archive}: holds no .npz file")
    recordings = []
    for split in dataset.splits:
        listing = trees[f"{split}_label.txt"]
        if not listing.is_file():
            raise ArchiveError(f"{listing}: is missing; the splits are its and the other lists' alone")
        for number, line in enumerate(listing.read_text().splitlines(), start=1):
            if not line.strip():
                continue
            name = line.split()[0].removesuffix(".npz")
            action = name.partition("/")[0].removeprefix("action_")
            if name not in paths or not action.isdecimal() or not 1 <= int(action) <= len(dataset.classes):
                raise ArchiveError(f"{listing}:{number}: {name} is listed, but not in the archive")
            sample = Sample(name, int(action) - 1)
            recordings.append(Recording(paths[name], dataset.format, split, (sample,)))
    return recordings


DATASET = Dataset(
    name="hardvs",
    title="HARDVS",
    paper="HARDVS: Revisiting Human Activity Recognition with Dynamic Vision Sensors, Wang et al., AAAI 2024",
    licence="see the authors' repository [?]",
    classes=CLASSES,
    sensor=(260, 346),
    format="hardvs-npz",
    resources=(
        Resource("MINI_HARDVS_files.zip", md5="9c4cc0d9ba043faa17f6f1a9e9aff982", page=PAGE),
        Resource("train_label.txt", md5="0d642b6e6871034f151b2649a89d8d3c", page=PAGE),
        Resource("val_label.txt", md5="cd2cebcba80e4552102bbacf2b5df812", page=PAGE),
        Resource("test_label.txt", md5="5b664af5843f9b476a9c22626f7f5a59", page=PAGE),
    ),
    layout=layout,
    splits=("train", "val", "test"),
    nested=True,
    status={"pan.baidu.com, dropbox.com": "by hand; links on the page; not probed here [?]"},
    said=107646,
    note="64,526 + 10,734 + 32,386 recordings [?]. The class is the folder's number - 1, as in SpikingJelly; the "
    "lists' own label column is not used.",
)
