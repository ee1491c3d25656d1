"""The built-in integrators: values of the published descriptions, the naive twins, count types, conservation."""

import subprocess
import sys

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvsprep.errors import ConservationError
from dvsprep.integrate import _kernels, builtin, integrate, integrator, warm_up
from dvsprep.types import FrameSpec

H, W = 3, 4


def some_events(t, seed: int = 0) -> dict[str, np.ndarray]:
    rng, n = np.random.default_rng(seed), len(t)
    return {
        "t": np.array(t, np.int64),
        "x": rng.integers(0, W, n),
        "y": rng.integers(0, H, n),
        "p": rng.integers(0, 2, n),
    }


def counts(t, spec: FrameSpec) -> list[int]:
    """Return the events in each frame."""
    return integrate(some_events(t), spec, H, W).sum(axis=(1, 2, 3)).tolist()


@pytest.mark.parametrize(
    ("n", "T", "expected"),
    [
        (10, 4, [2, 2, 2, 4]),  # V5
        (8, 4, [2, 2, 2, 2]),
        (3, 4, [0, 0, 0, 3]),
        (0, 4, [0, 0, 0, 0]),
        (1, 1, [1]),
    ],
)
def test_by_number_the_last_frame_takes_the_rest(n, T, expected):
    assert counts(range(n), FrameSpec("number", T=T)) == expected


def test_by_number_does_not_look_at_time():
    assert counts([7] * 10, FrameSpec("number", T=4)) == [2, 2, 2, 4]


@pytest.mark.parametrize(
    ("t", "T", "expected"),
    [
        (range(103), 4, [25, 25, 25, 28]),  # V6
        (range(8), 4, [1, 1, 1, 5]),
        ([0, 10, 20, 30, 40], 4, [1, 1, 1, 2]),
        # SpikingJelly raises IndexError from here on; ours: an empty window is a frame of zeros.
        ([0, 10, 20, 40], 4, [1, 1, 1, 1]),
        ([0, 1, 100], 4, [2, 0, 0, 1]),
        ([5, 5, 5], 4, [0, 0, 0, 3]),
        ([5, 6, 7], 4, [0, 0, 0, 3]),
        ([5], 4, [0, 0, 0, 1]),
        ([], 4, [0, 0, 0, 0]),
    ],
)
def test_by_time_windows_are_left_closed_and_the_last_takes_the_rest(t, T, expected):
    assert counts(t, FrameSpec("time", T=T)) == expected


@pytest.mark.parametrize(
    ("t", "keep", "drop"),
    [
        ([0, 10, 20], [1, 2], [1, 1]),  # V7; the event on the end is in no whole interval [a, b)
        ([0, 35], [1, 0, 0, 1], [1, 0, 0]),  # V8
        ([0, 10, 21], [1, 1, 1], [1, 1]),
        ([0, 10], [2], [1]),
        ([0, 9], [2], []),
        ([0, 3, 5], [3], []),
        # SpikingJelly raises from here on.
        ([5], [1], []),
        ([5, 5, 5], [3], []),
        ([], [0], []),
    ],
)
@pytest.mark.parametrize("start", [0, 2**31 - 15, 2**40])
def test_by_duration_of_10(t, keep, drop, start):
    t = [start + now for now in t]
    assert counts(t, FrameSpec("duration", duration=10)) == keep
    assert counts(t, FrameSpec("duration", duration=10, tail="drop")) == drop


def test_no_whole_interval_makes_no_frame_but_a_frame_shape():
    assert integrate(some_events([0, 9]), FrameSpec("duration", duration=10, tail="drop"), H, W).shape == (0, 2, H, W)


def test_channels_rows_and_columns_are_where_they_belong():
    events = {"t": np.array([1, 2]), "x": np.array([3, 0]), "y": np.array([2, 1]), "p": np.array([1, 0])}
    frames = integrate(events, FrameSpec("number", T=1), H, W)
    assert frames.shape == (1, 2, H, W)
    assert np.argwhere(frames).tolist() == [[0, 0, 1, 0], [0, 1, 2, 3]]  # frame, OFF | ON, y, x


gaps = st.one_of(st.integers(0, 40), st.sampled_from([0, 0, 10, 20, 100]))
times = st.builds(
    lambda start, dts: (start + np.cumsum([0, *dts])[1:]).tolist(),
    st.sampled_from([0, 2**31 - 30, 2**40]),
    st.lists(gaps, max_size=25),
)


@settings(deadline=None, max_examples=200)
@given(times, st.integers(1, 40), st.sampled_from([1, 7, 10, 20, 10**6]), st.integers(0, 99))
def test_frames_equal_the_naive_twin(t, T, duration, seed):
    events = some_events(t, seed)
    for spec, segments in (
        (FrameSpec("number", T=T), naive.by_number(events["t"], T)),
        (FrameSpec("time", T=T), naive.by_time(events["t"], T)),
        (FrameSpec("duration", duration=duration), naive.by_duration(events["t"], duration, "keep")),
        (FrameSpec("duration", duration=duration, tail="drop"), naive.by_duration(events["t"], duration, "drop")),
    ):
        frames = integrate(events, spec, H, W)
        np.testing.assert_array_equal(frames, naive.frames(events, segments, H, W), err_msg=str(spec))
        if spec.tail == "keep":
            assert frames.sum() == len(t)


@pytest.mark.parametrize(("n", "dtype"), [(255, np.uint8), (256, np.uint16), (65535, np.uint16), (65536, np.uint32)])
def test_counts_take_the_smallest_type_that_holds_the_hottest_pixel(n, dtype):
    zeros = np.zeros(n, np.uint8)
    events = {"t": np.arange(n), "x": zeros, "y": zeros + 2, "p": zeros + 1}
    frames = integrate(events, FrameSpec("number", T=1), H, W)
    assert frames.dtype == dtype
    assert frames[0, 1, 2, 0] == n
    assert frames.sum() == n


