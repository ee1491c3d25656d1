"""The stages in order: fetch, verify, extract, events, frames. Each is planned in words, then done.

A plan only looks; it says of every stage whether it is missing, partial, stale or done, and why. A run does every stage
that is not done, so the same call after a kill, a full disk or a Ctrl-C goes on where it stopped, and a second run does
nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from dvsprep import parallel, raw
from dvsprep.datasets import passing, splits
from dvsprep.errors import FormatError, IntegrityError, LabelError, ManualDownloadError, NotFoundError, UsageError
from dvsprep.events import vetting
from dvsprep.progress import Bar
from dvsprep.types import FrameSpec
from dvsprep.workspace import ARCHIVES, Options, Workspace

if TYPE_CHECKING:
    from dvsprep.cache import EventCache, Header, Part, Stash

State = Literal["missing", "partial", "stale", "done"]
Say = Callable[[str], None]
__all__ = ["STAGES", "Job", "Options", "Stage"]
VETTED = ("spikes-h5", "ntidigits-h5")
STAGES = ("fetch", "verify", "extract", "events", "frames")


class Stage(NamedTuple):
    """What a plan says of one stage."""

    stage: str
    state: State
    why: str


class Job(Workspace):
    """One dataset below one root, on its way to an event cache or, with a spec, to a frame cache.

    Parameters
    ----------
    name, root, spec, options
        As of a Workspace.
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
        super().__init__(name, root, spec, options)
        self.say = say
        from dvsprep.cache import codec

        codec.check(self.options.codec)  # better known now than after an hour

    # -- plan --

    def plan(self) -> list[Stage]:
        """Look at every stage; nothing is written, hashed or decoded."""
        return [self.plan_stage(stage) for stage in (STAGES if self.spec else STAGES[:-1])]

    def plan_stage(self, stage: str) -> Stage:
        """Look at one stage."""
        if stage in STAGES[:-1] and self.spec and self._all_there(self.frames_paths()):
            return Stage(stage, "done", "not needed: the frame cache is complete")
        if stage in STAGES[:-2] and self._all_there(self.events_paths()):
            return Stage(stage, "done", "not needed: the event cache is complete")
        return Stage(stage, *getattr(self, f"_plan_{stage}")())

    def _all_there(self, paths: dict[str, Path]) -> bool:
        return all(path.exists() for path in paths.values())

    def _pending(self) -> list[raw.Resource]:
        """Return the files that no complete extracted folder, and no adopted one, stands for."""
        if self.adopted is not None:
            return []
        folders = self.folders()
        return [r for r in self.archives if not raw.is_complete(folders[r.name])]

    def _plan_fetch(self) -> tuple[State, str]:
        if self.dataset.imported:
            return "done", "not needed: the recordings were imported"
        pending = self._pending()
        if not pending:
            return "done", "not needed: the archives are extracted"
        lacking = [r.name for r in pending if not (self.download / r.name).is_file()]
        if not lacking:
            return "done", f"{len(pending)} file(s) in {self.download}"
        state: State = "missing" if len(lacking) == len(self.archives) else "partial"
        return state, f"not in {self.download}: {', '.join(lacking)}"

    def _plan_verify(self) -> tuple[State, str]:
        pending = self._pending()
        if self.dataset.imported or not pending:
            return "done", "not needed: the archives are extracted"
        ledger = self.ledger
        unsure, other = [], []
        for resource in pending:
            path = self.download / resource.name
            entry = ledger.fresh(resource.name, path) if path.is_file() else None
            if entry is None:
                unsure.append(resource.name)
            elif self.options.verify and not raw.vouched(resource, entry):
                other.append(resource.name)
        if unsure:
            return "missing", f"not verified yet: {', '.join(unsure)}"
        if other:
            return "missing", f"not what was published: {', '.join(other)}"
        if accepted := self.unverified():
            return "done", f"accepted without verification: {', '.join(accepted)}"
        return "done", "every MD5 was checked, and no file has changed since"

    def _plan_extract(self) -> tuple[State, str]:
        pending = [r.name for r in self._pending() if r.name.endswith(ARCHIVES)]
        lacking = [name for name in pending if not self.reads_inside(name)]
        if pending and not lacking:
            return "done", "not needed: recordings are read straight out of the archives"
        if self.dataset.imported or not lacking:
            return "done", f"in {self.folder / 'extract'}"
        return ("missing" if len(lacking) == len(self.archives) else "partial"), f"not extracted: {', '.join(lacking)}"

    def _plan_events(self) -> tuple[State, str]:
        state, why = self._plan_caches(self.events_paths())
        if self.dataset.imported and state != "done":
            raise NotFoundError(f"{self.dataset.name}: {why}", hint="import the recordings again: `dvsprep import`")
        return state, why

    def _plan_frames(self) -> tuple[State, str]:
        return self._plan_caches(self.frames_paths())

    def _plan_caches(self, paths: dict[str, Path]) -> tuple[State, str]:
        lacking = [path for path in paths.values() if not path.exists()]
        if not lacking:
            return "done", f"{len(paths)} cache(s) in {_first(paths).parent}"
        if len(lacking) < len(paths) or self._begun(lacking):
            return "partial", f"an earlier build stopped before {', '.join(p.name for p in lacking)}"
        if older := self._superseded(_first(paths)):
            return "stale", f"{older.name} was made from other files or by another version"
        return "missing", f"no {', '.join(p.name for p in lacking)} in {_first(paths).parent}"

    def _begun(self, lacking: Sequence[Path]) -> bool:
        if lacking[0].parent.name == "events" and self.stash.exists():
            return True
        return any(path.with_name(f".{path.name}.spool").exists() for path in lacking)

    def _superseded(self, path: Path) -> Path | None:
        """Return a cache that was asked for in the same words as ``path`` will be, but made from something else."""
        others = sorted(path.parent.glob(f"{path.name.rpartition('-')[0]}-????????.{path.name.split('.')[-2]}.h5"))
        if not others:
            return None
        from dvsprep.cache import open_cache

        identity = self.frames_identity() if path.parent.name == "frames" else self.events_identity()
        return next((other for other in others if _words(open_cache(other).identity) == _words(identity)), None)

    # -- run --

    @parallel.seldom_collected()
    def run(self) -> list[Stage]:
        """Do every stage that is not done; return what each was found to be before."""
        stages = []
        for name in STAGES if self.spec else STAGES[:-1]:
            stage = self.plan_stage(name)
            stages.append(stage)
            self.say(f"{name}: {stage.state} ({stage.why})")
            if stage.state != "done":
                getattr(self, f"_do_{name}")()
        return stages

    def _do_fetch(self) -> None:
        self.fetch()

    def fetch(self) -> list[Path]:
        """Fetch every file that is not in the download folder.

        Raises
        ------
        ManualDownloadError
            When a person has to: the message says what, where from, where to and what to run then.
        """
        lacking = [r for r in self.archives if not (self.download / r.name).is_file()]
        mirrors = self.options.network.mirrors
        if by_hand := [r for r in lacking if not raw.sources(r, self.dataset.name, mirrors)]:
            then = f"dvsprep verify {self.dataset.name}"
            told = raw.manual_instructions(self.dataset.title, by_hand, self.download, then)
            known = [f"\n  known     {host}: {evidence}" for host, evidence in self.dataset.status.items()]
            raise ManualDownloadError(told + "".join(known))
        raw.fetch_all(
            lacking,
            self.download,
            dataset=self.dataset.name,
            network=self.options.network,
            verify=self.options.verify,
            warn=self.say,
        )
        return [self.download / r.name for r in self.archives]

    def _do_verify(self) -> None:
        side_files = [r for r in self.dataset.resources if r.optional]
        raw.require(
            [*self.archives, *side_files], self.download, verify=self.options.verify, warn=self.say, ledger=self.ledger
        )

    def _do_extract(self) -> None:
        for name, folder in self.folders().items():
            if name.endswith(ARCHIVES) and not self.reads_inside(name) and not raw.is_complete(folder):
                raw.extract(self.download / name, folder, nested=self.dataset.nested)

    def _do_events(self) -> None:
        from dvsprep import cache

        self._vet()
        trees = self.trees()
        archives = [member.archive for tree in trees.values() if (member := raw.as_member(tree))]
        if tapes := [archive for archive in archives if isinstance(archive, raw.Tape)]:
            self._events_of_tapes(trees, tapes)
            return
        with cache.Publishing() as publishing:
            for part in self._event_parts(trees):
                with self._bar(f"events {part.header.split}", len(part.header.ids)) as progress:
                    cache.events_cache(
                        *part, self.options.policy,
                        jobs=self.options.jobs, say=self.say, progress=progress, publishing=publishing,
                    )  # fmt: skip
        if self.stash.exists():
            with self._stashing():
                pass  # a build out of the archive that did not end: it is not needed any more

    def _events_of_tapes(self, trees: dict[str, Path], tapes: Sequence[raw.Tape]) -> None:
        """Make the event caches while the archives inflate; play them again for recordings that passed unlabelled."""
        from dvsprep import cache

        targets = self.events_paths().values()
        with self._stashing() as stash, self._bar("events", self._expected()) as progress:
            if all(target.exists() for target in targets):
                return  # by another process, which was waited for
            if not any(target.exists() for target in targets):
                recordings = parallel.ahead(passing.ready(tapes, self.dataset, self.options.instances))
                # What is wrong may be in a recording that the layout does not list; if it does, it is read again below.
                with suppress(FormatError, LabelError):
                    stash.fill(recordings, progress=progress)
            parts = [part for part in self._event_parts(trees) if not part.target.exists()]
            for chunk, lacking in stash.lacking(parts).items():
                stash.fill(parallel.ahead(passing.again(tapes, lacking)), chunk, progress)
            with cache.Publishing() as publishing:
                for part in parts:
                    stash.publish(part, publishing)

    def _expected(self) -> int:
        """Return the samples of the official files; 0 where the files are others."""
        official = self.options.instances == "rows" and not self.unverified()
        return sum(self.dataset.samples.values()) if official else 0

    def _stashing(self) -> AbstractContextManager[Stash]:
        from dvsprep import cache

        how = self.options
        return cache.stashing(self.stash, self.dataset.sensor, how.codec, how.policy, how.jobs, self.say)

    def _event_parts(self, trees: dict[str, Path]) -> Iterator[Part]:
        """Lay out the recordings; yield the event cache of each split with what goes into it."""
        from dvsprep import cache

        recordings = self.dataset.layout(trees, self.dataset, self.options.instances)
        classes = self.dataset.class_names(trees) if self.dataset.class_names else self.dataset.classes
        provenance = self._provenance()
        for split, path in self.events_paths().items():
            here = [r for r in recordings if r.split == split]
            samples = [sample for recording in here for sample in recording.samples]
            self._check_counts(split, len(samples))
            ids, labels = [s.id for s in samples], [s.label for s in samples]
            yield cache.Part(path, self._header("events", split, ids, labels, provenance, classes), here)

    def _vet(self) -> None:
        """Have HDF5 files that nobody vouches for read elsewhere first: they can crash a process."""
        if self.dataset.format not in VETTED or not self.unverified():
            return
        for tree in dict.fromkeys(self.folders().values()):
            for path in (tree,) if tree.is_file() else sorted(tree.rglob("*")):
                if path.suffix in (".h5", ".hdf5") and path.is_file():
                    vetting.samples(path)

    def _check_counts(self, split: str, found: int) -> None:
        expected = self.dataset.samples.get(split)
        if expected is None or self.options.instances != "rows" or self.unverified():
            return
        if found != expected:
            told = f"{found} samples in the official files, expected {expected}"
            raise IntegrityError(f"{self.dataset.name} {split}: {told}")

    def _do_frames(self) -> None:
        from dvsprep import cache

        assert self.spec is not None
        sources = {split: cache.EventCache(path) for split, path in self.events_paths().items()}
        with cache.Publishing() as publishing:
            for later in [*sources.values()][1:]:
                publishing.begin(later.map)  # while the first one's frames are made
            for split, path in self.frames_paths().items():
                source, indices = self._part(sources, split)
                if not len(indices):
                    raise UsageError(f"the split leaves no sample for {split}", hint="choose another --split")
                ids, labels = [str(source.ids[i]) for i in indices], [int(source.labels[i]) for i in indices]
                provenance = source.provenance | {"events": source.path.name, "split": self.split}
                header = self._header("frames", split, ids, labels, provenance, source.classes)
                with self._bar(f"frames {split}", len(indices)) as progress:
                    cache.frames_cache(
                        path, header, source, self.spec, indices,
                        jobs=self.options.jobs, say=self.say, progress=progress, publishing=publishing,
                    )  # fmt: skip

    def _part(self, sources: dict[str, EventCache], split: str) -> tuple[EventCache, Sequence[int]]:
        if self.split is None or (split != "train" and split in sources):
            return sources[split], range(len(sources[split]))
        whole = sources["all" if "all" in sources else "train"]
        ids, labels = whole.ids.tolist(), whole.labels.tolist()
        if self.split_file:
            return whole, self.split_file.sides(ids)[split]
        return whole, splits.assign(self.dataset, self.split, ids, labels)[split]

    def _header(
        self,
        kind: Literal["events", "frames"],
        split: str,
        ids: list[str],
        labels: list[int],
        provenance: dict[str, Any],
        classes: Sequence[str],
    ) -> Header:
        from dvsprep import cache

        return cache.Header(
            kind=kind,
            dataset=self.dataset.name,
            split=split,
            sensor=self.dataset.sensor,
            classes=tuple(classes),
            ids=ids,
            labels=labels,
            identity=self.events_identity() if kind == "events" else self.frames_identity(),
            spec=self.spec.to_dict() if self.spec and kind == "frames" else {},
            provenance=provenance,
            channels=self.dataset.channels,
            codec=self.options.codec,
        )

    def _provenance(self) -> dict[str, Any]:
        import numpy as np

        from dvsprep.jit import NUMBA

        return {
            "files": self.files(),
            "unverified": self.unverified(),
            "title": self.dataset.title,
            "paper": self.dataset.paper,
            "licence": self.dataset.licence,
            "versions": {"numpy": np.__version__, "numba": NUMBA},
        }

    def _bar(self, what: str, total: int) -> Any:
        return Bar(what, total)

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


def _words(identity: dict[str, Any]) -> list[Any]:
    """Return what of an identity a person asked for; the rest is files and versions."""
    events = identity.get("events", identity)
    return [identity.get("spec"), identity.get("split"), events.get("instances"), events.get("policy")]


def _first(paths: dict[str, Path]) -> Path:
    return next(iter(paths.values()))
