"""The stages in order: fetch, verify, extract, events, frames. Each is planned in words, then done.

A plan only looks; it says of every stage whether it is missing, partial, stale or done, and why. A run does every stage
that is not done, so the same call after a kill, a full disk or a Ctrl-C goes on where it stopped, and a second run does
nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from dvsprep import datasets, events, raw
from dvsprep.datasets import splits
from dvsprep.errors import IntegrityError, ManualDownloadError, UsageError
from dvsprep.types import FrameSpec, digest

if TYPE_CHECKING:
    from dvsprep.cache import EventCache, Header

State = Literal["missing", "partial", "stale", "done"]
Say = Callable[[str], None]
STAGES = ("fetch", "verify", "extract", "events", "frames")


def default_root() -> Path:
    """Return $DVSPREP_ROOT, else the user's cache folder of this platform."""
    import platformdirs

    return Path(os.environ.get("DVSPREP_ROOT") or platformdirs.user_cache_dir("dvsprep"))


class Stage(NamedTuple):
    """What a plan says of one stage."""

    stage: str
    state: State
    why: str


@dataclass(frozen=True)
class Options:
    """How to build; ``jobs``, ``codec`` and ``verify`` never change a number in a cache."""

    instances: events.Instances = "rows"
    policy: events.Policy = field(default_factory=events.Policy)
    split: str | float | None = None
    seed: int = 0
    jobs: int | None = None
    codec: str = "deflate"
    verify: bool = True

    def __post_init__(self) -> None:
        if self.instances not in ("rows", "first", "merged"):
            raise UsageError(f"instances is {self.instances!r}, expected rows, first or merged")
        if self.jobs is not None and self.jobs < 1:
            raise UsageError(f"jobs is {self.jobs}, expected at least 1")


