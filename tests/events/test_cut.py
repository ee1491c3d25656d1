"""Reading a recording's file and cutting it into samples: half-open windows by binary search."""

from dataclasses import fields
from pathlib import Path

import formats
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvsprep import events as ev
from dvsprep.errors import FormatError, LabelError
from dvsprep.events.reading import MMAP_FROM, load

T = [100, 100, 150, 200, 200, 300]


def some_events(t: list[int]) -> dict:
    n = len(t)
    return {
        "t": np.array(t, np.int64),
        "x": np.arange(n, dtype=np.uint8),
        "y": np.zeros(n, np.uint8),
        "p": np.zeros(n, np.uint8),
    }


def cut(t: list[int], *windows: tuple[int, int], line: int = 7) -> list[int]:
    """Return the positions (kept in x) of the events in one sample's windows."""
    sample = ev.Sample("s", 0, windows, line)
    recording = ev.Recording(Path("r.aedat"), "aedat3.1", "train", (sample,), Path("r_labels.csv"))
    ((_, events),) = ev.cut(some_events(t), recording)
    assert events["t"].tolist() == [t[i] for i in events["x"]]
    return events["x"].tolist()


@pytest.mark.parametrize(
    ("window", "positions"),
    [
        ((100, 200), [0, 1, 2]),
        ((100, 201), [0, 1, 2, 3, 4]),
        ((101, 200), [2]),
        ((99, 101), [0, 1]),
        ((200, 300), [3, 4]),
        ((200, 301), [3, 4, 5]),
        ((300, 400), [5]),
        ((0, 1000), [0, 1, 2, 3, 4, 5]),
        ((0, 101), [0, 1]),
    ],
)
def test_window_is_closed_on_the_left_and_open_on_the_right(window, positions):
    assert cut(T, window) == positions


@pytest.mark.parametrize("window", [(101, 150), (201, 300), (151, 200)])
def test_window_in_silence_is_a_sample_without_events(window):
    assert cut(T, window) == []


@pytest.mark.parametrize("window", [(0, 100), (0, 50), (301, 400), (10**12, 10**12 + 1)])
def test_window_outside_the_recording_is_an_error_with_file_and_line(window):
    with pytest.raises(LabelError, match=rf"^r_labels.csv:7: the window {window[0]} to {window[1]} us.*100 to 300 us"):
        cut(T, window)


def test_one_of_several_windows_outside_is_an_error_too():
    with pytest.raises(LabelError, match="400 to 500"):
        cut(T, (100, 200), (400, 500))


def test_windows_of_a_merged_sample_are_joined_in_order():
    assert cut(T, (100, 150), (200, 301)) == [0, 1, 3, 4, 5]


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=30).map(sorted),
    st.integers(0, 60),
    st.integers(1, 30),
    st.sampled_from([0, 2**31 - 30, 2**40]),
)
def test_cut_equals_a_mask_over_all_events(t, start, length, offset):
    t, start = [now + offset for now in t], start + offset
    end = start + length
    expected = [i for i, now in enumerate(t) if start <= now < end]
    if expected or (start <= t[-1] and end > t[0]):
        assert cut(t, (start, end)) == expected
    else:
        with pytest.raises(LabelError):
            cut(t, (start, end))


def test_overlapping_rows_share_events():
    rows = [ev.Row(8, 100, 201, 2), ev.Row(9, 150, 301, 3)]
    recording = ev.Recording(Path("r"), "aedat3.1", "train", ev.samples(rows, "r", "rows"), Path("r.csv"))
    first, second = (e["x"].tolist() for _, e in ev.cut(some_events(T), recording))
    assert (first, second) == ([0, 1, 2, 3, 4], [2, 3, 4, 5])


def test_merged_rows_count_an_event_in_two_of_them_once():
    rows = [ev.Row(8, 100, 201, 2), ev.Row(8, 150, 301, 3)]
    recording = ev.Recording(Path("r"), "aedat3.1", "train", ev.samples(rows, "r", "merged"), Path("r.csv"))
    ((_, events),) = ev.cut(some_events(T), recording)
    assert events["x"].tolist() == [0, 1, 2, 3, 4, 5]


def test_sample_without_windows_is_the_whole_recording():
    recording = ev.Recording(Path("r.bin"), "atis", "train", (ev.Sample("00001", 3),))
    ((sample, events),) = ev.cut(some_events(T), recording)
    assert sample.label == 3
    assert events["t"].tolist() == T


@pytest.mark.parametrize("start", [0, 2**31 - 500_000])
@pytest.mark.parametrize("n", [500, 200_000])
def test_file_is_read_and_cut_alike_whether_small_or_mapped_before_or_across_the_31st_bit(tmp_path, start, n):
    e = formats.events(n, 128, 128, start=start, step=10)
    path = tmp_path / "user01_led.aedat"
    path.write_bytes(formats.aedat31(e))
    assert (path.stat().st_size >= MMAP_FROM) == (n > 500)
    a, b = int(e["t"][n // 3]), int(e["t"][n // 2])
    recording = ev.Recording(path, "aedat3.1", "train", (ev.Sample("s", 0, ((a, b),), 2),), path)
    ((_, events),) = ev.cut(ev.read(recording, (128, 128), ev.Policy()).events, recording)
    inside = (e["t"] >= a) & (e["t"] < b)
    for key in ("t", "x", "y", "p"):
        np.testing.assert_array_equal(events[key], e[key][inside])


@pytest.mark.parametrize("size", [0, 10, MMAP_FROM])
def test_loaded_bytes_are_read_only(tmp_path, size):
    (tmp_path / "f").write_bytes(bytes(size))
    raw = load(tmp_path / "f")
    assert raw.size == size
    assert not raw.flags.writeable


def test_recording_that_is_gone_says_what_to_do(tmp_path):
    recording = ev.Recording(tmp_path / "gone.bin", "atis", "train", (ev.Sample("gone", 0),))
    with pytest.raises(FormatError, match=r"gone.bin: the recording is gone \(delete the folder"):
        ev.read(recording, (34, 34), ev.Policy())


def test_policy_tells_only_what_differs_from_the_default():
    assert ev.Policy().to_dict() == {}
    assert ev.Policy(out_of_range="drop").to_dict() == {"out_of_range": "drop"}
    everything = ev.Policy("drop", "sort", salvage=True).to_dict()
    assert set(everything) == {f.name for f in fields(ev.Policy)}


def test_warm_up_compiles_for_what_files_and_mappings_give(tmp_path):
    from dvsprep.events import _kernels

    for extent in (34, 300):
        ev.warm_up(["aedat3.1", "atis"], (extent, extent))
    before = {
        name: len(getattr(_kernels, name).signatures) for name in ("aedat31_count", "aedat31_decode", "atis_decode")
    }
    for name, size in (("small", 10), ("large", MMAP_FROM // 8)):
        e = formats.events(size, 34, 34, step=2)
        (tmp_path / name).write_bytes(formats.aedat31(e))
        recording = ev.Recording(tmp_path / name, "aedat3.1", "train", (ev.Sample(name, 0),))
        ev.read(recording, (34, 34), ev.Policy())
        ev.read(recording, (300, 300), ev.Policy())
    assert {name: len(getattr(_kernels, name).signatures) for name in before} == before
