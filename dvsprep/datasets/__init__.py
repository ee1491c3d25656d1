"""Names in, facts out: one file a dataset, its resources, classes, sensor and where its recordings lie.

``get(name)`` loads the one file it needs; installed packages add theirs as entry points of the group dvsprep.datasets.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from importlib.metadata import entry_points
from pathlib import Path

from dvsprep import raw
from dvsprep.datasets import local
from dvsprep.datasets.dataset import Dataset
from dvsprep.errors import UnknownDatasetError, UsageError

GROUP = "dvsprep.datasets"
NO_DATASETS = {"dataset", "from_file", "layouts", "local", "passing", "splits"}  # every other module here is one
BUILT_IN = tuple(
    sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__) if module.name not in NO_DATASETS)
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
    if root is not None and local.NAME.fullmatch(name):
        shared = raw.find_shared(name, local.FACTS) if not (root / name / local.FACTS).is_file() else None
        if (imported := local.load(shared.parent if shared else root / name)) is not None:
            return imported
    near = _near(name)
    raise UnknownDatasetError(
        f"no dataset is named {name!r}",
        hint=f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names())}",
    )


def _near(name: str) -> list[str]:
    """Return the names nearest to a wrong one, whether it was meant as a name or as a title."""
    known = {}
    for other in names():
        known[_plain(other)] = other
    for other in BUILT_IN:
        known.setdefault(_plain(get(other).title), other)
    return list(dict.fromkeys(known[k] for k in difflib.get_close_matches(_plain(name), known, n=3, cutoff=0.5)))


def _plain(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum())
