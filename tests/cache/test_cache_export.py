"""Samples as plain NumPy files, in the folders that SpikingJelly's users know."""

from __future__ import annotations

from pathlib import Path

import making
import numpy as np
import pytest

from dvsprep import cache
from dvsprep.cache.export import folder_name
from dvsprep.errors import IntegrityError, UsageError
from dvsprep.types import FrameSpec


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        (FrameSpec("number", T=20), "frames_number_20_split_by_number"),
        (FrameSpec("time", T=16), "frames_number_16_split_by_time"),
        (FrameSpec("duration", duration=50_000), "duration_50000"),
        (FrameSpec("plugin", plugin="some/where.py:surface"), "surface"),
    ],
)
def test_folders_have_the_names_of_spikingjelly(spec: FrameSpec, name: str) -> None:
    assert folder_name(spec) == name


def test_npz_of_every_sample_lies_below_split_and_label(sample_frames: Path, tmp_path: Path) -> None:
    source = cache.FrameCache(sample_frames)
    written = cache.export(source, range(len(source)), tmp_path, "npz")
    below = tmp_path / "frames_number_4_split_by_number" / "train"
    assert written == [below / str(source.labels[i]) / f"{source.ids[i]}.npz" for i in range(len(source))]
    assert sorted(p for p in tmp_path.rglob("*") if p.is_file()) == sorted(written)
    for i, path in enumerate(written):
        with np.load(path) as file:
            assert file.files == ["frames"]
            np.testing.assert_array_equal(file["frames"], source[i][0])


def test_npy_of_one_sample_is_the_file_that_was_named(sample_frames: Path, tmp_path: Path) -> None:
    source = cache.FrameCache(sample_frames)
    assert cache.export(source, [5], tmp_path / "x.npy", "npy") == [tmp_path / "x.npy"]
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), source[5][0])


def test_events_are_four_arrays_in_one_npz(small_events: Path, tmp_path: Path) -> None:
    source = cache.EventCache(small_events)
    (path,) = cache.export(source, [3], tmp_path, "npz")
    with np.load(path) as file:
        assert making.digest({k: file[k] for k in file.files}, 0) == making.digest(*source[3])
    with pytest.raises(UsageError, match="npz"):
        cache.export(source, [3], tmp_path, "npy")


def test_two_samples_do_not_fit_one_file(sample_frames: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one file, and 2 samples"):
        cache.export(cache.FrameCache(sample_frames), [0, 1], tmp_path / "x.npz", "npz")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("id", ["..", "a\\b", "C:x", ""])
def test_an_id_that_is_no_file_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, id: str) -> None:
    events = making.events_cache(tmp_path / "e.h5", [making.at(0, 5)])
    monkeypatch.setitem(events._small, "ids", np.array([id]))
    with pytest.raises(IntegrityError, match="is no name for a file"):
        cache.export(events, [0], tmp_path / "out", "npz")


def test_a_split_that_is_a_path_writes_nothing_outside(tmp_path: Path) -> None:
    events = making.events_cache(tmp_path / "e.h5", [making.at(0, 5)])
    events.split = str(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError, match="is no name for a file"):
        cache.export(events, [0], tmp_path / "out", "npz")
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith(".")) == ["e.h5"]


def test_ids_that_would_be_one_file_are_refused_before_any_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = making.events_cache(tmp_path / "e.h5", [making.at(0, 5), making.at(0, 5)])
    monkeypatch.setitem(events._small, "ids", np.array(["s1/run_1", "s1_run/1"]))
    events.labels = np.zeros(2, np.int64)
    with pytest.raises(UsageError, match="several samples would be the file"):
        cache.export(events, [0, 1], tmp_path / "out", "npz")
    assert not (tmp_path / "out").exists()
