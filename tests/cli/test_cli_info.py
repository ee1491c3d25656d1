"""`dvsprep info`."""

from __future__ import annotations

import shutil

import h5py
import pytest

import dvsprep

NOT_A_CACHE = {
    "missing": (lambda p: None, 3, "no such file"),
    "folder": (lambda p: p.mkdir(), 5, "a folder, not a cache"),
    "text": (lambda p: p.write_text("hello"), 5, "no HDF5 file, or a truncated one"),
    "empty": (lambda p: p.touch(), 5, "no HDF5 file, or a truncated one"),
    "foreign HDF5": (lambda p: h5py.File(p, "w").close(), 5, "an HDF5 file, but no cache of dvsprep"),
}


@pytest.mark.parametrize("command", [["info"], ["play", "-o", "x.gif"], ["export", "-o", "out", "--format", "npz"]])
@pytest.mark.parametrize("name", NOT_A_CACHE)
def test_what_is_no_cache_is_told_by_every_command(run, tmp_path, command, name):
    make, code, words = NOT_A_CACHE[name]
    path = tmp_path / "file.h5"
    make(path)
    done = run(*command, path)
    assert done.code == code
    assert f"{path}: {words}" in done.error


@pytest.mark.parametrize("command", [["info"], ["play", "-o", "x.gif"], ["export", "-o", "out", "--format", "npz"]])
def test_a_truncated_cache_is_told_by_every_command(run, tmp_path, built, command):
    path = tmp_path / "half.h5"
    path.write_bytes(built.train.read_bytes()[:50_000])
    done = run(*command, path)
    assert done.code == 5
    assert "truncated" in done.error


def test_info_of_frames(run, built):
    done = run("info", built.train)
    assert (done.code, done.err) == (0, "")
    facts = {line.split(maxsplit=1)[0]: line.split(maxsplit=1)[1] for line in done.lines}
    assert facts["cache"].startswith("frames of sample, split train, key ")
    assert facts["samples"] == "72"
    assert facts["spec"] == "split_by number, T 8"
    assert facts["frames"].startswith("uint8 [72, 8, 2, 128, 128]")
    assert facts["classes"].startswith("hand clapping 6, ")
    assert facts["source"].endswith(", verified")


def test_info_of_events_and_of_frames_tell_the_same_events(run, built):
    frames, events = (run("info", path, "--json").json for path in (built.train, built.events))
    assert (frames["kind"], events["kind"]) == ("frames", "events")
    assert frames["events"] == events["events"]
    assert frames["events"]["total"] == dvsprep.open(built.events).small("n_events").sum()
    assert sum(frames["classes"].values()) == frames["samples"] == 72


def test_check_compares_every_sample_with_its_checksum(run, built, tmp_path):
    assert "all samples intact" in run("info", built.train, "--check").out
    path = tmp_path / "damaged.h5"
    shutil.copy(built.train, path)
    with h5py.File(path) as file:
        chunk = file["frames"].id.get_chunk_info(3)
        damaged = file["ids"][3].decode()
    with path.open("rb+") as file:
        file.seek(chunk.byte_offset + chunk.size // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 0xFF]))
    done = run("info", path, "--check", "--json")
    assert done.code == 5
    assert done.json["damaged"] == [damaged]  # one object: the facts, and the error
    assert done.json["error"]["message"] == f"{path}: 1 damaged sample(s): {damaged}"
    assert damaged in run("info", path, "--check").error
