"""The two builds: recordings into an event cache, an event cache into a frame cache."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from dvsprep import events as ev
from dvsprep import integrate, parallel
from dvsprep.cache import codec as codecs
from dvsprep.cache.layout import Header, Packed, pack_rows
from dvsprep.cache.read import EventCache
from dvsprep.cache.write import build, write_cache
from dvsprep.errors import IntegrityError, PluginError
from dvsprep.types import Array, Events, FrameSpec

BATCH_EVENTS = 1 << 20  # about what one task decodes or integrates
MIN_CHUNK, MAX_CHUNK = 1 << 10, 1 << 16  # events

Progress = Callable[[int], None]


@dataclass(frozen=True)
class RecordingTask:
    """Recordings for one worker, with the position of each sample in the cache."""

    recordings: tuple[tuple[ev.Recording, tuple[int, ...]], ...]
    sensor: tuple[int, int]
    policy: ev.Policy
    chunk: int
    codec: str


def events_cache(
    target: Path,
    header: Header,
    recordings: Sequence[ev.Recording],
    policy: ev.Policy,
    *,
    jobs: int | None = None,
    executor: parallel.Kind = "threads",
    say: Callable[[str], None] = lambda _: None,
    progress: Progress = lambda _: None,
) -> Path:
    """Decode recordings, cut their samples and write them to an event cache.

    Parameters
    ----------
    progress : callable
        Told the number of samples done, each time some are.
    """
    produce = partial(_packed_events, header, recordings, policy, jobs, executor, say, progress)
    return build(target, header, produce, say)


def events_file(
    target: Path,
    header: Header,
    recordings: Sequence[ev.Recording],
    policy: ev.Policy,
    *,
    jobs: int | None = None,
    say: Callable[[str], None] = lambda _: None,
    replace: bool = False,
) -> Path:
    """Make an event cache of its own, in one go: no lock, nothing to go on from; ``replace`` as of write_cache."""
    batches = _packed_events(header, recordings, policy, jobs, "threads", say, lambda _: None, set())
    return write_cache(target, header, chain.from_iterable(batches), replace=replace)


def _packed_events(
    header: Header,
    recordings: Sequence[ev.Recording],
    policy: ev.Policy,
    jobs: int | None,
    executor: parallel.Kind,
    say: Callable[[str], None],
    progress: Progress,
    done: set[int],
) -> Iterator[list[Packed]]:
    """Yield the samples of a header that are not done, packed."""
    chunk = chunk_size(recordings, len(header.ids))
    if len(set(header.ids)) < len(header.ids):
        twice = next(id for id, n in Counter(header.ids).items() if n > 1)
        raise IntegrityError(f"{header.dataset} {header.split}: two recordings are the sample {twice}")
    progress(len(done))
    tasks = [*_recording_tasks(recordings, header, policy, chunk, done)]
    if not tasks:
        return
    ev.warm_up(recording.format for recording in recordings)
    for samples, notes in parallel.run(pack_recordings, tasks, executor, jobs=jobs):
        for recording, counts in notes.items():
            for what, count in counts.items():
                say(f"{recording}: {what.replace('_', ' ')}: {count}")
        yield samples
        progress(len(samples))


def chunk_size(recordings: Sequence[ev.Recording], samples: int) -> int:
    """Return the events a chunk: about one sample, a power of two, told from the sizes of the files alone."""
    total = sum(r.path.stat().st_size for r in recordings)
    typical = max(1, total // (8 * max(1, samples)))
    return int(min(MAX_CHUNK, max(MIN_CHUNK, 1 << typical.bit_length())))


def _recording_tasks(
    recordings: Sequence[ev.Recording], header: Header, policy: ev.Policy, chunk: int, done: set[int]
) -> Iterator[RecordingTask]:
    """Group recordings so that a task is neither one tiny file nor more than one large one."""
    position = {id: i for i, id in enumerate(header.ids)}
    group: list[tuple[ev.Recording, tuple[int, ...]]] = []
    size = 0
    for recording in recordings:
        indices = tuple(position[sample.id] for sample in recording.samples)
        if done.issuperset(indices):
            continue
        group.append((recording, indices))
        size += recording.path.stat().st_size
        if size >= 8 * BATCH_EVENTS or len(group) >= 256:
            yield RecordingTask(tuple(group), header.sensor, policy, chunk, header.codec)
            group, size = [], 0
    if group:
        yield RecordingTask(tuple(group), header.sensor, policy, chunk, header.codec)


def pack_recordings(task: RecordingTask) -> tuple[list[Packed], dict[str, dict[str, int]]]:
    """Decode, cut and pack a task's recordings; return what had to be mended by recording, too."""
    codec = codecs.get(task.codec)
    packed: list[Packed] = []
    notes: dict[str, dict[str, int]] = {}
    for recording, indices in task.recordings:
        mended: dict[str, int] = {}
        first = len(packed)
        samples = ev.samples_of(recording, task.sensor, task.policy, mended)
        for index, (_, events) in zip(indices, samples, strict=True):
            packed.append(pack_events(index, events, task.chunk, codec))
        if mended:
            notes[str(recording.path)] = packed[first].mended = mended
    return packed, notes


