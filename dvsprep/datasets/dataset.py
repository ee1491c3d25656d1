"""What a dataset file states: its facts, and where its recordings lie once the archives are extracted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dvsprep.errors import ArchiveError
from dvsprep.events import Instances, Recording
from dvsprep.raw import Resource

Layout = Callable[[Mapping[str, Path], "Dataset", Instances], list[Recording]]
NamedSplit = Callable[[str], str]


@dataclass(frozen=True)
class Dataset:
    """One dataset.

    Parameters
    ----------
    name, title, paper, licence : str
    classes : sequence of str
        In the dataset's own order; the position is the label.
    sensor : (H, W)
    format : str
        The reader, a key of ``dvsprep.events.READERS``.
    resources : sequence of Resource
    layout : callable
        ``(extracted folder of each archive, dataset, instances) -> recordings``, ordered by name, never by folder.
    splits : sequence of str
        The official splits, or ``("all",)``.
    samples : mapping
        Samples a split in the official files, rows instances; asserted when the official MD5s are.
    named_splits : mapping
        Published splits of a set without an official one: name to ``f(sample id) -> "train" | "test"``.
    has_instances : bool
        Whether label rows repeat classes, so that ``--instances`` has a meaning.
    """

    name: str
    title: str
    paper: str
    licence: str
    classes: Sequence[str]
    sensor: tuple[int, int]
    format: str
    resources: Sequence[Resource]
    layout: Layout
    splits: Sequence[str] = ("train", "test")
    samples: Mapping[str, int] = field(default_factory=dict)
    named_splits: Mapping[str, NamedSplit] = field(default_factory=dict)
    has_instances: bool = False
    note: str = ""

    @property
    def archives(self) -> list[Resource]:
        """The resources that nobody can do without."""
        return [r for r in self.resources if not r.optional]


def files(folder: Path, suffix: str) -> Iterator[Path]:
    """Yield the files below a folder, sorted at every level, hidden ones left out."""
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda e: e.name)
    for entry in found:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from files(Path(entry.path), suffix)
        elif entry.name.endswith(suffix):
            yield Path(entry.path)


def find_folder(tree: Path, holding: str) -> Path:
    """Return the folder that holds a file or folder of this name, however deep the archive nests it."""
    for folder, folders, names in os.walk(tree):
        folders.sort()
        if holding in names or holding in folders:
            return Path(folder)
    raise ArchiveError(f"{tree}: holds no {holding}", hint="the archive is not the published one")
