"""Packed samples of recordings that pass by in any order: a spool a recording, until it is known which cache it is for.

Recordings that come out of a tar are decoded when they pass, but which split each is in, and that it is in one at all,
may be written at the archive's end. Killed, the next build finds the spools that are whole.
"""

from __future__ import annotations

import itertools
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from dvsprep import events as ev
from dvsprep import parallel
from dvsprep.cache import build, write
from dvsprep.cache.cutting import Numbered
from dvsprep.cache.layout import Header
from dvsprep.cache.packing import PackHow
from dvsprep.cache.spool import Spool
from dvsprep.errors import ArchiveError

WORKERS = 4  # more than one inflating thread can feed


class Part(NamedTuple):
    """An event cache to be made, and the recordings whose samples it holds, in their order."""

    target: Path
    header: Header
    recordings: Sequence[ev.Recording]

    @property
    def chunk(self) -> int:
        """Events of a chunk."""
        return build.chunk_size(self.recordings, len(self.header.ids))


class Stash:
    """The samples of one dataset's recordings, in a folder of spools.

    Parameters
    ----------
    say : callable
        Told everything once, for a recording may be decoded again, in other chunks.
    """

    def __init__(
        self, folder: Path, sensor: tuple[int, int], codec: str, policy: ev.Policy, jobs: int | None, say: build.Say
    ) -> None:
        self.folder, self.sensor, self.codec, self.policy = folder, sensor, codec, policy
        self.jobs = min(WORKERS, parallel.workers(jobs))
        self._say, self._said = say, set[str]()
        self._spools: dict[tuple[str, int], Spool] = {}

    def _spool(self, recording: ev.Recording, chunk: int) -> Spool:
        key = str(recording.path), chunk
        if key not in self._spools:
            path = self.folder / f"{sha256(key[0].encode()).hexdigest()[:16]}-{chunk}.spool"
            self._spools[key] = Spool(path, write.spool_tag(self.codec), len(recording.samples))
        return self._spools[key]

    def fill(
        self, recordings: Iterable[ev.Recording], chunk: int | None = None, progress: build.Progress = lambda _: None
    ) -> None:
        """Decode recordings as they come, and keep their samples.

        Parameters
        ----------
        chunk : int, optional
            Events of a chunk; what suits the first recording unless told.
        progress : callable
            Told the number of samples done, each time some are.
        """
        coming = iter(recordings)
        if (first := next(coming, None)) is None:
            return
        how = PackHow(self.sensor, chunk or build.chunk_size([first], len(first.samples)), self.codec)
        ev.warm_up([first.format], self.sensor)
        build.warm_up(self.sensor)
        places: list[tuple[Spool, int]] = []  # of each sample by the number it gets here
        numbered = self._numbered(itertools.chain([first], coming), how.chunk, places, progress)
        del first

        def lacks(i: int) -> bool:
            spool, k = places[i]
            return not spool.done[k]

        for samples in build.packed(numbered, self.policy, how, lacks, jobs=self.jobs, say=self._say_once):
            for spool, part in itertools.groupby(samples, key=lambda sample: places[sample.index][0]):
                spool.append([replace(sample, index=places[sample.index][1]) for sample in part])
            progress(len(samples))

    def _numbered(
        self, recordings: Iterator[ev.Recording], chunk: int, places: list[tuple[Spool, int]], progress: build.Progress
    ) -> Iterator[Numbered]:
        for recording in recordings:
            spool, n = self._spool(recording, chunk), len(recording.samples)
            progress(int(spool.done.sum()))
            if not spool.done.all():
                places += [(spool, k) for k in range(n)]
                yield recording, tuple(range(len(places) - n, len(places)))
            del recording  # and its bytes

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self._say(line)

    def lacking(self, parts: Iterable[Part]) -> dict[int, list[ev.Recording]]:
        """Return the recordings that are not wholly here, by the chunks that they are to have."""
        found: dict[int, list[ev.Recording]] = {}
        for part in parts:
            build.refuse_twins(part.header)
            if lacking := [r for r in part.recordings if not self._spool(r, part.chunk).done.all()]:
                found.setdefault(part.chunk, []).extend(lacking)
        return found

    def publish(self, part: Part, publishing: write.Publishing) -> None:
        """Have a cache published whose recordings are all here."""
        spools = [self._spool(recording, part.chunk) for recording in part.recordings]
        write.join(part.target, part.header, spools, self._say, publishing)

    def close(self) -> None:
        """Close the spools; they stay."""
        for spool in self._spools.values():
            spool.close()


@contextmanager
def stashing(
    folder: Path, sensor: tuple[int, int], codec: str, policy: ev.Policy, jobs: int | None, say: build.Say
) -> Iterator[Stash]:
    """Hold the lock of a stash, which goes with what it holds when the block ends well or the archive is broken."""
    parallel.refuse_in_reimport()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with write.locked(folder, say) as held:
        folder = folder if held else folder.with_suffix(f".{uuid.uuid4().hex[:8]}")
        folder.mkdir(exist_ok=True)
        if any(folder.iterdir()):
            say("going on with the samples of an unfinished build")
        stash = Stash(folder, sensor, codec, policy, jobs, say)
        keep = False
        try:
            yield stash
        except BaseException as error:
            keep = held and not isinstance(error, ArchiveError)
            raise
        finally:
            stash.close()
            if not keep:
                shutil.rmtree(folder)
