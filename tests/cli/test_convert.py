"""`dvsprep convert`: every event comes out as it went in, and what a format has no place for is said."""

from pathlib import Path

import numpy as np
import own
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dvsprep
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
    writers.write({"t": t, "x": x, "y": y, "p": p}, source, replace=True)
    converting.convert(source, target)
    own.same(events_in(target, (201, 301)), {"t": t, "x": x, "y": y, "p": p})


def test_dat_carries_the_sensor_and_the_others_say_that_they_do_not(run, tmp_path, recording):
    done = run("convert", recording, tmp_path / "b.dat", "--sensor", own.SENSOR)
    assert (done.code, done.lines, done.talk) == (0, [str(tmp_path / "b.dat")], ["60 events"])
    done = run("convert", tmp_path / "b.dat", tmp_path / "c.npz", "--json")
    assert done.json == {
        "file": str(tmp_path / "c.npz"), "samples": 1, "events": 60, "sensor": [own.H, own.W],
    }  # fmt: skip
    assert "npz has no place for the sensor's size: --sensor 24x32 to read it" in done.err


@pytest.mark.parametrize("first", FORMATS)
def test_an_event_cache_holds_a_recording_without_loss(run, tmp_path, recording, first):
    one, cache, again = tmp_path / f"one{first}", tmp_path / "one.h5", tmp_path / f"again{first}"
    converting.convert(recording, one, sensor=(own.H, own.W))
    sensor = () if first == ".dat" else ("--sensor", own.SENSOR)  # DAT states it
    done = run("convert", one, cache, *sensor)
    assert (done.code, done.lines, done.talk) == (0, [str(cache)], ["60 events"])
    own.same(dvsprep.open(cache)[0][0], own.columns())
    converting.convert(cache, again)
    assert again.read_bytes() == one.read_bytes()
    assert run("info", cache, "--check").code == 0
    assert run("play", cache, "-o", tmp_path / "x.gif").code == 0


def test_a_folder_becomes_an_event_cache_of_many_samples(run, tmp_path):
    own.folders(tmp_path / "my hands", "clap/a 1.txt", "clap/a 2.txt", "wave/b.txt")
    (tmp_path / "my hands" / "notes.md").write_text("hello")
    out = tmp_path / "x.h5"
    done = run("convert", tmp_path / "my hands", out, "--sensor", own.SENSOR)
    assert done.code == 0
    assert "notes.md: an unknown format" in done.err
    assert done.talk[-1] == "180 events in 3 samples"
    made = dvsprep.open(out)
    assert made.ids.tolist() == ["clap/a 1", "clap/a 2", "wave/b"]
    assert (made.classes, made.labels.tolist()) == (("clap", "wave"), [0, 0, 1])
    for k in range(3):
        own.same(made[k][0], own.columns(seed=k))
    before = out.read_bytes()
    assert run("convert", tmp_path / "my hands", out, "--sensor", own.SENSOR, "-j", 1).code == 0  # the same again
    assert out.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my hands", "x.h5"]


def test_an_event_cache_of_another_one_or_a_part_of_it(run, tmp_path, built):
    source = dvsprep.open(built.events)
    assert run("convert", built.events, tmp_path / "all.h5").talk[-1].endswith("events in 72 samples")
    assert run("convert", built.events, tmp_path / "one.h5", "--sample", -1).code == 0
    copy, one = dvsprep.open(tmp_path / "all.h5"), dvsprep.open(tmp_path / "one.h5")
    assert (copy.ids.tolist(), one.ids.tolist()) == (source.ids.tolist(), source.ids.tolist()[-1:])
    for i in (0, 71):
        own.same(copy[i][0], source[i][0])
    own.same(one[0][0], source[-1][0])


def test_an_existing_cache_is_replaced_only_by_force(run, tmp_path, recording, built):
    out = tmp_path / "x.h5"
    out.write_text("three years")
    command = ("convert", recording, out, "--sensor", own.SENSOR)
    assert run(*command).code == 2
    assert out.read_text() == "three years"
    assert run(*command, "--force").code == 0
    own.same(dvsprep.open(out)[0][0], own.columns())


def test_without_a_known_sensor_it_is_said_that_nothing_was_checked(run, tmp_path, recording):
    assert "no coordinate was checked" in run("convert", recording, tmp_path / "b.npz").err


def test_a_sample_of_an_event_cache(run, tmp_path, built):
    source = run("info", built.events, "--json").json
    assert source["samples"] > 3
    assert run("convert", built.events, tmp_path / "s.dat", "--sample", 3).code == 0
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
        (["a.txt", "b.aedat"], 2, "its suffix is to be one of .npz, .dat, .txt, .csv, .h5"),
        (["a.txt", "notes.md.txt"], 2, "notes.md.txt exists, and is not the same (choose another name, or --force"),
        (["a.txt", "b.h5"], 2, "a.txt does not state its sensor size (give it with --sensor HxW)"),
        (["a.txt", "b.h5", "--sample", "0"], 2, "no event cache, so --sample has no meaning"),
        (["a.txt", "b.h5", "--sensor", "4x4"], 5, "outside the sensor"),
        (["FRAMES", "b.h5"], 2, "a cache of frames"),
        (["EVENTS", "b.h5", "--sample", "72"], 2, "sample 72 of 72"),
        (["EVENTS", "b.h5", "--sensor", "4x4"], 2, "states its sensor, 128x128"),
        ([".", "b.npz"], 2, ". is a folder, and .npz holds one recording (an event cache holds many: .h5)"),
        (["a.txt", "b.npz", "--sample", "0"], 2, "no event cache, so --sample has no meaning"),
        (["a.txt", "b.npz", "--sensor", "4x4"], 5, "outside the sensor"),
        (["nowhere", "b.npz"], 3, "nowhere: no such file or folder"),
        (["notes.md", "b.npz"], 5, "unknown format"),
        (["a.txt", "no/b.npz"], 6, "no/b.npz: No such file or directory"),
        (["EVENTS", "b.npz"], 2, "samples (--sample I tells which)"),
        (["EVENTS", "b.npz", "--sample", "1000"], 2, "sample 1000 of 72"),
        (["EVENTS", "b.npz", "--sample", "0", "--sensor", "4x4"], 2, "states its sensor, 128x128"),
        (["FRAMES", "b.npz", "--sample", "0"], 2, "a cache of frames"),
    ],
)
def test_a_mistake_is_one_line_and_its_exit_code(run, recording, built, monkeypatch, arguments, code, why):
    monkeypatch.chdir(recording.parent)
    Path("notes.md").write_text("hello")
    Path("notes.md.txt").write_text("hello")
    caches = {"EVENTS": built.events, "FRAMES": built.train}
    done = run("convert", *(caches.get(argument, argument) for argument in arguments))
    assert why in done.error
    assert (done.code, done.out) == (code, "")
    assert not Path("b.npz").exists()
    assert not Path("b.h5").exists()
