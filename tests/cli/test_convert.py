"""`dvsprep convert`: every event comes out as it went in, and what a format has no place for is said."""

from pathlib import Path

import numpy as np
import own
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dvsprep import converting
from dvsprep.events import Policy, Recording, detect, read, writers

FORMATS = {".npz": "npz", ".dat": "dat", ".txt": "text", ".csv": "text"}


def events_in(path: Path, sensor=(own.H, own.W)):
    return read(Recording(path, detect.detect(path), "all", ()), sensor, Policy()).events


@pytest.fixture
def recording(tmp_path) -> Path:
    own.text(tmp_path / "a.txt")
    return tmp_path / "a.txt"


@pytest.mark.parametrize("first", FORMATS)
@pytest.mark.parametrize("second", FORMATS)
def test_there_and_back_no_event_changes(tmp_path, recording, first, second):
    one, two = tmp_path / f"one{first}", tmp_path / f"two{second}"
    converting.convert(recording, one, sensor=(own.H, own.W))
    converting.convert(one, two)
    assert detect.detect(one) == FORMATS[first]
    assert detect.detect(two) == FORMATS[second]
    own.same(events_in(two), own.columns())


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(sorted(FORMATS)),
    st.lists(
        st.tuples(st.integers(0, (1 << 32) - 1), st.integers(0, 300), st.integers(0, 200), st.integers(0, 1)),
        min_size=1,
        max_size=20,
    ),
)
def test_any_events_come_through(tmp_path, suffix, rows):
    t, x, y, p = np.array(sorted(rows, key=lambda row: row[0]), np.int64).T
    source, target = tmp_path / "any.npz", tmp_path / f"out{suffix}"
    target.unlink(missing_ok=True)
    writers.write_npz({"t": t, "x": x, "y": y, "p": p}, source)
    converting.convert(source, target)
    own.same(events_in(target, (201, 301)), {"t": t, "x": x, "y": y, "p": p})


def test_dat_carries_the_sensor_and_the_others_say_that_they_do_not(run, tmp_path, recording):
    done = run("convert", recording, tmp_path / "b.dat", "--sensor", own.SENSOR)
    assert (done.code, done.lines, done.talk) == (0, [str(tmp_path / "b.dat")], ["60 events"])
    done = run("convert", tmp_path / "b.dat", tmp_path / "c.npz", "--json")
    assert done.json == {"file": str(tmp_path / "c.npz"), "events": 60, "sensor": [own.H, own.W]}
    assert "npz has no place for the sensor's size: --sensor 24x32 to read it" in done.err


def test_without_a_known_sensor_it_is_said_that_nothing_was_checked(run, tmp_path, recording):
    assert "no coordinate was checked" in run("convert", recording, tmp_path / "b.npz").err


def test_a_sample_of_an_event_cache(run, tmp_path, built):
    source = run("info", built.events, "--json").json
    assert source["samples"] > 3
    assert run("convert", built.events, tmp_path / "s.dat", "--sample", 3).code == 0
    import dvsprep

    own.same(events_in(tmp_path / "s.dat", (128, 128)), dvsprep.open(built.events)[3][0])


def test_times_that_dat_cannot_hold_are_an_error_and_no_file(run, tmp_path):
    (tmp_path / "late.txt").write_text(f"{1 << 32} 1 1 1\n")
    done = run("convert", tmp_path / "late.txt", tmp_path / "late.dat")
    assert done.code == 5
    assert "DAT holds 0 to 4294967295" in done.error
    assert not (tmp_path / "late.dat").exists()
    assert run("convert", tmp_path / "late.txt", tmp_path / "late.npz").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["a.txt", "b.aedat"], 2, "its suffix is to be one of .npz, .dat, .txt, .csv"),
        (["a.txt", "b.h5"], 2, "`dvsprep import` makes event caches"),
        (["a.txt", "a.txt"], 2, "a.txt exists (choose another name, or delete it)"),
        (["a.txt", "b.npz", "--sample", "0"], 2, "no event cache, so --sample has no meaning"),
        (["a.txt", "b.npz", "--sensor", "4x4"], 5, "outside the sensor"),
        (["nowhere", "b.npz"], 3, "nowhere: no such file"),
        (["notes.md", "b.npz"], 5, "unknown format"),
        (["a.txt", "no/b.npz"], 6, "cannot write"),
        (["EVENTS", "b.npz"], 2, "samples (--sample I tells which)"),
        (["EVENTS", "b.npz", "--sample", "1000"], 2, "sample 1000 of 72"),
        (["EVENTS", "b.npz", "--sample", "0", "--sensor", "4x4"], 2, "states its sensor, 128x128"),
        (["FRAMES", "b.npz", "--sample", "0"], 2, "a cache of frames"),
    ],
)
def test_a_mistake_is_one_line_and_its_exit_code(run, recording, built, monkeypatch, arguments, code, why):
    monkeypatch.chdir(recording.parent)
    Path("notes.md").write_text("hello")
    caches = {"EVENTS": built.events, "FRAMES": built.train}
    done = run("convert", *(caches.get(argument, argument) for argument in arguments))
    assert why in done.error
    assert (done.code, done.out) == (code, "")
    assert not Path("b.npz").exists()
