"""Building: the same bytes however it is done, resumed where it stopped, right without locks, modest in memory."""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import formats
import making
import numpy as np
import pytest

import dvsprep.events as ev
from dvsprep import cache
from dvsprep.cache import build, cutting, write
from dvsprep.cache.codec import Packing
from dvsprep.cache.packing import Piece
from dvsprep.cache.write import write_cache
from dvsprep.errors import FormatError
from dvsprep.events.labels import Sample
from dvsprep.pipeline import Job, Options
from dvsprep.types import FrameSpec

SPEC = FrameSpec("time", T=4)


def build_all(root: Path, **options: Any) -> dict[str, str]:
    """Build the look-alike below a root; return the hash of each cache."""
    Job("dvs128", root, SPEC, Options(verify=False, **options)).run()
    return making.caches(root)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return making.archive(tmp_path / "archive", events_a_row=60)


# -- the same bytes --


def test_two_builds_are_the_same_bytes_whatever_the_number_of_workers(tmp_path: Path, archive: Path) -> None:
    first = build_all(making.adopt(tmp_path / "first", archive), jobs=2)
    assert len(first) == 4
    assert build_all(making.adopt(tmp_path / "second", archive), jobs=2) == first
    assert build_all(making.adopt(tmp_path / "one worker", archive), jobs=1) == first


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_threads_and_processes_make_the_bytes_that_one_thread_makes(
    small_events: Path, tmp_path: Path, executor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "BATCH_EVENTS", 500)  # so that there is more than one task
    source = cache.EventCache(small_events)
    serial = making.frames_cache(tmp_path / "serial.h5", source, SPEC, executor="serial")
    other = making.frames_cache(tmp_path / "other.h5", source, SPEC, executor=executor, jobs=2)
    assert other.path.read_bytes() == serial.path.read_bytes()


@pytest.mark.parametrize("split_by", ["number", "time"])
@pytest.mark.parametrize("executor", ["serial", "threads"])
def test_small_samples_packed_at_once_give_the_bytes_of_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: str, split_by: Any
) -> None:
    """And so does one whose counts need more than 8 bits, and one without events."""
    how, packed = build.PackHow((34, 34), 1024, "packed"), []
    for i, n in enumerate((40, 700, 2000, 0, 5, 900, 3000)):
        e = formats.events(n, 34, 34, seed=i)
        columns = {"t": e["t"].astype(np.int64)} | {k: e[k].astype(np.uint8) for k in "xyp"}
        if n == 2000:
            columns |= {k: np.ones(n, np.uint8) for k in "xyp"}
        packed.append(build.pack_events(Piece(i, columns), how))  # type: ignore[arg-type]
    source = cache.EventCache(write_cache(tmp_path / "e.h5", making.header(7, sensor=(34, 34)), packed))
    spec = FrameSpec(split_by, T=5)
    packed_at_once: list[int] = []
    real = Packing.pack_each
    monkeypatch.setattr(Packing, "pack_each", lambda *how: packed_at_once.append(len(how[1])) or real(*how))
    monkeypatch.setattr(build, "AT_ONCE_BYTES", 4 * 5 * 2 * 34 * 34)
    at_once = making.frames_cache(tmp_path / "at once.h5", source, spec, executor=executor, jobs=2)
    assert packed_at_once == [4, 3]
    monkeypatch.setattr(build, "SMALL_FRAMES", 0)
    alone = making.frames_cache(tmp_path / "alone.h5", source, spec)
    assert packed_at_once == [4, 3]
    assert at_once.path.read_bytes() == alone.path.read_bytes()


# -- many recordings, few tasks --


def tiny_recordings(folder: Path, n: int) -> list[ev.Recording]:
    folder.mkdir()
    recordings = []
    for i in range(n):
        path = folder / f"{i:05d}.bin"
        path.write_bytes(formats.atis(formats.events(3 + i % 5, 34, 34, seed=i)))
        recordings.append(ev.Recording(path, "atis", "train", (Sample(path.stem, i % 10),)))
    return recordings


def tiny_header(n: int) -> cache.Header:
    ids = [f"{i:05d}" for i in range(n)]
    classes = tuple("0123456789")
    return making.header(n, sensor=(34, 34), ids=ids, labels=[i % 10 for i in range(n)], classes=classes)


