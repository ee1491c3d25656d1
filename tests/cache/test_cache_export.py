"""Samples as plain NumPy files, in the folders that SpikingJelly's users know."""

from __future__ import annotations

from pathlib import Path

import making
import numpy as np
import pytest

from dvsprep import cache
from dvsprep.cache.export import folder_name
from dvsprep.errors import UsageError
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
