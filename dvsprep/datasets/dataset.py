"""What a dataset file states: its facts, and where its recordings lie once the archives are extracted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dvsprep.errors import ArchiveError
from dvsprep.events import Instances, Recording
from dvsprep.raw import Resource, as_member, as_path
from dvsprep.types import digest

Layout = Callable[[Mapping[str, Path], "Dataset", Instances], list[Recording]]
RecordingOf = Callable[[Path, "Dataset", Instances], Recording | None]
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
    channels : int
        Of the frames: 2 (OFF, ON), or 1 for one-dimensional sensors, which have H = 1 and no polarity.
    nested : bool
        Whether the archives hold archives that are to be extracted too.
    recording_of : callable, optional
        ``(file, dataset, instances) -> its recording and samples``, of the split "" for only the layout knows it; None
        of what is no recording. It looks at files in the same folder only, and raises FileNotFoundError while they are
        not there. With it recordings are read straight out of a tar, as they pass by.
    revision : int
        To be raised when the layout finds other samples, labels or ids in the same files.
    class_names : callable, optional
        Extracted folder of each archive to class names, where only the files know them for sure.
    user_of : callable, optional
        Sample id to the person in it, where ids tell.
    defined_by : str
        Of a set that a file defines: a hash of what in that file decides ids and labels, part of every cache key.
    imported : mapping, optional
        Of a set that ``dvsprep import`` made: the identity of its event caches, which are all there is.
    status : mapping
        What is known of each source, with the date or the place of the evidence.
    said : int, optional
        Samples in all, where nobody here could verify it; shown with [?], never asserted.
    tested : str
        What the tests run the pipeline on.
    note : str
        What a user should know before the first run.
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
    channels: int = 2
    nested: bool = False
    class_names: Callable[[Mapping[str, Path]], Sequence[str]] | None = None
    user_of: Callable[[str], str] | None = None
    defined_by: str = ""
    recording_of: RecordingOf | None = None
    revision: int = 1
    imported: Mapping[str, Any] | None = None
    status: Mapping[str, str] = field(default_factory=dict)
    said: int | None = None
    tested: str = "look-alike"
    note: str = ""

    def facts(self) -> str:
        """Return a digest of what turns files into labelled samples; part of every cache key."""
        return digest(
            {
                "classes": list(self.classes),
                "sensor": list(self.sensor),
                "channels": self.channels,
                "splits": list(self.splits),
                "revision": self.revision,
            }
        )

    @property
    def archives(self) -> list[Resource]:
        """The resources that nobody can do without."""
        return [r for r in self.resources if not r.optional]


def files(folder: Path, suffix: str) -> Iterator[Path]:
    """Yield the files below a folder, sorted at every level, hidden ones left out."""
    if member := as_member(folder):
        yield from map(as_path, member.files(suffix))
        return
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
    if member := as_member(tree):
        return as_path(member.holding(holding))
    for folder, folders, names in os.walk(tree):
        folders.sort()
        if holding in names or holding in folders:
            return Path(folder)
    raise ArchiveError(f"{tree}: holds no {holding}", hint="the archive is not the published one")
