"""``make bench-kernels``: each kernel alone, on a million events in memory, one thread. Not part of the test suite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks import lookalike
from dvsprep.cache import _kernels as cache_kernels
from dvsprep.cache import codec as codecs
from dvsprep.events import _kernels as decoders
from dvsprep.events.reading import columns
from dvsprep.integrate import _kernels as counters
from dvsprep.integrate import builtin

N = 1_000_000
T, SIZE = 20, lookalike.SIZE
Timed = Callable[[Callable[[], Any]], Any]


@pytest.fixture(scope="module")
def events() -> tuple[np.ndarray, ...]:
    return lookalike.recording(N, 0)


@pytest.fixture
def timed(benchmark: Any) -> Timed:
    """Run a function under pytest-benchmark, compiled before; say how many events pass a second."""

    def run(work: Callable[[], Any]) -> Any:
        result = work()
        benchmark.pedantic(work, rounds=20, warmup_rounds=1)
        benchmark.extra_info["M events/s"] = round(N / benchmark.stats.stats.median / 1e6)
        return result

    return run


def read_only(content: bytes) -> np.ndarray:
    return np.frombuffer(content, np.uint8)


def test_aedat31_count(timed: Timed, events: tuple[np.ndarray, ...]):
    body = read_only(lookalike.aedat31(*events)[len(lookalike.HEADER) :])
    assert timed(lambda: decoders.aedat31_count(body, body.size))[:2] == (N, decoders.OK)


def test_aedat31_decode(timed: Timed, events: tuple[np.ndarray, ...]):
    body, c = read_only(lookalike.aedat31(*events)[len(lookalike.HEADER) :]), columns(N, (SIZE, SIZE))
    rest = (SIZE, SIZE, False, c["t"], c["x"], c["y"], c["p"])
    assert timed(lambda: decoders.aedat31_decode(body, *rest))[0] == N


def test_aedat2_decode(timed: Timed, events: tuple[np.ndarray, ...]):
    t, x, y, p = events
    words = np.empty((N, 2), ">u4")
    words[:, 0], words[:, 1] = y << 8 | x << 1 | p, t
    raw, c = read_only(words.tobytes()), columns(N, (SIZE, SIZE))
    rest = (SIZE, SIZE, False, c["t"], c["x"], c["y"], c["p"])
    assert timed(lambda: decoders.aedat2_decode(raw, True, *rest))[0] == N


def test_atis_decode(timed: Timed, events: tuple[np.ndarray, ...]):
    t, x, y, p = events
    t = t - t[0]
    raw = np.column_stack([x, y, p << 7 | t >> 16 & 0x7F, t >> 8 & 0xFF, t & 0xFF]).astype(np.uint8)
    raw, c = read_only(raw.tobytes()), columns(N, (SIZE, SIZE))
    rest = (SIZE, SIZE, False, c["t"], c["x"], c["y"], c["p"])
    assert timed(lambda: decoders.atis_decode(raw, *rest))[0] == N


def test_first_backward(timed: Timed, events: tuple[np.ndarray, ...]):
    assert timed(lambda: decoders.first_backward(events[0])) == -1


def test_count(timed: Timed, events: tuple[np.ndarray, ...]):
    x, y, p = (column.astype(np.uint8) for column in events[1:])
    edges, out = builtin.number_edges(N, T), np.zeros((T, 2, SIZE, SIZE), np.uint16)

    used = np.zeros(2, np.int64)
    assert timed(lambda: counters.count(x, y, p, edges, np.iinfo(np.uint16).max, out, used)) == counters.COUNTED
    assert out.sum() == used.sum() == N


def test_sums(timed: Timed):
    frames, held = np.ones((T, 2, SIZE, SIZE), np.uint8), np.zeros(2, np.int64)
    timed(lambda: counters.sums(frames, held))
    assert held.tolist() == [T * SIZE**2] * 2


def test_subtract_times(timed: Timed, events: tuple[np.ndarray, ...]):
    t, planes = events[0], np.zeros((2, N), np.uint8)
    timed(lambda: cache_kernels.subtract_times(t, t[0], planes))
    np.testing.assert_array_equal(planes.T.copy().view("<u2").ravel(), np.diff(t, prepend=t[0]))


def test_add_times(timed: Timed, events: tuple[np.ndarray, ...]):
    t, planes, out = events[0], np.zeros((2, N), np.uint8), np.empty(N, np.int64)
    cache_kernels.subtract_times(t, t[0], planes)
    stored = read_only(planes.tobytes())
    timed(lambda: cache_kernels.add_times(stored, 2, t[0], out))
    np.testing.assert_array_equal(out, t)


@pytest.mark.parametrize("codec", ["packed", "deflate"])
@pytest.mark.parametrize("way", ["pack", "unpack"])
def test_coordinates(timed: Timed, events: tuple[np.ndarray, ...], codec: str, way: str):
    x = events[1].astype(np.uint8)
    packing, out = codecs.packing(codec, x.dtype, SIZE), np.empty_like(x)
    chunk = packing.pack(x, N)
    if way == "pack":
        assert timed(lambda: packing.pack(x, N)) == chunk
    else:
        timed(lambda: packing.unpack(chunk, out, N))
        np.testing.assert_array_equal(out, x)