class Job:
    """One dataset below one root, on its way to an event cache or, with a spec, to a frame cache.

    Parameters
    ----------
    name : str
        A dataset.
    root : path-like, optional
        Holds ``<name>/{download,extract,events,frames}``.
    spec : FrameSpec, optional
    say : callable
        Told one line at a time what happens.
    """

    def __init__(
        self,
        name: str,
        root: str | os.PathLike[str] | None = None,
        spec: FrameSpec | None = None,
        options: Options | None = None,
        say: Say = lambda _: None,
    ) -> None:
        self.dataset = datasets.get(name)
        self.root = Path(root) if root is not None else default_root()
        self.folder = self.root / self.dataset.name
        self.download = self.folder / "download"
        self.spec, self.options, self.say = spec, options or Options(), say
        self.split = splits.policy(self.dataset, self.options.split, self.options.seed)
        if self.options.instances != "rows" and not self.dataset.has_instances:
            raise UsageError(f"{self.dataset.name} has one sample a recording; --instances has no meaning for it")
        from dvsprep.cache import codec

        codec.get(self.options.codec)

    # -- what identifies the results --

    def files(self) -> dict[str, str | None]:
        """Return the MD5 of every archive: the published one, or with ``verify=False`` that of the file at hand."""
        ledger = raw.Ledger(self.download)
        md5s: dict[str, str | None] = {}
        for resource in self.dataset.archives:
            entry = None if self.options.verify else ledger.get(resource.name)
            md5s[resource.name] = entry.md5 if entry else resource.md5
        return md5s

    def unverified(self) -> list[str]:
        """Return the archives whose MD5 is not the published one."""
        files = self.files()
        return [r.name for r in self.dataset.archives if files[r.name] is None or files[r.name] != r.md5]

    def events_identity(self) -> dict[str, Any]:
        """Return everything that decides the numbers of the event caches."""
        identity: dict[str, Any] = {
            "kind": "events",
            "schema": 1,
            "dataset": self.dataset.name,
            "files": self.files(),
            "reader": {self.dataset.format: events.READERS[self.dataset.format][1]},
            "policy": self.options.policy.to_dict(),
        }
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
        name = f"{identity.get('instances', 'events')}-{digest(identity)[:8]}"
        return {split: self.folder / "events" / f"{name}.{split}.h5" for split in self.dataset.splits}

    def frames_paths(self) -> dict[str, Path]:
        """Return where the frame cache of each split lies or will lie."""
        assert self.spec is not None
        name = f"{self.spec.describe()}-{digest(self.frames_identity())[:8]}"
        parts = ("train", "test") if self.split else self.dataset.splits
        return {split: self.folder / "frames" / f"{name}.{split}.h5" for split in parts}

    def trees(self) -> dict[str, Path]:
        """Return the folder each archive is extracted to, named after its content."""
        return {
            name: self.folder / "extract" / f"{name.split('.')[0]}-{(md5 or 'unknown')[:8]}"
            for name, md5 in self.files().items()
        }

    # -- plan --

    def plan(self) -> list[Stage]:
        """Look at every stage; nothing is written, hashed or decoded."""
        wanted = STAGES if self.spec else STAGES[:-1]
        return [self.plan_stage(stage) for stage in wanted]

    def plan_stage(self, stage: str) -> Stage:
        """Look at one stage."""
        if stage in STAGES[:-1] and self.spec and self._all_there(self.frames_paths()):
            return Stage(stage, "done", "not needed: the frame cache is complete")
        if stage in STAGES[:-2] and self._all_there(self.events_paths()):
            return Stage(stage, "done", "not needed: the event cache is complete")
        return Stage(stage, *getattr(self, f"_plan_{stage}")())

    def _all_there(self, paths: dict[str, Path]) -> bool:
        return all(path.exists() for path in paths.values())

    def _plan_fetch(self) -> tuple[State, str]:
        lacking = [r.name for r in self.dataset.archives if not (self.download / r.name).is_file()]
        if self._all_there(self.trees()):
            return "done", "not needed: the archives are extracted"
        if not lacking:
            return "done", f"{len(self.dataset.archives)} file(s) in {self.download}"
        state: State = "missing" if len(lacking) == len(self.dataset.archives) else "partial"
        return state, f"not in {self.download}: {', '.join(lacking)}"

    def _plan_verify(self) -> tuple[State, str]:
        if self._all_there(self.trees()):
            return "done", "not needed: the archives are extracted"
        ledger = raw.Ledger(self.download)
        pending = []
        for resource in self.dataset.archives:
            path = self.download / resource.name
            entry = ledger.fresh(resource.name, path) if path.is_file() else None
            if entry is None or not (entry.verified or not self.options.verify):
                pending.append(resource.name)
        if pending:
            return "missing", f"not verified yet: {', '.join(pending)}"
        if accepted := self.unverified():
            return "done", f"accepted without verification: {', '.join(accepted)}"
        return "done", "every MD5 was checked, and no file has changed since"

    def _plan_extract(self) -> tuple[State, str]:
        lacking = [name for name, tree in self.trees().items() if not tree.is_dir()]
        if not lacking:
            return "done", f"in {self.folder / 'extract'}"
        return ("missing" if len(lacking) == len(self.trees()) else "partial"), f"not extracted: {', '.join(lacking)}"

    def _plan_events(self) -> tuple[State, str]:
        return self._plan_caches(self.events_paths())

    def _plan_frames(self) -> tuple[State, str]:
        return self._plan_caches(self.frames_paths())

    def _plan_caches(self, paths: dict[str, Path]) -> tuple[State, str]:
        lacking = [path for path in paths.values() if not path.exists()]
        if not lacking:
            return (
                "done",
                f"{len(paths)} cache(s) in {lacking[0].parent if lacking else _first(paths).parent}",
            )
        if len(lacking) < len(paths) or any(p.with_name(f".{p.name}.spool").exists() for p in lacking):
            return "partial", f"an earlier build stopped before {', '.join(p.name for p in lacking)}"
        head = _first(paths).name.rpartition("-")[0]
        others = sorted({p.name for p in _first(paths).parent.glob(f"{head}-????????.*.h5")})
        if others:
            return "stale", f"{others[0]} was made from other files, options or versions"
        return "missing", f"no {', '.join(p.name for p in lacking)} in {_first(paths).parent}"

    # -- run --

    def run(self) -> list[Stage]:
        """Do every stage that is not done; return what each was found to be before."""
        stages = []
        for name in STAGES if self.spec else STAGES[:-1]:
            stage = self.plan_stage(name)
            stages.append(stage)
            if stage.state == "done":
                self.say(f"{name}: done ({stage.why})")
            else:
                self.say(f"{name}: {stage.state} ({stage.why})")
                getattr(self, f"_do_{name}")()
        return stages

    def _do_fetch(self) -> None:
        self.fetch()

    def fetch(self) -> list[Path]:
        """Fetch every archive that is not in the download folder.

        Raises
        ------
        ManualDownloadError
            When a person has to: the message says what, where from, where to and what to run then.
        """
        self._make(self.download)
        lacking = [r for r in self.dataset.archives if not (self.download / r.name).is_file()]
        if by_hand := [r for r in lacking if not r.urls]:
            raise ManualDownloadError(
                raw.manual_instructions(
                    self.dataset.title, by_hand, self.download, f"dvsprep verify {self.dataset.name}"
                )
            )
        for resource in lacking:
            raw.fetch(resource, self.download, verify=self.options.verify, warn=self.say)
        return [self.download / r.name for r in self.dataset.archives]

    def _do_verify(self) -> None:
        raw.require(self.dataset.resources, self.download, verify=self.options.verify, warn=self.say)

    def _do_extract(self) -> None:
        self._make(self.folder / "extract")
        for name, tree in self.trees().items():
            if not tree.is_dir():
                raw.extract(self.download / name, tree)

    def _do_events(self) -> None:
        from dvsprep import cache

        recordings = self.dataset.layout(self.trees(), self.dataset, self.options.instances)
        provenance = self._provenance()
        mended: dict[str, int] = {}

        def note(recording: str, what: str, count: int) -> None:
            mended[what] = mended.get(what, 0) + count
            self.say(f"{recording}: {what.replace('_', ' ')}: {count}")

        for split, path in self.events_paths().items():
            here = [r for r in recordings if r.split == split]
            samples = [sample for recording in here for sample in recording.samples]
            self._check_counts(split, len(samples))
            header = self._header("events", split, [s.id for s in samples], [s.label for s in samples], provenance)
            with self._bar(f"events {split}", len(samples)) as progress:
                cache.events_cache(
                    path, header, here, self.options.policy,
                    jobs=self.options.jobs, say=self.say, progress=progress, note=note,
                )  # fmt: skip

    def _check_counts(self, split: str, found: int) -> None:
        expected = self.dataset.samples.get(split)
        if expected is None or self.options.instances != "rows" or self.unverified():
            return
        if found != expected:
            raise IntegrityError(
                f"{self.dataset.name} {split}: {found} samples in the official files, expected {expected}"
            )

    def _do_frames(self) -> None:
        from dvsprep import cache

        assert self.spec is not None
        sources = {split: cache.EventCache(path) for split, path in self.events_paths().items()}
        for split, path in self.frames_paths().items():
            source, indices = self._part(sources, split)
            ids, labels = [str(source.ids[i]) for i in indices], [int(source.labels[i]) for i in indices]
            provenance = source.provenance | {"events": source.path.name, "split": self.split}
            header = self._header("frames", split, ids, labels, provenance)
            with self._bar(f"frames {split}", len(indices)) as progress:
                cache.frames_cache(
                    path, header, source, self.spec, indices,
                    jobs=self.options.jobs, say=self.say, progress=progress,
                )  # fmt: skip

    def _part(self, sources: dict[str, EventCache], split: str) -> tuple[EventCache, Sequence[int]]:
        if self.split is None:
            return sources[split], range(len(sources[split]))
        whole = sources["all"]
        return whole, splits.assign(self.dataset, self.split, list(whole.ids), whole.labels.tolist())[split]

    def _header(
        self,
        kind: Literal["events", "frames"],
        split: str,
        ids: list[str],
        labels: list[int],
        provenance: dict[str, Any],
    ) -> Header:
        from dvsprep import cache

        return cache.Header(
            kind=kind,
            dataset=self.dataset.name,
            split=split,
            sensor=self.dataset.sensor,
            classes=tuple(self.dataset.classes),
            ids=ids,
            labels=labels,
            identity=self.events_identity() if kind == "events" else self.frames_identity(),
            spec=self.spec.to_dict() if self.spec and kind == "frames" else {},
            provenance=provenance,
            codec=self.options.codec,
        )

    def _provenance(self) -> dict[str, Any]:
        import numba
        import numpy as np

        return {
            "files": self.files(),
            "unverified": self.unverified(),
            "title": self.dataset.title,
            "paper": self.dataset.paper,
            "licence": self.dataset.licence,
            "versions": {"numpy": np.__version__, "numba": numba.__version__},
        }

    def _bar(self, what: str, total: int) -> Any:
        return _Bar(what, total)

    def _make(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)

    # -- results --

    def result(self, stages: Sequence[Stage]) -> dict[str, Any]:
        """Return what ``--json`` prints after a run."""
        from dvsprep import cache

        paths = self.frames_paths() if self.spec else self.events_paths()
        opened = {s: (cache.FrameCache if self.spec else cache.EventCache)(p) for s, p in paths.items()}
        return {
            "dataset": self.dataset.name,
            "spec": self.spec.to_dict() if self.spec else None,
            "caches": {split: str(path) for split, path in paths.items()},
            "stages": [stage._asdict() for stage in stages],
            "samples": {split: len(source) for split, source in opened.items()},
        }


class _Bar:
    """One progress bar in the parent, quiet when stderr is no terminal."""

    def __init__(self, what: str, total: int) -> None:
        from tqdm import tqdm

        self.bar = tqdm(total=total, desc=what, unit="sample", disable=None, leave=False)

    def __enter__(self) -> Callable[[int], None]:
        return lambda n: (self.bar.update(n), None)[1]

    def __exit__(self, *_: object) -> None:
        self.bar.close()


def _first(paths: dict[str, Path]) -> Path:
    return next(iter(paths.values()))
