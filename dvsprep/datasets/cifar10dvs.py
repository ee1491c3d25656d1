"""CIFAR10-DVS (Li et al. 2017): CIFAR-10's images moved on a screen before a DVS128."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dvsprep.datasets.dataset import Dataset, files
from dvsprep.errors import ArchiveError
from dvsprep.events import Instances, Recording, Sample
from dvsprep.raw import Resource, figshare

PAGE = "https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671"
# class: figshare file id, MD5, bytes
FILES = {
    "airplane": (7712788, "0afd5c4bf9ae06af762a77b180354fdd", 747_054_427),
    "automobile": (7712791, "8438dfeba3bc970c94962d995b1b9bdd", 970_159_102),
    "bird": (7712794, "a9c207c91c55b9dc2002dc21c684d785", 760_766_288),
    "cat": (7712812, "52c63c677c2b15fa5146a8daf4d56687", 843_271_197),
    "deer": (7712815, "b6bf21f6c04d21ba4e23fc3e36c8a4a3", 778_283_422),
    "dog": (7712818, "f379ebdf6703d16e0a690782e62639c3", 844_609_875),
    "frog": (7712842, "cad6ed91214b1c7388a5f6ee56d08803", 818_824_848),
    "horse": (7712851, "e7cbbf77bec584ffbf913f00e682782a", 929_265_395),
    "ship": (7712836, "41c7bd7d6b251be82557c6cce9a7d5c9", 742_404_857),
    "truck": (7712839, "89f3922fd147d9aeff89e76a2b0b70a7", 950_111_954),
}


def layout(trees: Mapping[str, Path], dataset: Dataset, instances: Instances) -> list[Recording]:  # noqa: ARG001
    """``<class>/cifar10_<class>_<i>.aedat``; samples are ordered by class, then by i as a number."""
    recordings: list[Recording] = []
    for label, (name, tree) in enumerate(zip(dataset.classes, trees.values(), strict=True)):
        found = [p for p in files(tree, ".aedat") if p.stem.startswith(f"cifar10_{name}_")]
        if not found:
            raise ArchiveError(f"{tree}: holds no cifar10_{name}_<i>.aedat")
        found.sort(key=lambda p: number(p.stem))
        recordings += [Recording(p, dataset.format, "all", (Sample(p.stem, label),)) for p in found]
    return recordings


def number(sample: str) -> int:
    """Return i of ``cifar10_<class>_<i>``."""
    digits = sample.rpartition("_")[2]
    if not digits.isdecimal():
        raise ArchiveError(f"{sample}: expected a name cifar10_<class>_<number>")
    return int(digits)


def tebn(sample: str) -> str:
    """Return the side in the split of TEBN (Duan et al., NeurIPS 2022): 0 to 99 of each class are the test set."""
    return "test" if number(sample) < 100 else "train"


DATASET = Dataset(
    name="cifar10dvs",
    title="CIFAR10-DVS",
    paper="CIFAR10-DVS: An Event-Stream Dataset for Object Classification, "
    "Li et al., Frontiers in Neuroscience 11:309, 2017",
    licence="CC BY 4.0 [?]",
    classes=tuple(FILES),
    sensor=(128, 128),
    format="aedat2-dvs128",
    resources=tuple(
        Resource(
            f"{name}.zip",
            md5=md5,
            size=size,
            urls=figshare(file_id),
            page=PAGE,
        )
        for name, (file_id, md5, size) in FILES.items()
    ),
    layout=layout,
    splits=("all",),
    samples={"all": 10000},
    named_splits={"tebn": tebn},
    status={"figshare.com": "2026-07: the API answers, the download hosts send a bot challenge (tonic PR 337)"},
    note="SpikingJelly's orientation, in which the pictures are upright; docs/datasets.md tells the others.",
)
