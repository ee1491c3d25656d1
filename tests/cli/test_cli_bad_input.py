"""`dvsprep frames` on archives, recordings and label files that are broken: one line that says where, exit code 5."""

from __future__ import annotations

import struct

import archives
import formats
import numpy as np
import pytest

import dvsprep

FRAMES = ["frames", "dvs128", "--split-by", "number", "-T", "4", "--no-verify"]
# Rows and events of the training recording: see formats.dvs_gesture.
EVENTS = {k: np.concatenate([formats.events(300, 128, 128, seed=row, start=1_000_000 + row * 100_000, step=100)[k]
                             for row in range(12)]) for k in "txyp"}  # fmt: skip
WHOLE = formats.aedat31(EVENTS, packet=100)
PACKET = 28 + 100 * 8  # bytes: header, events


def changed(field: str, at: int, value: int) -> bytes:
    events = {k: v.copy() for k, v in EVENTS.items()}
    events[field][at] = value
    return formats.aedat31(events)


RECORDINGS = {
    "no events": (formats.AEDAT31_HEADER, "the recording holds no events"),
    "empty file": (b"", "the file is empty"),
    "no AEDAT": (b"<html>" * 100, "no AEDAT 3.1 file: starts with '<html>"),
    "cut in an event": (WHOLE[:-13], f"truncated: the packet at byte {len(WHOLE) - PACKET} "),
    "cut in a packet header": (WHOLE[: len(WHOLE) - PACKET + 9], f"at byte {len(WHOLE) - PACKET}"),
    "outside the sensor": (changed("x", 77, 200), "event 77 lies outside the sensor of 128 x 128"),
    "backward": (changed("t", 77, 5), "time runs backward at event 77: 5 us after"),
}


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_broken_recording_is_named_with_the_place(run, tmp_path, name):
    data, words = RECORDINGS[name]
    archives.put(tmp_path, archives.recording(data))
    done = run(*FRAMES, "--root", tmp_path)
    assert done.code == 5
    assert f"{archives.TRAIN}.aedat: " in done.error
    assert words in done.error


LABELS = {
    "empty": ("", ":1: expected the header"),
    "header only": (archives.HEADER, ": no rows below the header"),
    "reversed": (f"{archives.HEADER}1,1000000,1090000\n2,1190000,1100000\n", ":3: the window ends at 1100000 us"),
    "outside": (
        f"{archives.HEADER}1,1000000,1090000\n2,9900000,9990000\n",
        ":3: the window 9900000 to 9990000 us lies",
    ),
    "unknown class": (f"{archives.HEADER}12,1000000,1090000\n", ":2: class 12 is unknown, expected 1 to 11"),
    "no numbers": (f"{archives.HEADER}clap,1000000,1090000\n", ":2: expected three whole numbers, got 'clap,"),
    "two columns": (f"{archives.HEADER}1,1000000\n", ":2: expected three whole numbers"),
}


@pytest.mark.parametrize("name", LABELS)
def test_a_broken_csv_is_named_with_file_and_line(run, tmp_path, name):
    text, words = LABELS[name]
    archives.put(tmp_path, archives.labels(text))
    done = run(*FRAMES, "--root", tmp_path)
    assert done.code == 5
    assert f"{archives.TRAIN}_labels.csv{words}" in done.error


def test_an_archive_that_climbs_out_is_refused_and_nothing_is_unpacked(run, tmp_path):
    archives.put(tmp_path, members={"../x": b"mine"})
    done = run(*FRAMES, "--root", tmp_path)
    assert done.code == 5
    assert "'../x'" in done.error
    assert [path for path in tmp_path.rglob("*") if path.name == "x"] == []
    assert list((tmp_path / "dvs128" / "extract").glob("DvsGesture*")) == []


def test_a_truncated_archive_is_refused_and_nothing_is_unpacked(run, tmp_path):
    path = archives.put(tmp_path)
    path.write_bytes(path.read_bytes()[:9000])
    done = run(*FRAMES, "--root", tmp_path)
    assert done.code == 5
    assert "DvsGesture.tar.gz (9,000 bytes): is broken or truncated" in done.error
    assert list((tmp_path / "dvs128" / "extract").glob("DvsGesture*")) == []


@pytest.mark.parametrize(("data", "words"), [(b"", "empty file"), (b"<!DOCTYPE html>", "no tar, tar.gz or zip")])
def test_what_is_no_archive_is_told(run, tmp_path, data, words):
    archives.put(tmp_path).write_bytes(data)
    done = run(*FRAMES, "--root", tmp_path)
    assert done.code == 5
    assert words in done.error


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "trials_to_train.txt").unlink(), "holds no trials_to_train.txt"),
        (lambda folder: (folder / "trials_to_train.txt").write_text(""), "trials_to_train.txt: lists no recording"),
        (lambda folder: (folder / "user01_led.aedat").unlink(), "user01_led.aedat is listed, but not in the archive"),
    ],
    ids=["no list", "empty list", "no recording"],
)
def test_an_archive_of_another_layout_names_what_lacks(run, tmp_path, change, words):
    archives.put(tmp_path, change)
    done = run(*FRAMES, "--root", tmp_path)
    assert done.code == 5
    assert words in done.error


def used(done) -> int:
    return int(dvsprep.open(done.lines[0], events=True).small("n_events").sum())


@pytest.fixture
def whole_events(run, tmp_path):
    """The events used of the undamaged look-alike."""
    archives.put(tmp_path / "whole", archives.recording(WHOLE))
    return used(run(*FRAMES, "--root", tmp_path / "whole"))


def test_salvage_keeps_what_is_whole_and_says_what_is_lost(run, tmp_path, whole_events):
    archives.put(tmp_path, archives.recording(WHOLE[:-13]))
    done = run(*FRAMES, "--root", tmp_path, "--salvage")
    assert done.code == 0
    # The cut packet holds the last 100 of the 300 events of the last row's 90 ms window and beyond.
    last = EVENTS["t"][-100:]
    lost = int(((last >= 2_100_000) & (last < 2_190_000)).sum())
    assert lost > 0
    assert 0 <= used(done) - (whole_events - lost) < 100  # whole events of the cut packet may be kept
    assert "salvaged" in done.err
    train, test = (run("info", line, "--json").json["provenance"].get("mended", {}) for line in done.lines)
    assert (list(train), test) == (["salvaged_bytes_lost"], {})
    assert "mended       salvaged bytes lost: " in run("info", done.lines[0]).out


@pytest.mark.parametrize(
    ("data", "flag"),
    [(changed("x", 77, 200), ["--out-of-range", "drop"]), (changed("t", 77, 5), ["--unsorted", "sort"])],
    ids=["drop", "sort"],
)
def test_the_flag_that_the_error_names_gets_past_it(run, tmp_path, whole_events, data, flag):
    archives.put(tmp_path, archives.recording(data))
    done = run(*FRAMES, "--root", tmp_path)
    assert " ".join(flag) in done.error
    done = run(*FRAMES, "--root", tmp_path, *flag)
    assert done.code == 0
    assert used(done) == whole_events - 1  # the one event is dropped, or no longer in its row's window


def test_a_packet_of_no_known_size_is_no_crash(run, tmp_path):
    packet = struct.pack("<hhiiiiii", 1, 1, 0, 4, 0, -1, -1, -1)
    archives.put(tmp_path, archives.recording(formats.AEDAT31_HEADER + packet))
    done = run(*FRAMES, "--root", tmp_path)
    assert done.code == 5
    assert f"{archives.TRAIN}.aedat: " in done.error
