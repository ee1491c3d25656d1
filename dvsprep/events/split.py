"""A recording and its samples in, each sample's events out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dvsprep.errors import FormatError, LabelError
from dvsprep.events import catalog
from dvsprep.events.labels import Sample
from dvsprep.events.reading import Decoded, Policy, Span, backward, check_order, columns, load, select, size_of
from dvsprep.raw import as_member
from dvsprep.types import Array, Events


@dataclass(frozen=True)
class Recording:
    """One file of events, which split it belongs to, and the samples cut from it."""

    path: Path
    format: str
    split: str
    samples: tuple[Sample, ...]
    labels: Path | None = None


def read(recording: Recording, sensor: tuple[int, int], policy: Policy, raw: Array | None = None) -> Decoded:
    """Decode a recording's file; ``raw`` is what :func:`bytes_of` returned, if it was called before."""
    path, name = recording.path, str(recording.path)
    if recording.format in catalog.PATHS:
        with _present(path):
            return catalog.PATHS[recording.format][0](path, name, sensor, policy)
    return catalog.BYTES[recording.format][0](_bytes(path) if raw is None else raw, name, sensor, policy)


def bytes_of(recording: Recording) -> Array | None:
    """Return a recording's bytes, inflated if it lies in an archive; None where its reader opens the file itself."""
    return _bytes(recording.path) if recording.format in catalog.BYTES else None


def spans_of(recording: Recording, policy: Policy, limit: int) -> tuple[list[Span], dict[str, int], Array | None]:
    """Return the parts in which a recording can be decoded, in order, and what was mended; none where it is one piece.

    The third is the file's bytes where they are to be handed to :func:`read_span`, for they were inflated for this.

    Parameters
    ----------
    limit : int
        Bytes of a part; a file of up to twice as many stays whole.
    """
    if recording.format not in catalog.SPANS or policy.unsorted == "sort":
        return [], {}, None
    with _present(recording.path):
        if size_of(recording.path) <= 2 * limit:
            return [], {}, None
        raw = load(recording.path)
        spans, notes = catalog.SPANS[recording.format].spans(raw, str(recording.path), policy, limit)
    return spans, notes, raw if as_member(recording.path) else None


def read_span(
    recording: Recording, span: Span, sensor: tuple[int, int], policy: Policy, raw: Array | None = None
) -> Decoded:
    """Decode a part of a recording's file; whether it begins where the last one ended is for :class:`Cutter` to see."""
    raw = _bytes(recording.path) if raw is None else raw
    decoded = catalog.SPANS[recording.format].read_span(raw, span, str(recording.path), sensor, policy)
    check_order(decoded.events["t"], str(recording.path), span.before)
    return decoded


def samples_of(
    recording: Recording, sensor: tuple[int, int], policy: Policy, notes: dict[str, int], raw: Array | None = None
) -> Iterator[tuple[Sample, Events]]:
    """Yield each sample's events; what had to be mended is added to ``notes``. ``raw`` as of :func:`read`.

    A recording is decoded once and cut; a file that holds many samples is read sample by sample.
    """
    if recording.format not in catalog.CONTAINERS:
        decoded = read(recording, sensor, policy, raw)
        notes.update(decoded.notes)
        yield from cut(decoded.events, recording, notes)
        return
    container = catalog.CONTAINERS[recording.format][0]
    with _present(recording.path):
        wanted = [(sample.key, f"{recording.path}:{sample.key}") for sample in recording.samples]
        many = container.read_many(recording.path, wanted, sensor, policy)
        for sample, decoded in zip(recording.samples, many, strict=True):
            for what, count in decoded.notes.items():
                notes[what] = notes.get(what, 0) + count
            yield sample, decoded.events


@contextmanager
def _present(path: Path) -> Iterator[None]:
    if not path.is_file():
        raise _gone(path)
    yield


def _bytes(path: Path) -> Array:
    try:
        return load(path)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise _gone(path) from None


def _gone(path: Path) -> FormatError:
    return FormatError(f"{path}: the recording is gone", hint="delete the folder extract/ and run again")


