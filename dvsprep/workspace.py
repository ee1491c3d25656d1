"""One dataset below one root: where its files and caches lie, and what identifies them. Looks, never writes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from dvsprep import config, datasets, events, raw
from dvsprep.datasets import splits
from dvsprep.errors import UsageError
from dvsprep.types import FrameSpec, digest

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
ADOPTED = "adopted folder"  # where else names of files stand; where it lies is no part of what it is


def events_name(identity: Mapping[str, Any], split: str) -> str:
    """Return the file name of an event cache."""
    return f"{identity.get('instances', 'events')}-{digest(identity)[:8]}.{split}.h5"


def _replaced(path: Path, entry: Any) -> bool:
    """Tell whether a file is there that is not the one its record is of; a copy with the same time is the same."""
    if not path.is_file():
        return False
    stat = path.stat()
    return entry is None or (entry.size, entry.mtime_ns) != (stat.st_size, stat.st_mtime_ns)


@dataclass(frozen=True)
class Options:
    """How to build; ``jobs``, ``codec`` and ``network`` never change a number in a cache.

    Without ``verify`` other files than the published ones are accepted; their MD5s are in the key. With
    ``keep_extracted`` archives are extracted even where recordings can be read straight out of them.
    """

    instances: events.Instances = "rows"
    policy: events.Policy = field(default_factory=events.Policy)
    split: str | float | os.PathLike[str] | None = None
    seed: int = 0
    jobs: int | None = None
    codec: str = field(default_factory=config.codec)
    verify: bool = True
    keep_extracted: bool = False
    network: raw.Network = field(default_factory=raw.Network)

    def __post_init__(self) -> None:
        if self.instances not in ("rows", "first", "merged"):
            raise UsageError(f"instances is {self.instances!r}, expected rows, first or merged")
        if self.jobs is not None and self.jobs < 1:
            raise UsageError(f"jobs is {self.jobs}, expected at least 1")


class Workspace:
    """Paths and identities of one dataset.

    Parameters
    ----------
    name : str
        A dataset.
    root : path-like, optional
        Holds ``<name>/{download,extract,events,frames}``. What is finished in a shared root
        is used in place.
    spec : FrameSpec, optional
    """

    def __init__(
        self,
        name: str,
        root: str | os.PathLike[str] | None = None,
        spec: FrameSpec | None = None,
        options: Options | None = None,
    ) -> None:
        self.root = Path(root).expanduser() if root is not None else config.root()
        self.dataset = datasets.get(name, self.root)
        self.folder = self.root / self.dataset.name
        self.spec, self.options = spec, options or Options()
        self.split_file = splits.find(self.dataset, self.options.split)
        self.split = splits.policy(self.dataset, self.options.split, self.options.seed)
        if self.options.instances != "rows" and not self.dataset.has_instances:
            raise UsageError(f"{self.dataset.name} has one sample a recording; --instances has no meaning for it")

    @property
    def download(self) -> Path:
        """The folder of the archives: the user's own, or a shared one that has them all."""
        own = self.folder / "download"
        names = [r.name for r in self.dataset.archives]
        if not any((own / name).is_file() for name in names):
            shared = [raw.find_shared(self.dataset.name, Path("download", name)) for name in names]
            if shared and shared[0] is not None and len({p.parent for p in shared if p}) == 1 and all(shared):
                return shared[0].parent
        return own

    @property
    def archives(self) -> list[raw.Resource]:
        """The files that are needed, with the MD5s they are to have."""
        return raw.expect(self.dataset.archives, self.download, ledger=self.ledger)

    @property
    def ledger(self) -> raw.Ledger:
        """What is known of the archives; of shared ones too it is written below the user's own root."""
        return raw.Ledger(self.download, self.folder / "download")

    @cached_property
    def adopted(self) -> raw.Tree | None:
        """The extracted folder that stands for the archives, if a person gave one."""
        return raw.adopted_tree(self.folder / "extract")

    def files(self) -> dict[str, str | None]:
        """Return the MD5 of every archive: the expected one, or with ``verify=False`` that of the file at hand."""
        if self.adopted is not None:
            return {ADOPTED: f"tree:{self.adopted.digest}"}
        ledger = self.ledger
        md5s: dict[str, str | None] = {}
        for resource in self.archives:
            entry = None if self.options.verify and resource.md5 else ledger.get(resource.name)
            if not self.options.verify and _replaced(self.download / resource.name, entry):
                md5s[resource.name] = None
                continue
            accepted = entry is not None and (not self.options.verify or raw.vouched(resource, entry))
            md5s[resource.name] = entry.md5 if entry and accepted else resource.md5
        return md5s

    def unverified(self) -> list[str]:
        """Return the files that are not what was published, or of which nothing is published that tells."""
        if self.adopted is not None:
            return [ADOPTED]
        files, ledger = self.files(), self.ledger

        def vouched(resource: raw.Resource) -> bool:
            if resource.md5 is not None:
                return resource.published and files[resource.name] == resource.md5
            return raw.vouched(resource, ledger.get(resource.name))

        return [resource.name for resource in self.archives if not vouched(resource)]

    def trees(self) -> dict[str, Path]:
        """Return where the files of each archive are read: extracted, or in the archive; other files are themselves."""
        trees = self.folders()
        for name, folder in trees.items():
            if self.reads_inside(name) and not raw.is_complete(folder):
                path = self.download / name
                trees[name] = raw.as_path(raw.Member((raw.Archive if raw.is_zip(path) else raw.Tape).of(path)))
        return trees

    def reads_inside(self, name: str) -> bool:
        """Tell whether an archive's recordings are read straight out of it, unless a folder is there."""
        if self.options.keep_extracted or self.adopted is not None or not name.endswith(ARCHIVES):
            return False
        plain = self.dataset.format in events.BYTES and not self.dataset.nested
        return plain and (self.dataset.recording_of is not None or raw.is_zip(self.download / name))

    def folders(self) -> dict[str, Path]:
        """Return where each archive is or would be extracted, named after its content; other files are themselves."""
        trees = {}
        for resource in self.archives:
            name, md5 = resource.name, self.files().get(resource.name)
            if self.adopted is not None:
                trees[name] = self._in_adopted(name)
            elif name.endswith(ARCHIVES):
                trees[name] = self.folder / "extract" / f"{name.split('.')[0]}-{(md5 or 'unknown')[:8]}"
            else:
                trees[name] = self.download / name
        return trees

    def _in_adopted(self, name: str) -> Path:
        assert self.adopted is not None
        if name.endswith((*ARCHIVES, ".rar")):  # RAR parts are unpacked by hand
            return self.adopted.path
        return next(iter(sorted(self.adopted.path.rglob(name))), self.adopted.path / name)

    def events_identity(self) -> dict[str, Any]:
        """Return everything that decides the numbers of the event caches."""
        if self.dataset.imported:
            return dict(self.dataset.imported["identity"])
        identity: dict[str, Any] = {
            "kind": "events",
            "schema": 1,
            "dataset": self.dataset.name,
            "facts": self.dataset.facts(),
            "files": self.files(),
            "reader": {self.dataset.format: events.version(self.dataset.format)},
            "policy": self.options.policy.to_dict(),
        }
        if self.dataset.defined_by:
            identity["defined_by"] = self.dataset.defined_by
        return identity | ({"instances": self.options.instances} if self.dataset.has_instances else {})

    @cached_property
    def integrator(self) -> dict[str, Any]:
        """The integrator's own identity; loading a plugin twice is a waste."""
        from dvsprep.integrate import identity

        assert self.spec is not None
        return identity(self.spec)

    def frames_identity(self) -> dict[str, Any]:
        """Return everything that decides the numbers of the frame caches."""
        assert self.spec is not None
        spec = self.spec.to_dict()
        spec.pop("plugin", None)  # where a function lies does not change what it returns
        return {
            "kind": "frames",
            "schema": 1,
            "events": self.events_identity(),
            "spec": spec,
            "integrator": self.integrator,
            "split": self.split,
        }

    def events_paths(self) -> dict[str, Path]:
        """Return where the event cache of each official split lies or will lie."""
        identity = self.events_identity()
        return {split: self._place("events", events_name(identity, split)) for split in self.dataset.splits}

    @property
    def stash(self) -> Path:
        """The folder of samples on their way from a tar into the event caches."""
        name = events_name(self.events_identity(), "")
        return self.folder / "events" / f".{name.partition('.')[0]}.stash"

    def frames_paths(self) -> dict[str, Path]:
        """Return where the frame cache of each split lies or will lie."""
        assert self.spec is not None
        name = f"{self.spec.describe()}-{digest(self.frames_identity())[:8]}"
        return {split: self._place("frames", f"{name}.{split}.h5") for split in self.parts}

    @property
    def parts(self) -> tuple[str, ...]:
        """The splits that frames are made of: the official ones, or what ``--split`` makes of them."""
        if self.split is None:
            return tuple(self.dataset.splits)
        if tuple(self.dataset.splits) == ("all",):
            return ("train", "test")
        return ("train", "val", *(split for split in self.dataset.splits if split != "train"))

    def _place(self, room: str, name: str) -> Path:
        own = self.folder / room / name
        return own if own.exists() else raw.find_shared(self.dataset.name, Path(room, name)) or own
