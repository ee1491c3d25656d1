"""Recordings in, pieces of samples out: decoded in workers, whole or in spans, and cut in the order of time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import NamedTuple

from dvsprep import events as ev
from dvsprep import parallel
from dvsprep.cache.packing import PackHow, Piece, pack_events
from dvsprep.types import Array, Events

SPAN_BYTES = 1 << 24  # about what one worker decodes at once
MANY = 256  # small recordings that one worker takes at once


Numbered = tuple[ev.Recording, tuple[int, ...]]  # a recording, and the numbers that its samples have in what is built


@dataclass(frozen=True)
class DecodeTask:
    """What one worker decodes: some recordings, or a span of one."""

    recordings: tuple[Numbered, ...]
    span: ev.Span | None
    how: PackHow
    policy: ev.Policy
    notes: tuple[tuple[str, int], ...] = ()  # what the walk to the spans mended
    final: bool = True
    raws: tuple[Array | None, ...] = ()  # the recordings' bytes, where they were read before


class Decoded(NamedTuple):
    """What comes back: pieces of whole recordings, or the events of a span; and what was mended, by recording."""

    task: DecodeTask
    pieces: list[Piece]
    events: Events | None
    notes: dict[str, dict[str, int]]


def pieces(
    recordings: Iterable[Numbered],
    policy: ev.Policy,
    how: PackHow,
    *,
    executor: parallel.Kind,
    jobs: int | None,
    say: Callable[[str], None],
    read_ahead: bool = False,
) -> Iterator[Piece]:
    """Decode recordings in workers and yield the pieces of their samples, those of whole recordings packed.

    Recordings are asked for when there is a worker for them; or, of small ones, by a thread that reads the next task's
    ahead, if they may be asked for by another thread, and still be while this one fails.
    """
    tasks = _tasks(recordings, policy, how)
    if read_ahead and executor == "serial":  # inflating holds no GIL and takes a third of the time
        tasks = parallel.ahead(_with_bytes(tasks))
    splicer: Splicer | None = None
    for decoded in parallel.run(decode, tasks, executor, jobs=jobs, ahead=1):
        for recording, counts in decoded.notes.items():
            for what, count in counts.items():
                say(f"{recording}: {what.replace('_', ' ')}: {count}")
        yield from decoded.pieces
        if decoded.events is not None:
            splicer = splicer or Splicer(*decoded.task.recordings[0], how.chunk)
            yield from splicer.feed(decoded)
            splicer = None if decoded.task.final else splicer


def _tasks(recordings: Iterable[Numbered], policy: ev.Policy, how: PackHow) -> Iterator[DecodeTask]:
    """Group recordings so that a task is neither one tiny file nor more than a span of a large one."""
    group: list[Numbered] = []
    size = 0
    for recording, indices in recordings:
        spans, notes, raw = ev.spans_of(recording, policy, SPAN_BYTES)
        for k, span in enumerate(spans):
            mended = tuple(notes.items()) if k == 0 else ()
            final = k == len(spans) - 1
            yield DecodeTask(((recording, indices),), span, how, policy, mended, final, (raw,))
        if spans:
            continue
        group.append((recording, indices))
        size += ev.size_of(recording.path)
        if size >= SPAN_BYTES or len(group) >= MANY:
            yield DecodeTask(tuple(group), None, how, policy)
            group, size = [], 0
    if group:
        yield DecodeTask(tuple(group), None, how, policy)


def _with_bytes(tasks: Iterator[DecodeTask]) -> Iterator[DecodeTask]:
    """Read the recordings of tasks, but for those that are to be read in spans."""
    for task in tasks:
        if task.span is None:
            task = replace(task, raws=tuple(ev.bytes_of(recording) for recording, _ in task.recordings))
        yield task
        del task  # and its bytes


def decode(task: DecodeTask) -> Decoded:
    """Decode a task's recordings, cut and pack their samples; of a span, only decode it."""
    if task.span is not None:
        ((recording, _),) = task.recordings
        span = ev.read_span(recording, task.span, task.how.sensor, task.policy, task.raws[0])
        found = {k: v for k, v in (*task.notes, *span.notes.items()) if v}
        return Decoded(task, [], span.events, {str(recording.path): found} if found else {})
    cut: list[Piece] = []
    notes: dict[str, dict[str, int]] = {}
    for (recording, indices), raw in zip_longest(task.recordings, task.raws):
        mended: dict[str, int] = {}
        first = len(cut)
        samples = ev.samples_of(recording, task.how.sensor, task.policy, mended, raw)
        cut += [Piece(index, events) for index, (_, events) in zip(indices, samples, strict=True)]
        if mended:
            notes[str(recording.path)] = mended
            cut[first] = cut[first]._replace(mended=tuple(mended.items()))
        cut[first:] = [piece._replace(events=None, packed=pack_events(piece, task.how)) for piece in cut[first:]]
    return Decoded(task, cut, None, notes)


