"""Served caches as sequences, like those on disk: ``source[i] -> (frames, label)`` or ``(events, label)``."""

from __future__ import annotations

import copy
import multiprocessing
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvsprep import config, wire
from dvsprep.cache import EventFrames, loading, sparse
from dvsprep.cache.numbered import Numbered
from dvsprep.errors import IntegrityError, UsageError
from dvsprep.integrate import widen
from dvsprep.remote.link import Link, TooMuchError
from dvsprep.remote.mirror import Mirror
from dvsprep.types import Array, Events, FrameSpec, NeedOfTimes

TRIES = 3  # for a message whose bytes are wrong


class RemoteCache(Numbered):
    """What served frames and events have in common. Holds an address, and connects in each process by itself.

    Parameters
    ----------
    url : str
    mirror : Mirror, optional
        Where fetched samples are kept.

    Attributes
    ----------
    kind, dataset, split, key, sensor, classes, labels, provenance
        As of a cache on disk; ``path`` is the address.
    """

    kind: str

    def __init__(self, link: Link, facts: dict[str, Any], mirror: Mirror | None) -> None:
        self.path, self.dataset, self.split, self.key = str(link), facts["dataset"], facts["split"], facts["key"]
        self.sensor = (int(facts["sensor"][0]), int(facts["sensor"][1]))
        self.channels, self.varies, self.version = int(facts["channels"]), bool(facts["varies"]), str(facts["version"])
        self.classes: Sequence[str] = tuple(facts["classes"])
        self.events_id: str | None = facts["events_cache"]
        self.columns = tuple(wire.Column.from_dict(column) for column in facts["columns"])
        self._spec: dict[str, Any] = facts["spec"] or {}
        self._link, self._mirror = link, mirror
        self._most = self._samples_at_once(facts)
        link.version = self.version
        self.labels: NDArray[np.int64] = link.array("labels").astype(np.int64)
        self._small: dict[str, Array] = {}
        if len(self.labels) != facts["samples"]:
            raise IntegrityError(f"{self.path}: {len(self.labels)} labels of {facts['samples']} samples")

    @staticmethod
    def _samples_at_once(facts: dict[str, Any]) -> int:
        """Return how many samples to ask for at once, so that they seldom are too many bytes."""
        mean = sum(int(column["bytes"]) for column in facts["columns"]) / max(1, facts["samples"])
        limits = facts["limits"]
        return max(1, min(int(limits["samples"]), int(limits["bytes"] / max(1.0, 2 * mean))))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_small": {}}

    @property
    def provenance(self) -> dict[str, Any]:
        """Where the samples are from."""
        found: dict[str, Any] = self.facts()["provenance"]
        return found

    def facts(self) -> dict[str, Any]:
        """Return all that the service tells of the cache."""
        return self._link.json()

    def small(self, name: str) -> Array:
        """Return an array of one value a sample: ids, n_events, t_start, t_end, crc32 or rows."""
        if name not in self._small:
            self._small[name] = self._link.array(name)
        return self._small[name]

    def fetch(self, indices: Sequence[int]) -> dict[int, wire.Sample]:
        """Return samples as they are stored, by number, in one request; none for those that the mirror has."""
        wanted = list(dict.fromkeys(indices))
        found = self._mirror.get(self.version, wanted) if self._mirror else {}
        lacking = [i for i in wanted if i not in found]
        for start in range(0, len(lacking), self._most):
            samples = self._ask(lacking[start : start + self._most])
            if self._mirror:
                self._mirror.put(self.version, samples)
            found.update((sample.i, sample) for sample in samples)
        return found

    def _ask(self, indices: list[int]) -> list[wire.Sample]:
        for attempt in range(1, TRIES + 1):
            try:
                samples = self._link.ask("/batch", body={"samples": indices}, read=wire.unpack)
            except TooMuchError:
                if len(indices) == 1:
                    raise
                half = len(indices) // 2
                return self._ask(indices[:half]) + self._ask(indices[half:])
            except IntegrityError as error:  # on the way, which another try mends, or on the server's disk
                if attempt == TRIES:
                    raise IntegrityError(
                        f"{self.path}: {error.message}", hint="`dvsprep info` there tells more"
                    ) from None
                continue
            if [sample.i for sample in samples] != indices:
                raise IntegrityError(f"{self.path}: asked for {len(indices)} samples, other ones came")
            return samples
        raise AssertionError("the last try returns or raises")