def test_hundreds_of_tiny_recordings_share_few_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As N-MNIST's 70,000 files must: a task a file would cost more than the file."""
    n, decoded, packed = 600, [], []
    real_decode, real_pack = cutting.decode, build.pack_pieces

    def spy_decode(task: cutting.DecodeTask) -> Any:
        decoded.append(len(task.recordings))
        return real_decode(task)

    def spy_pack(task: Any) -> Any:
        packed.append(len(task[0]))
        return real_pack(task)

    monkeypatch.setattr(cutting, "decode", spy_decode)
    monkeypatch.setattr(build, "pack_pieces", spy_pack)
    progress: list[int] = []
    recordings = tiny_recordings(tmp_path / "bins", n)
    path = cache.events_cache(tmp_path / "e.h5", tiny_header(n), recordings, ev.Policy(), progress=progress.append)
    assert sorted(decoded, reverse=True) == [256, 256, 88]
    assert sorted(packed, reverse=True) == [256, 256, 88]
    assert sum(progress) == n
    source = cache.EventCache(path)
    for i in range(n):
        for k, expected in formats.events(3 + i % 5, 34, 34, seed=i).items():
            np.testing.assert_array_equal(source[i][0][k], expected)


def test_small_recordings_are_read_by_another_thread_and_what_is_wrong_with_them_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n, readers = 600, set()
    recordings = tiny_recordings(tmp_path / "bins", n)
    real = ev.bytes_of

    def spy(recording: ev.Recording) -> Any:
        readers.add(threading.current_thread().name.split("_")[0])
        return real(recording)

    monkeypatch.setattr(ev, "bytes_of", spy)
    cache.events_cache(tmp_path / "whole.h5", tiny_header(n), recordings, ev.Policy())
    assert readers == {"dvsprep-ahead"}
    content = recordings[300].path.read_bytes()
    recordings[300].path.unlink()
    recordings[300].path.mkdir()
    with pytest.raises(FormatError, match=rf"{re.escape(str(recordings[300].path))}: the recording is gone"):
        cache.events_cache(tmp_path / "e.h5", tiny_header(n), recordings, ev.Policy())
    recordings[300].path.rmdir()
    recordings[300].path.write_bytes(content)
    cache.events_cache(tmp_path / "e.h5", tiny_header(n), recordings, ev.Policy())
    assert (tmp_path / "e.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


# -- resuming --


def test_a_resumed_build_computes_only_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n, packed = 600, []
    recordings, head = tiny_recordings(tmp_path / "bins", n), tiny_header(n)
    whole = cache.events_cache(tmp_path / "whole.h5", head, recordings, ev.Policy(), jobs=1).read_bytes()
    real, target = cutting.pack_events, tmp_path / "e.h5"

    def pack(piece: cutting.Piece, how: build.PackHow) -> Any:
        packed.append(piece.sample)
        if len(packed) == 300:
            raise RuntimeError("stopped in the second task")
        return real(piece, how)

    monkeypatch.setattr(cutting, "pack_events", pack)
    with pytest.raises(RuntimeError, match="second task"):
        cache.events_cache(target, head, recordings, ev.Policy(), jobs=1)
    assert not target.exists()
    packed[:] = [-1] * 1000
    told: list[str] = []
    progress: list[int] = []
    cache.events_cache(target, head, recordings, ev.Policy(), jobs=1, say=told.append, progress=progress.append)
    assert packed[1000:] == [*range(256, n)]
    assert told == ["going on with 256 of 600 samples of an unfinished build"]
    assert progress[0] == 256
    assert sum(progress) == n
    assert target.read_bytes() == whole
    assert sorted(p.name for p in tmp_path.glob(".*") if not p.name.endswith(".lock")) == []


def test_a_resumed_frame_build_integrates_only_what_is_missing(
    small_events: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = tmp_path / "calls"
    body = (
        f"n = len(events['t'])\n    with open({str(calls)!r}, 'a') as file:\n        print(n, file=file)\n"
        f"    assert n != 950 or __import__('os').path.exists({str(calls) + '.ok'!r})\n"
        "    return np.full((1, 1, H, W), n, np.int32)"
    )
    spec = FrameSpec("plugin", plugin=making.plugin(tmp_path, body))
    source = cache.EventCache(small_events)
    monkeypatch.setattr(build, "BATCH_EVENTS", 1)  # a sample a task

    def attempt() -> cache.FrameCache:
        return making.frames_cache(tmp_path / "f.h5", source, spec)

    with pytest.raises(Exception, match="AssertionError"):
        attempt()
    first = calls.read_text().split()
    assert first == ["200", "350", "500", "650", "800", "950"]
    calls.with_name("calls.ok").touch()
    frames = attempt()
    assert calls.read_text().split()[len(first) :] == ["950", "1100", "1250", "1400", "1550"]
    assert [int(f.max()) for f, _ in frames] == source.small("n_events").tolist()


# -- locks --


def no_locks(error: BaseException) -> Callable[..., None]:
    def flock(*_: object, **__: object) -> None:
        raise error

    return flock


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_a_file_system_without_locks_gives_the_same_cache(
    tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    expected = build_all(making.adopt(tmp_path / "locks", archive))
    root = making.adopt(tmp_path / "none", archive)
    with monkeypatch.context() as patch:
        patch.setattr("fcntl.flock", no_locks(OSError(code, os.strerror(code))))
        assert build_all(root) == expected
    assert making.leftovers(root) == []


@pytest.mark.filterwarnings("ignore:.*flock.*")  # filelock says that it falls back to a lock file
@pytest.mark.parametrize("error", [NotImplementedError("no flock"), OSError(errno.ENOSYS, "no flock")])
def test_a_platform_without_flock_gives_the_same_cache(
    tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    expected = build_all(making.adopt(tmp_path / "locks", archive))
    root = making.adopt(tmp_path / "none", archive)
    if isinstance(error, NotImplementedError):
        monkeypatch.setattr(filelock.FileLock, "acquire", no_locks(error))
    else:
        monkeypatch.setattr("fcntl.flock", no_locks(error))
    assert build_all(root) == expected
    assert making.leftovers(root) == []


def test_two_builds_without_locks_do_not_touch_each_others_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second build runs from start to end while the first is between two samples."""
    monkeypatch.setattr("fcntl.flock", no_locks(OSError(errno.ENOLCK, "no locks")))
    target, head = tmp_path / "e.h5", making.header(3)
    samples = [making.pack_events(i, making.random_events(50, i)) for i in range(3)]

    def interrupted(done: np.ndarray) -> Any:
        yield samples[:1]
        write.build(target, head, lambda _: [samples])
        before.append(target.read_bytes())
        yield samples[1:]

    before: list[bytes] = []
    write.build(target, head, interrupted)
    assert target.read_bytes() == before[0]
    assert [p.name for p in tmp_path.iterdir() if not p.name.endswith(".lock")] == ["e.h5"]


def test_a_folder_that_may_not_be_written_is_an_error_not_a_lockless_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fcntl.flock", no_locks(PermissionError(errno.EACCES, "no")))
    monkeypatch.setattr(filelock.FileLock, "acquire", no_locks(PermissionError(errno.EACCES, "no")))
    with pytest.raises(PermissionError):
        making.events_cache(tmp_path / "e.h5", [making.at(1)])
    assert not (tmp_path / "e.h5").exists()


# -- memory --

PEAK = """
import json, sys
from benchmarks.child import peak
from dvsprep.pipeline import Job, Options
from dvsprep.types import FrameSpec
Job("dvs128", sys.argv[1], FrameSpec("number", T=20), Options(verify=False, jobs=2)).run()
print(json.dumps(peak()))
"""


def many_events(n: int, seed: int) -> dict[str, np.ndarray]:
    return formats.events(n, 128, 128, seed=seed, start=1_000_000, step=8)


def peak_of(folder: Path, recordings: int, events: int) -> float:
    """Build recordings of 12 rows; return the peak resident memory in MB."""
    names = [f"user{i:02d}_x" for i in range(recordings)]
    tree = formats.dvs_gesture(folder / "tree", {"train": names, "test": ["user99_x"]}, events_a_row=5)
    for i, name in enumerate(names):
        e = many_events(events, i)
        (tree / f"{name}.aedat").write_bytes(formats.aedat31(e, packet=100_000))
        edges = np.linspace(e["t"][0], e["t"][-1], 13).astype(int)
        rows = [f"{k % 11 + 1},{a},{b}" for k, (a, b) in enumerate(itertools.pairwise(edges))]
        (tree / f"{name}_labels.csv").write_text("\n".join(["class,startTime_usec,endTime_usec", *rows]) + "\n")
    packed = folder / "DvsGesture.tar.gz"
    # Each recording beside its labels: one that comes long before them waits, up to `passing.HELD` bytes of them.
    command = ["tar", "-C", tree.parent, "--sort=name", "-I", "gzip -1", "-cf", packed, tree.name]
    subprocess.run(command, check=True)
    root = making.adopt(folder / "root", packed)
    project = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", PEAK, root], cwd=project, capture_output=True, text=True, check=True)
    return float(json.loads(run.stdout)) / 2**20


@pytest.mark.slow
def test_the_peak_does_not_grow_with_the_number_of_recordings(tmp_path: Path) -> None:
    events = 1_500_000
    few, many = (peak_of(tmp_path / str(n), n, events) for n in (8, 24))  # eight fill every worker
    recording = events * 8 / 2**20  # MB: AEDAT 3.1 has 8 bytes an event
    assert many < few * 1.15 + 10, (few, many)
    assert many < 300 + 8 * recording, many  # three are decoded, to twice their bytes, and two come out of the archive