def pack_events(index: int, events: Events, chunk: int, codec: codecs.Codec) -> Packed:
    """Pack one sample's events; times are kept as differences, in 16 bits where none is longer."""
    t = events["t"]
    n = len(t)
    dt = np.zeros(n, np.int64)
    np.subtract(t[1:], t[:-1], out=dt[1:])
    columns: dict[str, Array] = {"dt": dt.astype(_smallest(int(dt.max()) if n else 0))}
    columns |= {"x": events["x"], "y": events["y"], "p": events["p"]}
    facts = {"n_events": n, "t_start": int(t[0]) if n else 0, "t_end": int(t[-1]) if n else 0}
    return Packed(index, facts, {name: pack_rows(column, chunk, codec) for name, column in columns.items()})


def _smallest(value: int) -> type[np.unsignedinteger[Any]]:
    return np.uint16 if value < 1 << 16 else np.uint32 if value < 1 << 32 else np.uint64


def warm_up() -> None:
    """Compile what a frame build calls, once, before workers start: concurrent first compiles can crash Numba."""
    from dvsprep.cache import _kernels

    integrate.warm_up()
    planes = np.zeros(0, np.uint8)
    planes.flags.writeable = False
    _kernels.add_times(planes, 2, np.int64(0), np.zeros(0, np.int64))


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
    say: Callable[[str], None] = lambda _: None,
    progress: Progress = lambda _: None,
) -> Path:
    """Integrate the samples ``indices`` of an event cache and write them to a frame cache.

    Built-in integrators run in threads, a user's Python function in processes, unless ``executor`` says otherwise.
    """

    def produce(done: set[int]) -> Iterator[list[Packed]]:
        progress(len(done))
        tasks = [*_frame_tasks(source, spec, indices, header.codec, done)]
        if not tasks:
            return
        warm_up()
        chosen = executor or ("threads" if spec.plugin is None else "processes")
        for samples in parallel.run(pack_frames, tasks, chosen, jobs=jobs):
            yield samples
            progress(len(samples))

    return build(target, header, produce, say)


def _frame_tasks(
    source: EventCache, spec: FrameSpec, indices: Sequence[int], codec: str, done: set[int]
) -> Iterable[FrameTask]:
    n_events = source.small("n_events")
    group: list[tuple[int, int]] = []
    size = 0
    identity = integrate.identity(spec)
    for index, i in enumerate(indices):
        if index in done:
            continue
        group.append((i, index))
        size += int(n_events[i])
        if size >= BATCH_EVENTS or len(group) >= 256:
            yield FrameTask(source, spec, tuple(group), codec, identity)
            group, size = [], 0
    if group:
        yield FrameTask(source, spec, tuple(group), codec, identity)


def pack_frames(task: FrameTask) -> list[Packed]:
    """Integrate and pack a task's samples."""
    codec = codecs.get(task.codec)
    to_frames = integrate.integrator(task.spec, *task.source.sensor, task.source.channels)
    if integrate.identity(task.spec) != task.integrator:
        raise PluginError(f"plugin {task.spec.plugin}: its source changed during the build", hint="run it again")
    varies, times = task.spec.split_by == "duration", integrate.needs_times(task.spec)
    packed = []
    for i, index in task.samples:
        frames = to_frames(task.source.compact(i, times=times), str(task.source.ids[i]))
        facts = {name: int(task.source.small(name)[i]) for name in ("n_events", "t_start", "t_end")}
        block = pack_rows(frames if varies else frames[None], 1, codec)
        packed.append(Packed(index, facts, {"frames": block}))
    return packed
