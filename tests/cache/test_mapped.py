"""Chunks read from the mapped file are those that HDF5 returns."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from dvsprep import cache
from dvsprep.cache import mapped
from dvsprep.errors import IntegrityError


def assert_same(one, other) -> None:
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def test_events_are_the_same_with_and_without_a_map(small_events: Path) -> None:
    plain, source = cache.EventCache(small_events), cache.EventCache(small_events)
    source.map()
    assert all(column is not None for column in source._mapped.values())
    for i in range(len(plain)):
        assert_same(plain[i][0], source[i][0])


def test_frames_of_a_batch_come_from_the_map(sample_frames: Path) -> None:
    plain, source = cache.FrameCache(sample_frames), cache.FrameCache(sample_frames)
    batch = source.__getitems__([0, 2, 1])
    assert source._mapped["frames"] is not None
    for (frames, label), i in zip(batch, [0, 2, 1], strict=True):
        np.testing.assert_array_equal(frames, plain[i][0])
        assert label == plain[i][1]


def test_a_source_with_a_map_travels_and_its_blocks_too(small_events: Path) -> None:
    source = cache.EventCache(small_events)
    source.map()
    again = pickle.loads(pickle.dumps(source))
    assert_same(again[3][0], source[3][0])
    assert pickle.loads(pickle.dumps(source.block("x", 3))).packed == source.block("x", 3).packed


def test_too_many_chunks_are_left_to_hdf5(small_events: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, source = cache.EventCache(small_events), cache.EventCache(small_events)
    monkeypatch.setattr(mapped, "MOST", 1)
    source.map()
    assert not any(source._mapped.values())
    assert_same(plain[3][0], source[3][0])


def test_a_chunk_that_cannot_lie_there_is_left_to_hdf5_and_a_wrong_one_is_one_error(
    small_events: Path, tmp_path: Path
) -> None:
    path = tmp_path / "cut.h5"
    path.write_bytes(small_events.read_bytes())
    source = cache.EventCache(path)
    source.map()
    source._mapped["x"]._places[0][0] = os.path.getsize(path) + 1  # what a damaged file may say
    source._mapped["x"]._places[1][0] = 100
    assert_same(source[0][0], cache.EventCache(path)[0][0])  # HDF5 is asked
    source._mapped["x"]._places[0][0] = 0
    with pytest.raises(IntegrityError, match="sample 0"):
        source[0]
