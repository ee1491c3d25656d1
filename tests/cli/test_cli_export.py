"""`dvsprep export`."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

import dvsprep


def test_npz_makes_the_folders_that_spikingjelly_has(run, built, tmp_path):
    done = run("export", built.train, "-o", tmp_path / "out", "--format", "npz")
    assert done.code == 0
    assert done.lines == [str(tmp_path / "out")]
    assert done.talk == ["72 files"]
    train = dvsprep.open(built.train)
    # Folder and key as SpikingJelly 2.0 names them: the published descriptions
    for i in (0, 71):
        folder = tmp_path / "out" / "frames_number_8_split_by_number" / "train" / str(train.labels[i])
        with np.load(folder / f"{train.ids[i]}.npz") as file:
            assert file.files == ["frames"]
            assert np.array_equal(file["frames"], train[i][0])


def test_events_become_npz_with_t_x_y_p(run, built, tmp_path):
    done = run("export", built.events, "-o", tmp_path / "one.npz", "--format", "npz", "--sample", "5")
    assert done.code == 0
    events, _ = dvsprep.open(built.events)[5]
    with np.load(tmp_path / "one.npz") as file:
        assert sorted(file.files) == ["p", "t", "x", "y"]
        assert all(np.array_equal(file[k], events[k]) for k in "txyp")


def test_one_sample_into_a_file_or_into_a_folder(run, built, tmp_path):
    done = run("export", built.train, "-o", tmp_path / "a.npy", "--format", "npy", "--sample", "-1")
    assert done.lines == [str(tmp_path / "a.npy")]
    assert np.array_equal(np.load(tmp_path / "a.npy"), dvsprep.open(built.train)[71][0])
    done = run("export", built.train, "-o", tmp_path / "folder", "--format", "npy", "--sample", "3", "--json")
    (path,) = done.json["files"]
    assert path.startswith(str(tmp_path / "folder" / "frames_number_8_split_by_number" / "train"))
    assert os.path.isfile(path)


def test_png_shows_every_frame(run, built, tmp_path):
    done = run("export", built.train, "-o", tmp_path / "a.png", "--format", "png", "--sample", "3")
    assert done.code == 0
    with Image.open(tmp_path / "a.png") as image:
        assert image.width > 4 * 128  # eight frames, several in a row


@pytest.mark.parametrize("kind", ["train", "events"])
def test_h5_is_a_cache_again(run, built, tmp_path, kind):
    source = getattr(built, kind)
    done = run("export", source, "-o", tmp_path / "one.h5", "--format", "h5", "--sample", "3")
    assert done.code == 0
    whole, one = dvsprep.open(source), dvsprep.open(tmp_path / "one.h5")
    assert len(one) == 1
    (value, label), (expected, expected_label) = one[0], whole[3]
    assert label == expected_label
    columns = [(value, expected)] if kind == "train" else [(value[k], expected[k]) for k in "txyp"]
    assert all(np.array_equal(got, want) for got, want in columns)
    assert run("info", tmp_path / "one.h5").code == 0


WRONG = {
    "many into one npz": (["-o", "all.npz", "--format", "npz"], "72 samples are asked for"),
    "many into one png": (["-o", "all.png", "--format", "png"], "72 samples are asked for"),
    "suffix of another format": (["-o", "one.h5", "--format", "npz", "--sample", "3"], "does not go with --format npz"),
    "h5 into a folder": (["-o", ".", "--format", "h5"], "is a folder, and h5 is one file"),
    "no such sample": (["-o", "one.npz", "--format", "npz", "--sample", "72"], "sample 72 of 72, expected 0 to 71"),
    "no such format": (["-o", "out", "--format", "zip"], "'zip' is not one of 'npz', 'npy', 'png', 'h5'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_flags_are_exit_2_and_write_nothing(run, built, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    arguments, words = WRONG[name]
    done = run("export", built.train, *arguments, "--json")
    assert done.code == 2
    assert words in done.error
    assert words in done.json["error"]["message"]
    assert list(tmp_path.iterdir()) == []


def test_events_as_npy_are_refused_with_the_way_out(run, built, tmp_path):
    done = run("export", built.events, "-o", tmp_path / "out", "--format", "npy")
    assert done.code == 2
    assert "export them as npz" in done.error


@pytest.mark.parametrize("format", ["h5", "npz"])
def test_the_cache_itself_and_a_device_are_never_replaced(run, built, format):
    before = built.train.read_bytes()
    done = run("export", built.train, "-o", built.train, "--format", format, "--sample", "3")
    assert (done.code, done.error) == (2, f"{built.train} is the cache itself (choose another name for -o)")
    assert built.train.read_bytes() == before
    done = run("export", built.train, "-o", os.devnull, "--format", format, "--sample", "3")
    assert done.code == 2
    assert "neither a file nor a folder" in done.error


def test_a_place_that_cannot_be_written_is_exit_6(run, built, tmp_path):
    (tmp_path / "file").touch()
    done = run("export", built.train, "-o", tmp_path / "file" / "x", "--format", "npz", "--sample", "3")
    assert done.code == 6
    assert str(tmp_path / "file") in done.error


@pytest.mark.parametrize("format", ["npz", "npy", "png", "h5"])
def test_another_file_is_replaced_only_by_force(run, built, tmp_path, format):
    thesis = tmp_path / f"thesis.{format}"
    thesis.write_text("three years")
    command = ("export", built.train, "-o", thesis, "--format", format, "--sample", 0)
    done = run(*command)
    assert (done.code, done.error) == (
        2, f"{thesis} exists, and is not the same (choose another name, or --force replaces it)",
    )  # fmt: skip
    assert thesis.read_text() == "three years"
    assert run(*command, "--force").code == 0
    written = thesis.read_bytes()
    assert run(*command).code == 0  # the same again is no loss
    assert thesis.read_bytes() == written
    assert [path.name for path in tmp_path.iterdir()] == [thesis.name]
