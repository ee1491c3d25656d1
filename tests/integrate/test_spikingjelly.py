"""Frames and events equal SpikingJelly 2.0's, number for number, wherever that does not crash.

Needs SpikingJelly and torch, which are no dependencies of dvsprep: run it in an environment that has them.
"""

import tarfile
import warnings
import zipfile

import formats
import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvsprep import events as ev
from dvsprep.integrate import integrate
from dvsprep.types import FrameSpec

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # theirs, at import
    sj = pytest.importorskip("spikingjelly.datasets.utils", reason="SpikingJelly 2.0 is not installed here")

H, W = 5, 7


def theirs(events, spec: FrameSpec, H: int, W: int) -> np.ndarray:
    if spec.duration is not None:
        return sj.integrate_events_by_fixed_duration(events, spec.duration, H, W)
    return sj.integrate_events_by_fixed_frames_number(events, spec.split_by, spec.T, H, W)


def check_equal(events, spec: FrameSpec, H: int = H, W: int = W) -> None:
    np.testing.assert_array_equal(integrate(events, spec, H, W), theirs(events, spec, H, W), err_msg=str(spec))


def with_pixels(t: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    e = formats.events(len(t), H, W, seed=seed)
    return e | {"t": t.astype(np.int64)}


starts = st.sampled_from([0, 1_000_000, 2**31 - 50, 2**40])


@settings(deadline=None, max_examples=150)
@given(starts, st.lists(st.integers(0, 50), max_size=60), st.integers(1, 70), st.integers(0, 99))
def test_by_number(start, gaps, T, seed):
    check_equal(with_pixels(start + np.cumsum(np.array(gaps, int)), seed), FrameSpec("number", T=T))


@settings(deadline=None, max_examples=150)
@given(st.data(), starts, st.integers(1, 12), st.integers(1, 30), st.integers(0, 99))
def test_by_time_where_no_window_is_empty(data, start, T, dt, seed):
    inside = st.lists(st.integers(0, dt - 1), min_size=1, max_size=5)
    offsets = [0] + [k * dt + o for k in range(T) for o in data.draw(inside)]
    offsets.append(T * dt + data.draw(st.integers(0, T - 1)))  # the last event: (t[-1] - t[0]) // T is dt
    check_equal(with_pixels(start + np.sort(offsets), seed), FrameSpec("time", T=T))


@settings(deadline=None, max_examples=150)
@given(starts, st.lists(st.integers(0, 50), min_size=1, max_size=60), st.sampled_from([1, 7, 10, 50, 10**6]))
def test_by_duration_where_time_passes(start, gaps, duration):
    t = start + np.cumsum([0, *gaps, 1])
    check_equal(with_pixels(t, 0), FrameSpec("duration", duration=duration))


@pytest.mark.parametrize(
    ("t", "spec"),
    [
        ([0, 1, 100], FrameSpec("time", T=4)),
        ([5, 5, 5], FrameSpec("time", T=2)),
        ([], FrameSpec("time", T=2)),
        ([5, 5, 5], FrameSpec("duration", duration=10)),
        ([], FrameSpec("duration", duration=10)),
    ],
)
def test_where_it_crashes_ours_is_defined(t, spec):
    events = with_pixels(np.array(t, int), 0)
    with pytest.raises((IndexError, ValueError)):
        theirs(events, spec, H, W)
    assert integrate(events, spec, H, W).sum() == len(t)


def read(path, format: str, sensor: tuple[int, int]) -> dict[str, np.ndarray]:
    recording = ev.Recording(path, format, "train", (ev.Sample("s", 0),))
    return ev.read(recording, sensor, ev.Policy()).events


def check_same_events(ours, others) -> None:
    for key in ("t", "x", "y", "p"):
        np.testing.assert_array_equal(ours[key], others[key], err_msg=key)


def test_aedat31_reader_across_the_31st_bit(tmp_path):
    e = formats.events(3000, 128, 128, start=2**31 - 40_000)
    head, body = formats.AEDAT31_HEADER, formats.aedat31(e)[len(formats.AEDAT31_HEADER) :]
    path = tmp_path / "r.aedat"
    path.write_bytes(head + formats.aedat31_other(0, 8, 2) + body + formats.aedat31_other(3, 36, 3))
    check_same_events(read(path, "aedat3.1", (128, 128)), sj.load_aedat_v3(path))


def test_atis_reader(tmp_path):
    path = tmp_path / "00001.bin"
    path.write_bytes(formats.atis(formats.events(3000, 34, 34)))
    check_same_events(read(path, "atis", (34, 34)), sj.load_ATIS_bin(path))


SPECS = [FrameSpec("number", T=20), FrameSpec("time", T=8), FrameSpec("duration", duration=50_000)]


@pytest.mark.real
def test_real_gesture_recordings(real_data, tmp_path):
    with tarfile.open(real_data / "dvs-gesture-10" / "DvsGesture.tar.gz") as tar:
        tar.extractall(tmp_path, filter="data")
    paths = sorted((tmp_path / "DvsGesture").glob("*.aedat"))
    assert len(paths) == 2
    for path in paths:
        others = sj.load_aedat_v3(path)
        ours = read(path, "aedat3.1", (128, 128))
        check_same_events(ours, others)
        rows = ev.read_csv(path.with_name(f"{path.stem}_labels.csv"), 11)
        recording = ev.Recording(path, "aedat3.1", "train", ev.samples(rows, path.stem, "rows"), path)
        for sample, events in ev.cut(ours, recording):
            ((start, end),) = sample.windows
            inside = (others["t"] >= start) & (others["t"] < end)
            check_same_events(events, {key: column[inside] for key, column in others.items()})
            for spec in SPECS:
                frames = integrate(events, spec, 128, 128)
                np.testing.assert_array_equal(frames, theirs({k: v[inside] for k, v in others.items()}, spec, 128, 128))


@pytest.mark.real
def test_real_nmnist_recordings(real_data, tmp_path):
    with zipfile.ZipFile(real_data / "nmnist-1100" / "Test.zip") as pack:
        pack.extractall(tmp_path)
    paths = sorted(tmp_path.glob("Test/*/*.bin"))
    assert len(paths) == 100
    for path in paths:
        others = sj.load_ATIS_bin(path)
        ours = read(path, "atis", (34, 34))
        check_same_events(ours, others)
        for spec in SPECS:
            if spec.split_by == "time" and not all(naive.by_time(ours["t"], spec.T)):
                continue  # a silent window: SpikingJelly raises IndexError
            np.testing.assert_array_equal(integrate(ours, spec, 34, 34), theirs(others, spec, 34, 34))
