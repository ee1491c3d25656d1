"""Names in, facts out: one file a dataset, its resources, classes, sensor and where its recordings lie.

``get(name)`` loads the one file it needs; installed packages add theirs as entry points of the group dvsprep.datasets.
"""

from __future__ import annotations

import difflib
import importlib
from importlib.metadata import entry_points

from dvsprep.datasets.dataset import Dataset
from dvsprep.errors import UnknownDatasetError, UsageError

GROUP = "dvsprep.datasets"
BUILT_IN = ("cifar10dvs", "dvs128", "nmnist", "sample")

__all__ = ["BUILT_IN", "GROUP", "Dataset", "get", "names"]


def names() -> list[str]:
    """Return every name that :func:`get` knows."""
    return sorted({*BUILT_IN, *(e.name for e in entry_points(group=GROUP))})


def get(name: str) -> Dataset:
    """Return a dataset.

    Raises
    ------
    UnknownDatasetError
        With the nearest names.
    """
    if name in BUILT_IN:
        return importlib.import_module(f"dvsprep.datasets.{name}").DATASET  # type: ignore[no-any-return]
    for entry in entry_points(group=GROUP, name=name):
        dataset = entry.load()
        if not isinstance(dataset, Dataset):
            raise UsageError(f"dataset {name}: {entry.value} is a {type(dataset).__name__}, expected a Dataset")
        return dataset
    near = difflib.get_close_matches(name.lower().replace("-", ""), names(), n=3, cutoff=0.4)
    raise UnknownDatasetError(
        f"no dataset is named {name!r}",
        hint=f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names())}",
    )
