"""The spool: what a killed build had done is found again, and nothing else."""

from __future__ import annotations

from pathlib import Path

import making
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dvsprep.cache.layout import Packed
from dvsprep.cache.spool import Spool

TMP = [HealthCheck.function_scoped_fixture]


def sample(index: int) -> Packed:
    frames = np.random.default_rng(index).integers(0, 9, (2, 2, 4, 4), np.uint8)
    return making.packed_frames(index, frames)


def written(path: Path, n: int, tag: str = "deflate") -> list[int]:
    """Write samples 0 to n - 1; return the size of the file before the first and after each."""
    spool = Spool(path, tag, 8)
    spool._file.flush()
    ends = [path.stat().st_size]
    for i in range(n):
        spool.append([sample(i)])
        spool._file.flush()
        ends.append(path.stat().st_size)
    spool.close()
    return ends


def assert_holds(path: Path, n: int) -> None:
    """Check that a spool holds samples 0 to n - 1 whole, and takes another one."""
    spool = Spool(path, "deflate", 8)
    assert np.flatnonzero(spool.done).tolist() == list(range(n))
    for i in range(n):
        found, expected = spool.read(i), sample(i)
        assert found.blocks == expected.blocks
        assert (found.facts, found.crc32) == (expected.facts, expected.crc32)
    spool.append([sample(n)])
    assert spool.read(n).blocks == sample(n).blocks
    spool.close()
    again = Spool(path, "deflate", 8)
    assert np.flatnonzero(again.done).tolist() == list(range(n + 1))
    again.close()


def test_a_torn_tail_is_dropped_wherever_it_was_torn(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    ends = written(path, 3)
    whole = path.read_bytes()
    for size in range(ends[2], ends[3]):
        path.write_bytes(whole[:size])
        assert_holds(path, 2)
    path.write_bytes(whole)
    assert_holds(path, 3)


def test_a_tag_cut_short_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    ends = written(path, 1)
    whole = path.read_bytes()
    for size in range(ends[0]):
        path.write_bytes(whole[:size])
        assert_holds(path, 0)


def test_a_spool_of_another_codec_begins_anew(tmp_path: Path) -> None:
    written(tmp_path / "spool", 3, tag="none")
    assert_holds(tmp_path / "spool", 0)


@settings(deadline=None, max_examples=60, suppress_health_check=TMP)
@given(st.binary(max_size=200) | st.binary(max_size=40).map(lambda b: b"DVSr" + b))
def test_garbage_behind_whole_records_is_dropped(tmp_path: Path, garbage: bytes) -> None:
    path = tmp_path / "spool"
    path.unlink(missing_ok=True)
    written(path, 2)
    with path.open("ab") as file:
        file.write(garbage)
    assert_holds(path, 2)


@pytest.mark.parametrize("zeros", [1, 24, 4096])
def test_zeros_behind_whole_records_are_dropped(tmp_path: Path, zeros: int) -> None:
    """What a file system leaves after a power cut: the size had reached the disk, the bytes had not."""
    written(tmp_path / "spool", 2)
    with (tmp_path / "spool").open("ab") as file:
        file.write(bytes(zeros))
    assert_holds(tmp_path / "spool", 2)


def test_a_record_that_claims_to_be_huge_costs_no_memory(tmp_path: Path) -> None:
    written(tmp_path / "spool", 2)
    with (tmp_path / "spool").open("ab") as file:
        file.write(b"DVSr" + b"\xff" * 16)
    assert_holds(tmp_path / "spool", 2)


@settings(deadline=None, max_examples=60, suppress_health_check=TMP)
@given(st.data())
def test_a_flipped_bit_drops_its_record_and_what_follows(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "spool"
    path.unlink(missing_ok=True)
    ends = written(path, 4)
    hit = data.draw(st.integers(ends[0], ends[4] - 1))
    content = bytearray(path.read_bytes())
    content[hit] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    assert_holds(path, sum(end <= hit for end in ends[1:]))


def test_samples_in_any_order_are_found_by_index(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", "deflate", 8)
    for i in (5, 0, 3):
        spool.append([sample(i)])
    assert {i: spool.read(i).blocks for i in (0, 3, 5)} == {i: sample(i).blocks for i in (0, 3, 5)}
    spool.discard()
    assert not [*tmp_path.iterdir()]


def test_a_batch_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    spool = Spool(path, "deflate", 8)
    spool.append([sample(4), sample(1)])
    spool.append([])
    spool.append([sample(2), sample(0), sample(3)])
    spool.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    again = Spool(path, "deflate", 8)
    assert np.flatnonzero(again.done).tolist() == [1, 4]
    again.append([sample(0)])
    assert [again.read(i).blocks for i in (0, 1, 4)] == [sample(i).blocks for i in (0, 1, 4)]
    again.discard()
