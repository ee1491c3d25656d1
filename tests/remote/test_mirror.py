"""The mirror is shared, bounded, and survives whatever is done to it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from dvsprep import wire
from dvsprep.cache import codec
from dvsprep.cache.codec import Chunk
from dvsprep.remote import mirror as mirrors
from dvsprep.remote.mirror import Mirror


def sample(i: int, size: int = 5000) -> wire.Sample:
    data = np.random.default_rng(i).bytes(size)
    return wire.Sample(i, 1, codec.crc32(data, 0), 0, [Chunk(0, data)])


def data(found: dict[int, wire.Sample]) -> dict[int, bytes]:
    return {i: bytes(s.chunks[0].data) for i, s in found.items()}


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    return Mirror(tmp_path / "mirror" / "samples.sqlite", 1 << 30)


def test_what_was_put_is_got_by_version_and_number(mirror: Mirror) -> None:
    mirror.put("a", [sample(i) for i in range(1200)])
    mirror.put("b", [sample(7, 10)])
    mirror.flush()
    assert data(mirror.get("a", range(0, 1300, 3))) == data({i: sample(i) for i in range(0, 1200, 3)})
    assert data(mirror.get("b", [7, 8])) == data({7: sample(7, 10)})
    assert mirror.get("c", [7]) == {}


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    cap = 1_000_000
    mirror = Mirror(tmp_path / "m.sqlite", cap)
    for i in range(100):
        mirror.put("a", [sample(i)])
        mirror.flush()
    time.sleep(0.01)
    own = mirror._process()
    own._later("", [], [i + 1 for i in range(20)])  # as reading them does, a few hundred at once
    mirror.flush()
    for i in range(100, 220):
        mirror.put("a", [sample(i)])
        mirror.flush()
    kept = set(mirror.get("a", range(220)))
    assert 219 in kept
    assert len(kept) * 5000 <= cap
    assert len(kept & set(range(20))) > len(kept & set(range(20, 40)))
    assert mirror.path.stat().st_size < 1.3 * cap


def write_for_ever(path: Path, begun) -> None:
    mirror = Mirror(path, 1 << 30)
    for i in range(1_000_000):
        mirror.put("a", [sample(10 * i + k, 50_000) for k in range(10)])
        mirror.flush()
        if i == 3:
            begun.set()


@pytest.mark.parametrize("delay", [0.0, 0.011, 0.023, 0.037])
def test_a_killed_writer_leaves_whole_samples(tmp_path: Path, delay: float) -> None:
    context = multiprocessing.get_context("spawn")
    begun = context.Event()
    child = context.Process(target=write_for_ever, args=(tmp_path / "m.sqlite", begun))
    child.start()
    assert begun.wait(60)
    time.sleep(delay)
    os.kill(child.pid, signal.SIGKILL)
    child.join(30)
    mirror = Mirror(tmp_path / "m.sqlite", 1 << 30)
    found = mirror.get("a", range(20_000))
    assert len(found) >= 40
    assert data(found) == data({i: sample(i, 50_000) for i in found})
    mirror.put("a", [sample(1_000_000)])
    mirror.flush()
    assert 1_000_000 in mirror.get("a", [1_000_000])


def put_some(path: Path, start: int) -> None:
    mirror = Mirror(path, 1 << 30)
    for i in range(start, start + 100, 10):
        mirror.put("a", [sample(k) for k in range(i, i + 10)])
    mirror.flush()


def test_several_processes_share_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=put_some, args=(tmp_path / "m.sqlite", 50 * k)) for k in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
        assert child.exitcode == 0
    found = Mirror(tmp_path / "m.sqlite", 1 << 30).get("a", range(300))
    assert data(found) == data({i: sample(i) for i in range(200)})


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this platform cannot fork")
def test_children_forked_while_it_writes_can_use_it(mirror: Mirror) -> None:
    stop = threading.Event()

    def keep_writing() -> None:
        i = 0
        while not stop.is_set():
            mirror.put("a", [sample(i % 500, 50_000)])
            mirror.get("a", [i % 500])
            i += 1

    thread = threading.Thread(target=keep_writing)
    thread.start()
    context = multiprocessing.get_context("fork")
    try:
        for round in range(10):
            child = context.Process(target=put_some, args=(mirror.path, 1000 * (round + 1)))
            child.start()
            child.join(60)
            assert child.exitcode == 0
    finally:
        stop.set()
        thread.join(30)
    mirror.flush()
    assert len(mirror.get("a", [1000, 5050, 10_099])) == 3


def test_a_damaged_sample_is_not_given(mirror: Mirror) -> None:
    mirror.put("a", [sample(1), sample(2)])
    mirror.flush()
    base = sqlite3.connect(mirror.path)
    (message,) = base.execute("select message from samples where i = 1").fetchone()
    broken = bytearray(message)
    broken[-1] ^= 1
    base.execute("update samples set message = ? where i = 1", (bytes(broken),))
    base.commit()
    base.close()
    assert set(mirror.get("a", [1, 2])) == {2}
    mirror.put("a", [sample(1)])  # fetched again, it takes the damaged one's place
    mirror.flush()
    assert set(mirror.get("a", [1, 2])) == {1, 2}


def test_what_is_no_database_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "m.sqlite"
    path.write_bytes(b"this is no database" * 500)
    mirror = Mirror(path, 1 << 30)
    mirror.put("a", [sample(1)])
    mirror.flush()
    assert set(mirror.get("a", [1])) == {1}
    assert "begun anew" in caplog.text
    assert path.with_name("m.sqlite.bad").is_file()


def test_a_full_disk_is_told_once_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # What SQLite says then is what it says of a full disk.
    monkeypatch.setattr(mirrors, "PRAGMAS", (*mirrors.PRAGMAS, "max_page_count=60"))
    mirror = Mirror(tmp_path / "m.sqlite", 1 << 30)
    for i in range(100):
        mirror.put("a", [sample(i)])
        mirror.flush()
    assert caplog.text.count("disk is full") == 1
    found = mirror.get("a", range(100))
    assert 0 < len(found) < 100
    assert data(found) == data({i: sample(i) for i in found})


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    mirror = Mirror(tmp_path / "file" / "m.sqlite", 1 << 30)
    mirror.put("a", [sample(1)])
    assert mirror.get("a", [1]) == {}
    assert "no longer kept" in caplog.text