class Splicer:
    """Puts the spans of one recording in order of time and cuts its samples, most of which lie in one span.

    Parameters
    ----------
    chunk : int
        Events of a chunk; a piece that is not a sample's last one fills whole chunks.
    """

    HOLD = 1 << 20  # events of a sample that may wait for more of it

    def __init__(self, recording: ev.Recording, indices: tuple[int, ...], chunk: int) -> None:
        self.indices, self.chunk = indices, chunk
        self.notes: dict[str, int] = {}
        self.cutter = ev.Cutter(recording, self.notes)
        self.ends = [max(end for _, end in s.windows) if s.windows else None for s in recording.samples]
        self.waiting: list[list[Events]] = [[] for _ in indices]
        self.before: list[int | None] = [None] * len(indices)
        self.finished = [False] * len(indices)

    def feed(self, decoded: Decoded) -> Iterator[Piece]:
        """Take the next span; yield the pieces that are complete by it."""
        for counts in decoded.notes.values():
            for what, count in counts.items():
                self.notes[what] = self.notes.get(what, 0) + count
        assert decoded.events is not None
        for k, part in self.cutter.feed(decoded.events):
            self.waiting[k].append(part)
        if decoded.task.final:
            self.cutter.finish()
        for k in range(len(self.indices)):
            yield from self._pieces(k, final=decoded.task.final)

    def _pieces(self, k: int, *, final: bool) -> Iterator[Piece]:
        if self.finished[k]:
            return
        end, last, is_last = self.ends[k], self.cutter.last, k == len(self.indices) - 1
        held = sum(len(part["t"]) for part in self.waiting[k])
        if final or (end is not None and last is not None and end <= last and not is_last):
            # The last sample waits for the end of the recording: it carries what was mended in all of it.
            self.finished[k] = True
            events = ev.join(self.waiting[k]) if self.waiting[k] else ev.columns(0, (1, 1))
            self.waiting[k] = []
            mended = tuple(self.notes.items()) if is_last else ()
            yield Piece(self.indices[k], events, self.before[k], last=True, mended=mended)
        elif held >= self.HOLD:
            events = ev.join(self.waiting[k])
            whole = held // self.chunk * self.chunk
            self.waiting[k] = [ev.select(events, slice(whole, None))]
            yield Piece(self.indices[k], ev.select(events, slice(whole)), self.before[k], last=False)
            self.before[k] = int(events["t"][whole - 1])


def batches(pieces: Iterator[Piece], events: int, samples: int) -> Iterator[list[Piece]]:
    """Group pieces so that a batch has about ``events`` events, or ``samples`` small pieces."""
    batch: list[Piece] = []
    size = 0
    for piece in pieces:
        batch.append(piece)
        size += piece.packed.facts["n_events"] if piece.packed else len(piece.events["t"]) if piece.events else 0
        if size >= events or len(batch) >= samples:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