class RemoteFrames(RemoteCache):
    """Served frames; a FrameSource."""

    kind = "frames"

    @property
    def spec(self) -> FrameSpec:
        """How the frames were made."""
        return FrameSpec.from_dict(self._spec)

    def __getitem__(self, index: int, /) -> tuple[Array, int]:
        i = self.index(index)
        return wire.frames_of(self.fetch([i])[i], self.columns, varies=self.varies), int(self.labels[i])

    def __getitems__(self, indices: Sequence[int]) -> Sequence[tuple[Array, int]]:
        """Return a whole batch, in one request."""
        wanted = [self.index(i) for i in indices]
        samples = self.fetch(wanted)
        if self.varies or not self.columns:
            return loading.one_by_one(lambda i: self._item(samples[i]), wanted, self._row_bytes)
        if self._row_bytes >= sparse.WORTH_READING and multiprocessing.parent_process() is None:
            sparse.load()  # not in workers, of which each would wait for Numba
        column = self.columns[0]

        def fill(some: Sequence[int], out: Array) -> None:
            for k, i in enumerate(some):
                column.unpack_into(samples[i].chunks, out[k : k + 1])

        return loading.batch(fill, wanted, self.labels, column.row_shape, np.dtype(column.dtype))

    def _item(self, sample: wire.Sample) -> tuple[Array, int]:
        return wire.frames_of(sample, self.columns, varies=self.varies), int(self.labels[sample.i])

    @property
    def _row_bytes(self) -> int:
        column = self.columns[0]
        return int(np.prod(column.row_shape)) * np.dtype(column.dtype).itemsize


class RemoteEvents(RemoteCache):
    """Served events: ``source[i] -> ({"t", "x", "y", "p"} int64[N], label)``."""

    kind = "events"
    _held: dict[int, wire.Sample] | None = None

    def __getitem__(self, index: int, /) -> tuple[Events, int]:
        i = self.index(index)
        return widen(self.compact(i)), int(self.labels[i])

    def __getitems__(self, indices: Sequence[int]) -> Sequence[tuple[Events, int]]:
        """Return a whole batch, in one request."""
        held = self.holding([self.index(i) for i in indices])
        return [held[i] for i in indices]

    def compact(self, i: int, *, times: NeedOfTimes = True) -> Events:
        """Return one sample's events as they are kept; without ``times``, t is empty."""
        held = self._held or {}
        return wire.events_of(held.get(i) or self.fetch([i])[i], self.columns, times=bool(times))

    def map(self) -> None:
        """Do nothing: there is no file here."""

    def load_times(self) -> None:
        """Do nothing: times are unpacked by a library here."""

    def holding(self, indices: Sequence[int]) -> RemoteEvents:
        """Return the same events, some of which were fetched already."""
        other = copy.copy(self)
        other._small, other._held = self._small, self.fetch(indices)
        return other

    def frames(
        self, spec: FrameSpec | None = None, *, jitter: Callable[[Events], Events] | None = None, **fields: Any
    ) -> RemoteEventFrames:
        """Return a FrameSource that integrates on the fly, here; as of an event cache on disk."""
        return RemoteEventFrames(self, spec or FrameSpec(**fields), jitter)  # type: ignore[arg-type]


class RemoteEventFrames(EventFrames):
    """Frames integrated here from served events; a FrameSource."""

    def __getitems__(self, indices: Sequence[int]) -> Sequence[tuple[Array, int]]:
        """Return a whole batch, in one request."""
        wanted = [self.events.index(i) for i in indices]
        other = copy.copy(self)
        other.events, other._integrate = self.events.holding(wanted), self._integrate  # type: ignore[attr-defined]
        return EventFrames.__getitems__(other, wanted)


def open_url(url: str, *, events: bool = False, mirror: bool = True) -> RemoteFrames | RemoteEvents:
    """Open a served cache.

    Parameters
    ----------
    events : bool
        Insist on events: of frames, those they were made from are opened.
    mirror : bool
        Keep fetched samples on this machine, as ``dvsprep.config`` says.
    """
    link = Link(url)
    facts = link.json()
    if events and facts.get("kind") == "frames":
        if not facts.get("events_cache"):
            raise UsageError(f"{link}: does not tell which events it was made from")
        link = Link(f"{link.url.rpartition('/')[0]}/{facts['events_cache']}")
        facts = link.json()
    gigabytes = config.remote_gb() if mirror else 0
    kept = Mirror(config.root() / ".mirror" / "samples.sqlite", gigabytes << 30) if gigabytes else None
    kind = RemoteEvents if facts.get("kind") == "events" else RemoteFrames
    try:
        return kind(link, facts, kept)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, IntegrityError | UsageError):
            raise
        raise IntegrityError(f"{link}: the service of another version of dvsprep: {error!r}") from error
