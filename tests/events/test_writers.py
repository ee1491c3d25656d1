"""Events out and back in: lossless where the format allows, an error where it does not, never half a file."""

from pathlib import Path

import formats
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvsprep.errors import DiskError, FormatError
from dvsprep.events import Policy
from dvsprep.events.catalog import BYTES, geometry
from dvsprep.events.detect import detect
from dvsprep.events.reading import load
from dvsprep.events.writers import WRITERS, write

SENSOR = (720, 1280)


def some(n: int, start: int = 0) -> dict:
    e = formats.events(n, *SENSOR, start=start)
    return {
        "t": e["t"],
        "x": e["x"].astype(np.uint16),
        "y": e["y"].astype(np.uint16),
        "p": e["p"].astype(np.uint8),
    }


def back(path: Path) -> dict:
    return BYTES[detect(path)][0](load(path), str(path), SENSOR, Policy()).events


def check_same(got: dict, expected: dict) -> None:
    for key in "txyp":
        np.testing.assert_array_equal(got[key], expected[key])


@pytest.mark.parametrize("format", list(WRITERS))
@pytest.mark.parametrize("start", [0, 2**32 - 5000])
def test_what_is_written_is_recognised_and_read_back(format, start, tmp_path):
    events = some(100, start)
    write(events, tmp_path / f"out{format}")
    check_same(back(tmp_path / f"out{format}"), events)
    assert [entry.name for entry in tmp_path.iterdir()] == [f"out{format}"]


@pytest.mark.parametrize("format", [".txt", ".npz"])
def test_times_since_1970_fit_text_and_npz(format, tmp_path):
    events = some(10, 1_589_163_147_368_868)
    write(events, tmp_path / f"out{format}")
    check_same(back(tmp_path / f"out{format}"), events)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("t", 2**32, r"event 3 has t = 4294967296; DAT holds 0 to 4294967295 \(shift the times to begin at 0"),
        ("x", 2**14, r"event 3 has x = 16384; DAT holds 0 to 16383 \(write npz\)"),
        ("y", 2**15, "event 3 has y = 32768"),
    ],
)
def test_dat_says_what_does_not_fit_and_writes_nothing(key, value, says, tmp_path):
    events = some(5)
    events[key][3] = value
    with pytest.raises(FormatError, match=says):
        write(events, tmp_path / "out.dat")
    assert not list(tmp_path.iterdir())


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 1279), st.integers(0, 719), st.integers(0, 1)), min_size=1
    )
)
def test_dat_keeps_every_bit(tmp_path_factory, rows):
    t, x, y, p = np.array(sorted(rows), np.int64).T
    path = tmp_path_factory.mktemp("dat") / "out.dat"
    write({"t": t, "x": x, "y": y, "p": p}, path, SENSOR)
    check_same(back(path), {"t": t, "x": x, "y": y, "p": p})
    assert geometry(path, "dat") == SENSOR


@pytest.mark.parametrize("format", list(WRITERS))
def test_old_file_stays_until_the_new_one_is_whole(format, tmp_path, monkeypatch):
    path = tmp_path / f"out{format}"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dvsprep.disk.os.fsync", full)
    with pytest.raises(DiskError, match=rf"out{format}: No space left on device \(free some space"):
        write(some(5), path, replace=True)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(DiskError, match="No such file or directory"):
        write(some(5), tmp_path / "none" / "out.txt")