def test_type_is_decided_by_one_pixel_of_one_frame_not_by_the_sum():
    events = {"t": np.arange(600), "x": np.arange(600) % 3, "y": np.zeros(600, int), "p": np.zeros(600, int)}
    assert integrate(events, FrameSpec("number", T=1), H, W).dtype == np.uint8
    assert integrate(events | {"x": np.zeros(600, int)}, FrameSpec("number", T=3), H, W).dtype == np.uint8


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_coordinates_may_be_compact_and_the_sensor_large(dtype):
    events = {
        "t": np.arange(2),
        "x": np.array([200, 255], dtype),
        "y": np.array([255, 0], dtype),
        "p": np.array([0, 1]),
    }
    frames = integrate(events, FrameSpec("number", T=1), 300, 300)
    assert np.argwhere(frames).tolist() == [[0, 0, 255, 200], [0, 1, 0, 255]]


def lose_one(frames):
    frames[np.unravel_index(frames.argmax(), frames.shape)] -= 1


def double_one(frames):
    frames[np.unravel_index(frames.argmax(), frames.shape)] += 1


def turn_polarity(frames):
    frames[:] = frames[:, ::-1].copy()


@pytest.mark.parametrize("tamper", [lose_one, double_one, turn_polarity])
@pytest.mark.parametrize("spec", [FrameSpec("number", T=3), FrameSpec("duration", duration=10, tail="drop")])
def test_frames_that_lost_or_gained_events_fail_the_build(monkeypatch, tamper, spec):
    events = some_events(range(45), seed=1)
    untouched = builtin.frames

    def broken(*args):
        frames, used = untouched(*args)
        tamper(frames)
        return frames, used

    integrator(spec, H, W)(events, "user01_row03")
    monkeypatch.setattr(builtin, "frames", broken)
    with pytest.raises(ConservationError, match=r"sample user01_row03: the frames hold \d+ OFF and \d+ ON events, exp"):
        integrator(spec, H, W)(events, "user01_row03")


def test_warm_up_compiles_for_every_column_and_count_type():

    sides = (34, 300)
    for extent in sides:
        warm_up(extent, extent)
        for wide in builtin.COUNT_TYPES[1:]:
            builtin.warm_up(extent, extent, wide)
    before = len(_kernels.count.signatures), len(_kernels.sums.signatures)
    for extent in sides:
        for n in (10, 300, 70_000):
            zeros = np.zeros(n, np.uint8)
            integrate({"t": np.arange(n), "x": zeros, "y": zeros, "p": zeros}, FrameSpec("number", T=1), extent, extent)
    assert (len(_kernels.count.signatures), len(_kernels.sums.signatures)) == before


HOT = """
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from dvsprep.integrate import _kernels, builtin, warm_up
warm_up(34, 34)
print(len(_kernels.count.signatures), len(_kernels.sums.signatures))
zeros = np.zeros(300, np.uint8)
events, edges = {"t": np.arange(300), "x": zeros, "y": zeros, "p": zeros}, np.array([0, 300])
with ThreadPoolExecutor(4) as pool:
    made = list(pool.map(lambda _: builtin.frames(events, edges, 34, 34), range(8)))
print({frames.dtype.name for frames, _ in made}, {(int(frames[0, 0, 0, 0]), *used) for frames, used in made})
print(len(_kernels.count.signatures), len(_kernels.sums.signatures))
"""


def test_kernels_for_hot_pixels_are_compiled_when_threads_meet_one_and_not_before():
    run = subprocess.run([sys.executable, "-c", HOT], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["1 1", "{'uint16'} {(300, 300, 0)}", "2 2"]


@settings(deadline=None)
@given(
    dtype=st.sampled_from([np.uint8, np.uint16, np.uint32]),
    shape=st.tuples(st.integers(0, 4), st.integers(1, 2), st.integers(1, 40), st.integers(1, 70)),
    full=st.booleans(),
)
def test_sums_are_those_of_numpy(dtype, shape, full):
    largest = np.iinfo(dtype).max
    frames = np.random.default_rng(0).integers(largest if full else 0, largest, shape, dtype, endpoint=True)
    held = np.full(shape[1], 7, np.int64)
    _kernels.sums(frames, held)
    assert held.tolist() == frames.sum((0, 2, 3), dtype=np.int64).tolist()


@settings(deadline=None)
@given(
    side=st.sampled_from([9, 34, 256, 300]),
    channels=st.integers(1, 2),
    where=st.integers(0, 4999),
    axis=st.sampled_from("xy"),
    T=st.integers(1, 7),
)
def test_an_event_beside_the_sensor_is_found_wherever_it_lies(side, channels, where, axis, T):
    random, n = np.random.default_rng(0), 5000
    dtype = np.uint8 if side <= 256 else np.uint16
    x, y = (random.integers(0, side, n).astype(dtype) for _ in "xy")
    p = random.integers(0, 2, n).astype(np.uint8)
    builtin.warm_up(side, side, np.uint16)
    out, used = np.full((T, channels, side, side), 7, np.uint16), np.zeros(channels, np.int64)
    edges = builtin.number_edges(n, T)
    assert _kernels.count(x, y, p, edges, 65_535, out, used) == _kernels.COUNTED
    assert used.tolist() == ([n - int(p.sum()), int(p.sum())] if channels == 2 else [n])
    assert out.sum() == n
    beside = {"x": x, "y": y}
    if side != 256:  # in 256 all that eight bits can say lies inside
        beside[axis][where] = side
        assert _kernels.count(x, y, p, edges, 65_535, out, used) == _kernels.OUTSIDE
