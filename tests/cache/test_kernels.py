"""The kernels between columns and stored bytes, against their slow twins."""

from __future__ import annotations

import naive
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dvsprep import jit
from dvsprep.cache import _kernels


@settings(deadline=None, max_examples=60)
@given(
    size=st.sampled_from([2, 4, 8]),
    steps=st.lists(st.integers(0, 2**16 - 1), max_size=40),
    padding=st.integers(0, 5),
    start=st.integers(0, 2**40),
)
def test_times_are_the_running_sum_of_shuffled_differences(size, steps, padding, start):
    chunk = np.zeros(len(steps) + padding, f"<u{size}")
    chunk[: len(steps)] = steps
    planes = chunk.view(np.uint8).reshape(-1, size).T.copy().reshape(-1)
    planes.flags.writeable = False
    out = np.zeros(len(steps), np.int64)
    last = _kernels.add_times(planes, size, np.int64(start), out)
    assert out.tolist() == naive.times(planes.tobytes(), size, start, len(steps))
    assert last == (out[-1] if steps else start)


@settings(deadline=None, max_examples=100)
@given(
    size=st.sampled_from([2, 4, 8]),
    n=st.integers(0, 3 * _kernels.FEW),
    padding=st.integers(0, 5),
    most=st.sampled_from([0, 1, 255, 2**16 - 1]),
    wanted=st.lists(st.floats(-0.1, 1.1), max_size=9),
    seed=st.integers(0, 99),
)
def test_times_are_found_as_in_a_list_of_them(size, n, padding, most, wanted, seed):
    chunk = np.zeros(n + padding, f"<u{size}")
    chunk[:n] = np.random.default_rng(seed).integers(0, most, n, endpoint=True)
    planes = chunk.view(np.uint8).reshape(-1, size).T.copy().reshape(-1)
    planes.flags.writeable = False
    times = naive.times(planes.tobytes(), size, 1000, n)
    last = times[-1] if n else 1000
    targets = np.array(sorted(1000 + int(part * (last - 1000)) for part in wanted), np.int64)
    positions = np.full(len(targets) + 1, -7, np.int64)
    k, now = _kernels.find_times(planes, size, n, np.int64(1000), targets, 0, 50, positions)
    reached = [50 + naive.first_from(times, target) for target in targets if n and target <= last]
    assert positions.tolist() == reached + [-7] * (len(positions) - len(reached))
    assert (k, now) == (len(reached), last)


@settings(deadline=None, max_examples=60)
@given(
    steps=st.lists(st.integers(0, 2**40), min_size=1, max_size=40),
    padding=st.integers(0, 5),
    start=st.integers(0, 2**40),
)
def test_differences_come_back_as_times(steps, padding, start):
    t = start + np.cumsum(steps)
    assert _kernels.largest_step(t, np.int64(start)) == max(steps)
    planes = np.zeros((8, len(steps) + padding), np.uint8)
    _kernels.subtract_times(t, np.int64(start), planes)
    assert naive.times(planes.tobytes(), 8, start, len(steps)) == t.tolist()


@settings(deadline=None, max_examples=100)
@given(width=st.integers(1, 16), n=st.integers(0, 70), seed=st.integers(0, 99), left_out=st.integers(0, 7))
def test_bits_are_packed_one_behind_the_other_and_come_back(width, n, seed, left_out):
    dtype = np.uint8 if width <= 8 else np.uint16
    values = np.random.default_rng(seed).integers(0, 1 << width, n, dtype)
    pack, unpack = (
        (_kernels.pack_bits, _kernels.unpack_bits) if width <= 8 else (_kernels.pack_wide, _kernels.unpack_wide)
    )
    size = -(-n * width // 8)
    packed = np.zeros(size + 8, np.uint8)
    pack(values, width, packed)
    assert packed[:size].tobytes() == naive.bits(values.tolist(), width)
    out = np.zeros(max(0, len(values) - left_out), dtype)
    unpack(packed[:size].copy(), width, out)
    np.testing.assert_array_equal(out, values[: len(out)])


@settings(deadline=None, max_examples=200)
@given(bits=st.integers(1, 8), values=st.lists(st.integers(0, 255), min_size=8, max_size=8), above=st.integers(0, 255))
def test_eight_values_are_moved_in_steps_as_one_by_one(bits, values, above):
    moves = [(_kernels.gather_in_steps, _kernels.spread_in_steps)]
    if jit.moves_bits():  # elsewhere nothing calls the other two
        moves.append((_kernels.gather_at_once, _kernels.spread_at_once))
    own = [value % (1 << bits) for value in values]
    apart = sum(value << (8 * k) for k, value in enumerate(own))
    together = sum(value << (bits * k) for k, value in enumerate(own))
    behind = above << (8 * bits) if bits < 8 else 0
    for gather, spread in moves:
        assert gather(np.uint64(apart), np.uint64(bits)) == together
        assert spread(np.uint64(together | behind), np.uint64(bits)) == apart


def test_bits_are_moved_at_once_only_where_that_is_known_to_be_fast(monkeypatch):
    def on(cpu, **features):
        monkeypatch.setattr(jit.binding, "get_host_cpu_name", lambda: cpu)
        monkeypatch.setattr(jit.binding, "get_host_cpu_features", lambda: features)
        return jit.moves_bits()

    monkeypatch.setattr(jit.settings, "CPU_NAME", None)
    monkeypatch.setattr(jit.settings, "CPU_FEATURES", None)
    assert on("znver4", bmi2=True)
    assert on("skylake", bmi2=True)
    assert not on("znver2", bmi2=True)
    assert not on("nehalem", bmi2=False)
    assert not on("apple-m1")
    monkeypatch.setattr(jit.settings, "CPU_NAME", "generic")
    assert not on("znver4", bmi2=True)
