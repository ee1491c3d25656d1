"""Chunks read from the mapped file are those that HDF5 returns."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import formats
import making
import numpy as np
import pytest

from dvsprep import cache
from dvsprep.cache import build, mapped
from dvsprep.cache.cutting import Piece
from dvsprep.cache.write import write_cache
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


def long_events(path: Path, sensor: tuple[int, int], n: int) -> Path:
    """Return an event cache of samples of several chunks, the last one padded, of few events, and of none."""
    how = build.PackHow(sensor, 1024, "packed")
    narrow = [np.uint8 if side <= 256 else np.uint16 for side in sensor]
    packed = []
    for i, k in enumerate((n, 5, 0, n // 3)):
        e = formats.events(k, *sensor, seed=i)
        columns = {"t": e["t"].astype(np.int64), "p": e["p"].astype(np.uint8)}
        columns |= {"x": e["x"].astype(narrow[1]), "y": e["y"].astype(narrow[0])}
        packed.append(build.pack_events(Piece(i, columns), how))
    return write_cache(path, making.header(len(packed), sensor=sensor), packed)


@pytest.mark.parametrize("sensor", [(128, 128), (34, 34), (2, 200), (260, 346)], ids=str)
@pytest.mark.parametrize("n", [3000, 4096, 1])
def test_columns_are_unpacked_at_once_as_one_by_one(tmp_path: Path, sensor: tuple[int, int], n: int) -> None:
    path = long_events(tmp_path / "long.h5", sensor, n)
    plain, source = cache.EventCache(path), cache.EventCache(path)
    source.map()
    for i in range(len(plain)):
        assert_same(plain.compact(i), source.compact(i))
    columns = [source._stored_column(name) for name in "xyp"]
    at_once = mapped.unpack_columns(columns, *source.run(0))
    assert (at_once is None) == (max(sensor) > 128)  # coordinates of eight bits and more lie as they are


def test_damaged_padding_is_an_error_as_without_a_map(tmp_path: Path) -> None:
    path = long_events(tmp_path / "long.h5", (128, 128), 3000)
    source = cache.EventCache(path)
    source.map()
    start, n = source.run(0)
    places = source._mapped["y"]._places
    k = start // source._stored_column("y").chunks[0] + n // source._stored_column("y").chunks[0]
    content = bytearray(path.read_bytes())
    assert places[2][k] == 0  # deflated
    content[places[0][k] + 20] ^= 4
    path.write_bytes(content)
    again = cache.EventCache(path)
    again.map()
    with pytest.raises(IntegrityError, match=r"sample 0.*does not unpack"):
        again.compact(0)


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