def cut(events: Events, recording: Recording, notes: dict[str, int] | None = None) -> Iterator[tuple[Sample, Events]]:
    """Yield each sample's events: views into the recording's columns, ``[start, end)`` by binary search.

    A window in which nothing happened is a sample without events; one that lies outside the recording is an error, but
    where ``notes`` tell that the recording's end was lost and salvage was asked for.
    """
    if len(recording.samples) == 1 and recording.samples[0].windows is None:
        yield recording.samples[0], events
        return
    cutter = Cutter(recording, {} if notes is None else notes)
    parts = list(cutter.feed(events))
    cutter.finish()
    whole: dict[int, list[Events]] = {}
    for k, part in parts:
        whole.setdefault(k, []).append(part)
    for k, sample in enumerate(recording.samples):
        yield sample, join(whole.get(k, [select(events, slice(0))]))


class Cutter:
    """Cuts a recording's events, which may come in blocks, into those of its samples.

    Parameters
    ----------
    notes : dict
        What was mended in the recording; windows that were lost with its end are counted there.

    Attributes
    ----------
    last : int or None
        The time of the last event so far; windows that end before it are complete.
    """

    def __init__(self, recording: Recording, notes: dict[str, int]) -> None:
        self.recording, self.notes = recording, notes
        self.first: int | None = None
        self.last: int | None = None
        self._events = 0
        self._windows = [
            (k, start, end) for k, sample in enumerate(recording.samples) for start, end in sample.windows or ()
        ]
        self._starts = np.array([(start, end) for _, start, end in self._windows], np.int64).reshape(-1, 2)
        self._hit = np.zeros(len(self._windows), bool)
        self._whole = [k for k, sample in enumerate(recording.samples) if sample.windows is None]

    def feed(self, events: Events) -> Iterator[tuple[int, Events]]:
        """Yield (position of a sample, its events in this block), in the order of samples and of their windows.

        Raises
        ------
        FormatError
            The block begins before the last one ended.
        """
        t = events["t"]
        if not len(t):
            return
        if self.last is not None and t[0] < self.last:
            raise backward(str(self.recording.path), self._events, int(t[0]), self.last)
        self.first = int(t[0]) if self.first is None else self.first
        self.last = int(t[-1])
        self._events += len(t)
        for k in self._whole:
            yield k, events
        edges = np.searchsorted(t, self._starts)
        self._hit |= edges[:, 0] < edges[:, 1]
        for (k, _, _), (a, b) in zip(self._windows, edges.tolist(), strict=True):
            if a < b:
                yield k, select(events, slice(a, b))

    def finish(self) -> None:
        """Raise LabelError for a window that lies outside the recording."""
        first, last = self.first, self.last
        for (k, start, end), hit in zip(self._windows, self._hit, strict=True):
            if hit or (first is not None and last is not None and first < end and start <= last):
                continue
            if "salvaged_bytes_lost" in self.notes and last is not None and start > last:
                self.notes["windows_lost"] = self.notes.get("windows_lost", 0) + 1
                continue
            raise LabelError(
                f"{self.recording.labels}:{self.recording.samples[k].line}: the window {start} to {end} us lies "
                f"outside the recording, which runs from {first} to {last} us"
            )


def join(parts: Sequence[Events]) -> Events:
    """Return the events of several parts as one; of one part, itself."""
    if len(parts) == 1:
        return parts[0]
    t, x, y, p = (np.concatenate([part[k] for part in parts]) for k in ("t", "x", "y", "p"))
    return Events(t=t, x=x, y=y, p=p)


def warm_up(formats: Iterable[str], sensor: tuple[int, int]) -> None:
    """Compile these formats' kernels once, before workers start: concurrent first compiles can crash Numba (4807)."""
    from dvsprep.events import _kernels, _kernels_dat, _kernels_es

    raw = np.zeros(0, np.uint8)
    raw.flags.writeable = False
    c = columns(0, sensor)
    rest = (*sensor, False, c["t"], c["x"], c["y"], c["p"])
    for format in set(formats):
        if format == "aedat3.1":
            _kernels.aedat31_count(raw, 0)
            _kernels.aedat31_decode(raw, *rest)
        elif format.startswith("aedat2"):
            _kernels.aedat2_decode(raw, True, *rest)
        elif format == "atis":
            _kernels.atis_decode(raw, *rest)
        elif "dat" in format:
            _kernels_dat.dat_decode(raw, 14, 14, 4, *rest)
        elif format == "es":
            _kernels_es.es_dvs_walk(raw)
    _kernels.first_backward(np.zeros(0, np.int64))
