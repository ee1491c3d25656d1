"""The two builds: recordings into an event cache, an event cache into a frame cache."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dvsprep import events as ev
from dvsprep import integrate, parallel
from dvsprep.cache import cutting, mapped, sparse
from dvsprep.cache.codec import kernels
from dvsprep.cache.layout import Block, Header, Packed, pack_rows, packing_of, repack
from dvsprep.cache.loading import scratch
from dvsprep.cache.packing import PackHow, Piece, pack_events
from dvsprep.cache.read import EventCache
from dvsprep.cache.write import Publishing, build, write_cache
from dvsprep.errors import IntegrityError, PluginError
from dvsprep.types import Array, FrameSpec

BATCH_EVENTS = 1 << 19  # about what one task packs or integrates: fewer, and threads hand Python's lock over less often
BATCH_SAMPLES = 256  # small ones
MANY_EVENTS = 1 << 27  # of which times are unpacked so much faster that what it takes to load pays, 11 ms
SMALL = 1 << 14  # events of a sample for which threads do not pay
AT_ONCE_BYTES = 1 << 21  # of frames that are packed at once: they stay in the processor's cache
SMALL_FRAMES = 1 << 17  # bytes of a sample's for which that pays
MIN_CHUNK, MAX_CHUNK = 1 << 10, 1 << 16  # events

Progress = Callable[[int], None]
Say = Callable[[str], None]


def events_cache(
    target: Path,
    header: Header,
    recordings: Sequence[ev.Recording],
    policy: ev.Policy,
    *,
    jobs: int | None = None,
    executor: parallel.Kind = "threads",
    say: Say = lambda _: None,
    progress: Progress = lambda _: None,
    publishing: Publishing | None = None,
) -> Path:
    """Decode recordings, cut their samples and write them to an event cache.

    Parameters
    ----------
    progress : callable
        Told the number of samples done, each time some are.
    publishing : Publishing, optional
        Publishes it while the caller goes on; unless given it is published when this returns.
    """
    produce = partial(_packed_events, header, recordings, policy, jobs, executor, say, progress)
    return build(target, header, produce, say, publishing)


def events_file(
    target: Path,
    header: Header,
    recordings: Sequence[ev.Recording],
    policy: ev.Policy,
    *,
    jobs: int | None = None,
    say: Say = lambda _: None,
    replace: bool = False,
) -> Path:
    """Make an event cache of its own, in one go: no lock, nothing to go on from; ``replace`` as of write_cache."""
    batches = _packed_events(
        header, recordings, policy, jobs, "threads", say, lambda _: None, np.zeros(len(header.ids), bool)
    )
    return write_cache(target, header, chain.from_iterable(batches), replace=replace)


def _packed_events(
    header: Header,
    recordings: Sequence[ev.Recording],
    policy: ev.Policy,
    jobs: int | None,
    executor: parallel.Kind,
    say: Say,
    progress: Progress,
    done: Array,
) -> Iterator[list[Packed]]:
    """Yield the samples of a header that are not done, packed."""
    chunk = chunk_size(recordings, len(header.ids))
    refuse_twins(header)
    progress(int(done.sum()))
    if done.all():
        return
    position = {id: i for i, id in enumerate(header.ids)}
    numbered = ((r, tuple(position[sample.id] for sample in r.samples)) for r in recordings)
    wanted = ((r, indices) for r, indices in numbered if not all(done[i] for i in indices))
    how = PackHow(header.sensor, chunk, header.codec)
    ev.warm_up((recording.format for recording in recordings), header.sensor)
    warm_up(header.sensor)
    lacks = np.logical_not(done).item
    for samples in packed(wanted, policy, how, lacks, jobs=jobs, executor=executor, say=say, read_ahead=True):
        yield samples
        progress(len(samples))


def refuse_twins(header: Header) -> None:
    """Raise IntegrityError where two samples have one id."""
    if len(set(header.ids)) < len(header.ids):
        twice = next(id for id, n in Counter(header.ids).items() if n > 1)
        raise IntegrityError(f"{header.dataset} {header.split}: two recordings are the sample {twice}")


def packed(
    recordings: Iterable[cutting.Numbered],
    policy: ev.Policy,
    how: PackHow,
    wanted: Callable[[int], bool],
    *,
    jobs: int | None,
    executor: parallel.Kind = "threads",
    say: Say = lambda _: None,
    read_ahead: bool = False,
) -> Iterator[list[Packed]]:
    """Yield the samples of recordings whose numbers are wanted, packed, in the order in which they are ready.

    ``read_ahead`` as of :func:`cutting.pieces`.
    """
    executor = _suited(executor, how.chunk)
    cut = cutting.pieces(recordings, policy, how, executor=executor, jobs=jobs, say=say, read_ahead=read_ahead)
    pieces = (piece for piece in cut if wanted(piece.sample))
    tasks = ((batch, how) for batch in cutting.batches(pieces, BATCH_EVENTS, BATCH_SAMPLES))
    whole = Whole(how)
    for parts in parallel.run(pack_pieces, tasks, executor, jobs=jobs):
        yield [sample for piece, part in parts if (sample := whole.add(piece, part)) is not None]


def _suited(executor: parallel.Kind, events: int) -> parallel.Kind:
    """Return who does the work on samples of so many events.

    Of small ones threads do less than one alone: each kernel is done in some microseconds, and handing Python's lock
    over takes as long.
    """
    return "serial" if executor == "threads" and events < SMALL else executor


def chunk_size(recordings: Sequence[ev.Recording], samples: int) -> int:
    """Return the events a chunk, told from the sizes of the files alone: all of most samples, so that few need two."""
    sizes = {r.path: (ev.size_of(r.path), ev.EVENT_BYTES.get(r.format, 8)) for r in recordings}
    typical = sum(size // width for size, width in sizes.values()) // max(1, samples)
    return min(MAX_CHUNK, max(1, -(-3 * typical // (2 * MIN_CHUNK))) * MIN_CHUNK)


def pack_pieces(task: tuple[list[Piece], PackHow]) -> list[tuple[Piece, Packed]]:
    """Pack those pieces that are not; they come back without their events."""
    pieces, how = task
    return [(piece._replace(events=None, packed=None), piece.packed or pack_events(piece, how)) for piece in pieces]


class Whole:
    """Puts samples that came in several pieces together."""

    def __init__(self, how: PackHow) -> None:
        self.how = how
        self._open: dict[int, Packed] = {}

    def add(self, piece: Piece, part: Packed) -> Packed | None:
        """Take a packed piece; return its sample if that was the last one."""
        sample = self._open.pop(piece.sample, None)
        if sample is None:
            sample = part
        else:
            self._extend(sample, part)
        if piece.last:
            return sample
        self._open[piece.sample] = sample
        return None

    def _extend(self, sample: Packed, part: Packed) -> None:
        if part.facts["n_events"]:
            sample.facts["t_end"] = part.facts["t_end"]
        sample.facts["n_events"] += part.facts["n_events"]
        for what, count in part.mended.items():
            sample.mended[what] = sample.mended.get(what, 0) + count
        for name, more in part.blocks.items():
            block = sample.blocks[name]
            wider = np.result_type(block.dtype, more.dtype)
            one, other = (
                b if np.dtype(b.dtype) == wider else repack(b, wider, self.how.packing(name, wider))
                for b in (block, more)
            )
            packed = [*one.packed, *other.packed]
            sample.blocks[name] = Block(wider.str, block.row_shape, block.rows + more.rows, block.chunk, packed)


def warm_up(sensor: tuple[int, int], *, small: bool = False) -> None:
    """Compile what a build calls, once, before workers start: concurrent first compiles can crash Numba.

    ``small`` adds what packs the frames of many small samples at once.
    """
    made = kernels()
    integrate.warm_up(*sensor)
    planes = np.zeros(0, np.uint8)
    planes.flags.writeable = False
    made.add_times(planes, 2, np.int64(0), np.zeros(0, np.int64))
    made.find_times(planes, 2, 0, np.int64(0), np.zeros(0, np.int64), 0, 0, np.zeros(0, np.int64))
    made.largest_step(np.zeros(1, np.int64), np.int64(0))
    made.subtract_times(np.zeros(1, np.int64), np.int64(0), np.zeros((2, 1), np.uint8))
    sparse.compress(np.zeros(sparse.SMALLEST, np.uint8))
    if small:
        sparse.compress_each(np.zeros((1, sparse.SMALLEST), np.uint8))
    mapped.warm_up()
    spare = np.zeros(8, np.uint8)
    made.pack_bits(np.zeros(0, np.uint8), 1, spare)
    made.unpack_bits(planes, 1, np.zeros(0, np.uint8))
    if max(sensor) > 256:
        made.pack_wide(np.zeros(0, np.uint16), 1, spare)
        made.unpack_wide(planes, 1, np.zeros(0, np.uint16))


@dataclass(frozen=True)
class FrameTask:
    """Samples of an event cache for one worker: their positions there and in the frame cache."""

    source: EventCache
    spec: FrameSpec
    samples: tuple[tuple[int, int], ...]
    codec: str
    integrator: dict[str, Any]


def frames_cache(
    target: Path,
    header: Header,
    source: EventCache,
    spec: FrameSpec,
    indices: Sequence[int],
    *,
    jobs: int | None = None,
    executor: parallel.Kind | None = None,
    say: Say = lambda _: None,
    progress: Progress = lambda _: None,
    publishing: Publishing | None = None,
) -> Path:
    """Integrate the samples ``indices`` of an event cache and write them to a frame cache.

    Built-in integrators run in threads, a user's Python function in processes, unless ``executor`` says otherwise.
    ``publishing`` as of :func:`events_cache`.
    """

    def produce(done: Array) -> Iterator[list[Packed]]:
        progress(int(done.sum()))
        tasks = [*_frame_tasks(source, spec, indices, header.codec, done)]
        if not tasks:
            return
        small = is_small(source, spec)
        warm_up(source.sensor, small=small)
        source.map()
        if integrate.needs_times(spec) and int(source.small("n_events")[indices].sum()) >= MANY_EVENTS:
            source.load_times()
        typical = int(source.small("n_events").mean())
        chosen = executor or (_suited("threads", typical) if spec.plugin is None else "processes")
        if small and chosen == "serial":  # packing many at once holds no GIL, which integrating needs
            parts = parallel.ahead(part for task in tasks for part in integrated(task))
            ready: Iterable[list[Packed]] = map(pack_integrated, parts)
        else:
            ready = parallel.run(pack_frames, tasks, chosen, jobs=jobs)
        for samples in ready:
            yield samples
            progress(len(samples))

    return build(target, header, produce, say, publishing)


def _frame_tasks(
    source: EventCache, spec: FrameSpec, indices: Sequence[int], codec: str, done: Array
) -> Iterable[FrameTask]:
    n_events = source.small("n_events")
    group: list[tuple[int, int]] = []
    size = 0
    identity = integrate.identity(spec)
    for index, i in enumerate(indices):
        if done[index]:
            continue
        group.append((i, index))
        size += int(n_events[i])
        if size >= BATCH_EVENTS or len(group) >= BATCH_SAMPLES:
            yield FrameTask(source, spec, tuple(group), codec, identity)
            group, size = [], 0
    if group:
        yield FrameTask(source, spec, tuple(group), codec, identity)


class Integrated(NamedTuple):
    """Some samples of a task, and the frames of each; ``room`` holds them side by side where they are small."""

    task: FrameTask
    samples: Sequence[tuple[int, int]]
    frames: list[Array]
    room: Array | None


def integrated(task: FrameTask) -> Iterator[Integrated]:
    """Integrate a task's samples: small ones of which many are packed at once, others one by one."""
    to_frames = integrate.integrator(task.spec, *task.source.sensor, task.source.channels)
    if integrate.identity(task.spec) != task.integrator:
        raise PluginError(f"plugin {task.spec.plugin}: its source changed during the build", hint="run it again")
    times, shape = integrate.needs_times(task.spec), (task.spec.T or 0, task.source.channels, *task.source.sensor)
    small = is_small(task.source, task.spec)
    at_once = max(1, AT_ONCE_BYTES // math.prod(shape)) if small else 1
    memory = partial(scratch, "frames", dtype=np.dtype(np.uint8))  # packed before the next ones take its place
    for start in range(0, len(task.samples), at_once):
        some = task.samples[start : start + at_once]
        room = np.empty((len(some), *shape), np.uint8) if small else None  # packed while the next ones' are written
        frames = [
            to_frames(
                task.source.compact(i, times=times, empty=scratch),
                str(task.source.ids[i]),
                memory if room is None else room[k],
            )
            for k, (i, _) in enumerate(some)
        ]
        yield Integrated(task, some, frames, room)


def is_small(source: EventCache, spec: FrameSpec) -> bool:
    """Tell whether frames have one known shape and so few bytes that several samples are best packed at once."""
    known = spec.plugin is None and spec.T is not None
    return known and math.prod((spec.T or 0, source.channels, *source.sensor)) <= SMALL_FRAMES


def pack_integrated(part: Integrated) -> list[Packed]:
    """Pack samples that are integrated."""
    task, varies = part.task, part.task.spec.split_by == "duration"
    small = {name: task.source.small(name) for name in ("n_events", "t_start", "t_end")}
    packed, chunks = [], []
    if part.room is not None:
        chunks = packing_of(task.codec, "frames", part.room.dtype, task.source.sensor).pack_each(part.room)
    for k, ((i, index), frames) in enumerate(zip(part.samples, part.frames, strict=True)):
        facts = {name: int(values[i]) for name, values in small.items()}
        if part.room is not None and frames.dtype == part.room.dtype:  # counts that did not fit lie elsewhere
            block = Block(frames.dtype.str, frames.shape, 1, 1, [chunks[k]])
        else:
            packing = packing_of(task.codec, "frames", frames.dtype, task.source.sensor)
            block = pack_rows(frames if varies else frames[None], 1, packing)
        packed.append(Packed(index, facts, {"frames": block}))
    return packed


def pack_frames(task: FrameTask) -> list[Packed]:
    """Integrate and pack a task's samples."""
    return [sample for part in integrated(task) for sample in pack_integrated(part)]
