"""Names in, facts out: one file a dataset, its resources, classes, sensor and where its recordings lie.

``get(name)`` loads the one file it needs; installed packages add theirs as entry points of the group dvsprep.datasets.
"""

from __future__ import annotations

import difflib
import importlib
from importlib.metadata import entry_points
from pathlib import Path

from dvsprep import raw
from dvsprep.datasets import local
from dvsprep.datasets.dataset import Dataset
from dvsprep.errors import UnknownDatasetError, UsageError

GROUP = "dvsprep.datasets"
BUILT_IN = (
    "asldvs",
    "bullying10k",
    "cifar10dvs",
    "dvs128",
    "dvs128-ms",
    "dvslip",
    "es-imagenet",
    "hardvs",
    "mnist-dvs",
    "navgesture-sit",
    "navgesture-walk",
    "ncaltech101",
    "ncars",
    "nmnist",
    "ntidigits",
    "pokerdvs",
    "sample",
    "shd",
    "smnist",
    "ssc",
    "stmnist",
)

_registered: dict[str, Dataset] = {}

__all__ = ["BUILT_IN", "GROUP", "Dataset", "get", "names", "register"]


def names() -> list[str]:
    """Return every name that :func:`get` knows, but for imported recordings, which lie below a root."""
    return sorted({*BUILT_IN, *_registered, *(e.name for e in entry_points(group=GROUP))})


def register(dataset: Dataset) -> None:
    """Make a dataset known to this process, in front of those of other packages."""
    if dataset.name in BUILT_IN:
        raise UsageError(f"{dataset.name} is a built-in dataset's name", hint="choose another one")
    _registered[dataset.name] = dataset


def get(name: str, root: Path | None = None) -> Dataset:
    """Return a dataset; of those that ``dvsprep import`` made, the ones below ``root``.

    Raises
    ------
    UnknownDatasetError
        With the nearest names.
    """
    if name in BUILT_IN:
        return importlib.import_module(f"dvsprep.datasets.{name.replace('-', '_')}").DATASET  # type: ignore[no-any-return]
    if name in _registered:
        return _registered[name]
    for entry in entry_points(group=GROUP, name=name):
        try:
            dataset = entry.load()
        except Exception as error:  # whatever a stranger's package raises when it is imported
            raise UsageError(
                f"dataset {name}: importing {entry.value} fails: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(dataset, Dataset):
            raise UsageError(f"dataset {name}: {entry.value} is a {type(dataset).__name__}, expected a Dataset")
        return dataset
    if root is not None:
        shared = raw.find_shared(name, local.FACTS) if not (root / name / local.FACTS).is_file() else None
        if (imported := local.load(shared.parent if shared else root / name)) is not None:
            return imported
    near = difflib.get_close_matches(name.lower().replace("-", ""), names(), n=3, cutoff=0.4)
    raise UnknownDatasetError(
        f"no dataset is named {name!r}",
        hint=f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names())}",
    )
