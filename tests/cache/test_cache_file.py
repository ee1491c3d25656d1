"""The file itself: stock HDF5 reads it, codecs do not matter, readers write nothing, damage is named."""

from __future__ import annotations

import builtins
import contextlib
import importlib.util
import os
import pickle
import re
import shutil
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import making
import numpy as np
import pytest

import dvsprep
from dvsprep import cache
from dvsprep.cache import codec as codecs
from dvsprep.cache import read
from dvsprep.cache.layout import SCHEMA, pack_rows, unpack_rows
from dvsprep.errors import IncompleteError, IntegrityError, NotACacheError, NotFoundError, UsageError
from dvsprep.types import FrameSpec

PACKAGE = Path(dvsprep.__file__).parent


@pytest.fixture
def frames_path(small_events: Path, tmp_path: Path) -> Path:
    """Return a frame cache that a test may spoil and that nobody in this process has open."""
    return made(small_events, tmp_path, "deflate")


def made(small_events: Path, folder: Path, codec: str) -> Path:
    first = folder / "first.h5"
    making.frames_cache(first, cache.EventCache(small_events), FrameSpec("number", T=3), codec=codec)
    shutil.copy(first, folder / f"{codec}.h5")
    first.unlink()
    return folder / f"{codec}.h5"


# -- stock HDF5 --


def test_stock_h5py_reads_the_same_frames_and_labels(sample_frames: Path) -> None:
    source = cache.FrameCache(sample_frames)
    with h5py.File(sample_frames, locking=False) as file:
        assert file["frames"].shape == (72, 4, 2, 128, 128)  # 6 recordings of 12 rows
        assert file["frames"].chunks == (1, 4, 2, 128, 128)
        for i in range(len(source)):
            np.testing.assert_array_equal(file["frames"][i], source[i][0])
        np.testing.assert_array_equal(file["labels"][:], source.labels)
        assert [c.decode() for c in file["classes"]] == [*source.classes]


def test_stock_h5py_reads_the_same_events(sample_events: Path) -> None:
    source = cache.EventCache(sample_events)
    with h5py.File(sample_events, locking=False) as file:
        for i in range(len(source)):
            events, _ = source[i]
            run = slice(file["offsets"][i], file["offsets"][i] + file["rows"][i])
            np.testing.assert_array_equal(file["t_start"][i] + np.cumsum(file["dt"][run], dtype=np.int64), events["t"])
            for k in "xyp":
                np.testing.assert_array_equal(file[k][run], events[k])
            assert (events["t"][0], events["t"][-1]) == (file["t_start"][i], file["t_end"][i])


@pytest.mark.skipif(shutil.which("h5dump") is None, reason="h5dump (Debian: hdf5-tools) is not installed")
def test_h5dump_reads_a_cache(frames_path: Path) -> None:
    frames = cache.FrameCache(frames_path)
    run = subprocess.run(["h5dump", "-d", "/frames", "-y", frames.path], capture_output=True, text=True, check=True)
    numbers = [int(n) for n in re.findall(r"\d+", run.stdout.partition("DATA {")[2])]
    assert numbers == np.concatenate([frames[i][0].ravel() for i in range(len(frames))]).tolist()


# -- codecs --


def bare(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import the codecs as on a machine that has neither isal nor deflate."""
    real = builtins.__import__

    def refuse(name: str, *arguments: Any, **how: Any) -> ModuleType:
        if name in ("isal", "deflate"):
            raise ImportError(name)
        return real(name, *arguments, **how)

    spec = importlib.util.spec_from_file_location("bare_codec", codecs.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "bare_codec", module)
    with monkeypatch.context() as patch:
        patch.setattr(builtins, "__import__", refuse)
        spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "f4", "i8"])
def test_zlib_reads_what_isal_wrote_and_the_other_way_round(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    plain = bare(monkeypatch)
    assert plain._pack.__module__ == "zlib"
    pytest.importorskip("isal", reason="no wheel of isal for this machine")
    assert codecs._pack is not plain._pack
    array = np.random.default_rng(0).integers(0, 200, (3, 5, 7)).astype(dtype)
    ours, theirs = (module.packing("deflate", array.dtype) for module in (codecs, plain))
    out = np.empty_like(array)
    for packer, unpacker in ((ours, theirs), (theirs, ours), (theirs, theirs)):
        out.fill(0)
        unpacker.unpack(packer.pack(array, len(array)), out, len(array))
        np.testing.assert_array_equal(out, array)
    assert plain.crc32(b"abc", 5) == codecs.crc32(b"abc", 5)
    for packing in (ours, theirs):
        with pytest.raises(IntegrityError, match="unpack"):
            packing.unpack(codecs.Chunk(0, b"no deflate stream"), out, len(array))


@pytest.mark.parametrize("used", [0, 1, 7, 1000, 65_535, 65_536, 140_000])
@pytest.mark.parametrize("zeros", [1, 2, 300, 100_000])
def test_bytes_and_zeros_behind_them_are_a_zlib_stream(used: int, zeros: int) -> None:
    raw = np.random.default_rng(used).integers(0, 256, used, np.uint8)
    packed = codecs._stored(raw, zeros)
    expected = raw.tobytes() + bytes(zeros)
    assert zlib.decompress(packed) == expected
    assert bytes(codecs._unpack(packed, len(expected))) == expected
    assert len(packed) < used + zeros // 200 + 40


@pytest.mark.parametrize("width", [40, 200, 256, 300, 640])
@pytest.mark.parametrize("n", [1, 999, 1024, 1025, 5000])
def test_stock_hdf5_reads_packed_coordinates(tmp_path: Path, width: int, n: int) -> None:
    dtype = np.uint8 if width <= 256 else np.uint16
    values = np.random.default_rng(n).integers(0, width, n).astype(dtype)
    packing = codecs.packing("packed", values.dtype, width)
    block = pack_rows(values, 1024, packing)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        dataset = packing.create(file, "x", (1024 * len(block.packed),), values.dtype, (1024,))
        for k, chunk in enumerate(block.packed):
            dataset.id.write_direct_chunk((1024 * k,), chunk.data, chunk.mask)
    with h5py.File(tmp_path / "x.h5") as file:  # HDF5 2.0 forgets the mask of a lone chunk until the file is closed
        dataset = file["x"]
        np.testing.assert_array_equal(dataset[:n], values)
        assert not dataset[n:].any()
        assert codecs.Packing.of(dataset) is not None
    np.testing.assert_array_equal(unpack_rows(block, packing), values)


def test_codec_none_stores_plain_bytes_and_the_same_numbers(
    small_events: Path, frames_path: Path, tmp_path: Path
) -> None:
    plain = cache.FrameCache(made(small_events, tmp_path, "none"))
    assert making.digests(plain) == making.digests(cache.FrameCache(frames_path))
    with h5py.File(plain.path, locking=False) as file:
        assert file["frames"].compression is None
        assert file["frames"].id.get_storage_size() == file["frames"].nbytes


def test_a_chunk_stored_without_its_filters_is_read_by_hdf5_itself(frames_path: Path, tmp_path: Path) -> None:
    twin = cache.FrameCache(shutil.copy(frames_path, tmp_path / "twin.h5"))
    with h5py.File(frames_path, "r+", locking=False) as file:
        file["frames"].id.write_direct_chunk((2, 0, 0, 0, 0), twin[2][0].tobytes(), filter_mask=0b11)
    assert making.digests(cache.FrameCache(frames_path)) == making.digests(twin)


# -- reading changes nothing --


def test_files_are_opened_for_reading_without_locks(sample_frames: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, real = [], h5py.File

    def spy(path: Any, mode: str = "r", **how: Any) -> Any:
        calls.append((mode, how.get("locking")))
        return real(path, mode, **how)

    monkeypatch.setattr(h5py, "File", spy)
    source = dvsprep.open(sample_frames)
    making.digests(source)
    cache.describe(source)
    cache.damaged(source)
    making.digests(pickle.loads(pickle.dumps(source)))
    assert len(calls) >= 2
    assert set(calls) == {("r", False)}


def test_a_read_only_folder_is_read_and_nothing_in_it_changes(sample_frames: Path, tmp_path: Path) -> None:
    folder = tmp_path / "read-only"
    folder.mkdir()
    path = Path(shutil.copy(sample_frames, folder / "cache.h5"))
    path.chmod(0o444)
    folder.chmod(0o555)
    before = making.tree(folder), folder.stat().st_mtime_ns
    source = dvsprep.open(path)
    making.digests(source)
    cache.describe(source)
    assert (making.tree(folder), folder.stat().st_mtime_ns) == before
    folder.chmod(0o755)


def test_only_one_place_opens_hdf5_for_reading_and_one_for_writing() -> None:
    """A process may not open one file with different locking flags (h5py issue 2506), so there is one way to do it."""
    found = {}
    for file in PACKAGE.rglob("*.py"):
        for line in file.read_text().splitlines():
            if re.search(r"\b(h5py\.File|h5f\.open|h5f\.create)\(", line) and "events" not in file.parts:
                found.setdefault(str(file.relative_to(PACKAGE)), []).append(line.strip())
    assert found == {
        "cache/read.py": ['return h5py.File(path, "r", locking=False)'],
        "cache/write.py": ['with h5py.File(temporary, "w", locking=False) as file:'],
    }


def test_threads_that_open_it_at_once_never_lose_their_handle(
    sample_frames: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, real = cache.FrameCache(sample_frames), read.open_file
    expected, fresh = making.digest(*source[0]), pickle.loads(pickle.dumps(source))

    def slow(path: Path) -> h5py.File:
        time.sleep(0.01 * threading.get_ident() % 0.05)
        return real(path)

    monkeypatch.setattr(read, "open_file", slow)
    handles, found, barrier = set(), [], threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        handles.add(id(fresh._file))
        found.append(making.digest(*fresh[0]))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 8
    assert len(handles) == 1


# -- damage --


def chunk_of(path: Path, column: str, i: int) -> tuple[int, int]:
    """Return where in the file chunk i of a column lies: (offset, bytes)."""
    with h5py.File(path, locking=False) as file:
        info = file[column].id.get_chunk_info(i)
        return info.byte_offset, info.size


def flip(path: Path, at: int) -> None:
    with path.open("rb+") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0x10]))


def test_a_damaged_sample_is_named_and_no_other(frames_path: Path) -> None:
    path = frames_path
    assert cache.damaged(cache.FrameCache(path)) == []
    expected = making.digests(cache.FrameCache(path))
    at, size = chunk_of(path, "frames", 4)
    flip(path, at + size // 2)
    spoilt = cache.FrameCache(path)
    told: list[int] = []
    assert cache.damaged(spoilt, told.append) == ["made_004"]
    assert sum(told) == len(spoilt)
    with pytest.raises(IntegrityError, match=re.escape(f"{path}: frames, row 4")) as caught:
        spoilt[4]
    assert caught.value.exit_code == 5
    for i in {*range(10)} - {4}:
        assert making.digest(*spoilt[i]) == expected[i]


def test_every_byte_of_a_packed_chunk_counts(frames_path: Path) -> None:
    path = frames_path
    expected = making.digest(*cache.FrameCache(path)[4])
    at, size = chunk_of(path, "frames", 4)
    for hit in range(at, at + size, 7):
        flip(path, hit)
        with contextlib.suppress(IntegrityError):
            assert making.digest(*cache.FrameCache(path)[4]) == expected  # bits that no decoder looks at
        assert cache.damaged(cache.FrameCache(path)) == ["made_004"]
        flip(path, hit)
    assert cache.damaged(cache.FrameCache(path)) == []


def test_a_damaged_sample_of_plain_bytes_is_found_by_its_checksum(small_events: Path, tmp_path: Path) -> None:
    path = made(small_events, tmp_path, "none")
    at, _ = chunk_of(path, "frames", 7)
    flip(path, at + 5)
    assert cache.damaged(cache.FrameCache(path)) == ["made_007"]


@pytest.mark.parametrize("name", ["labels", "classes", "ids", "crc32", "n_events", "frames"])
def test_a_cache_that_lost_a_part_is_one_error_that_names_it(frames_path: Path, name: str) -> None:
    with h5py.File(frames_path, "r+", locking=False) as file:
        del file[name]

    def read_all() -> None:
        source = dvsprep.open(frames_path)
        making.digests(source)
        cache.describe(source)
        cache.describe_sample(source, 0)
        cache.damaged(source)

    with pytest.raises(IntegrityError, match=re.escape(str(frames_path))):
        read_all()


@pytest.mark.parametrize("part", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_truncated_cache_is_no_cache(frames_path: Path, part: float) -> None:
    path = frames_path
    os.truncate(path, int(path.stat().st_size * part))
    with pytest.raises(NotACacheError, match=re.escape(str(path))) as caught:
        dvsprep.open(path)
    assert caught.value.exit_code == 5


def test_a_text_file_is_no_cache(tmp_path: Path) -> None:
    (tmp_path / "notes.h5").write_text("no cache")
    with pytest.raises(NotACacheError, match="no HDF5 file"):
        dvsprep.open(tmp_path / "notes.h5")


def test_another_hdf5_file_is_no_cache(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["frames"] = np.zeros(3)
    for opener in (dvsprep.open, cache.FrameCache, cache.EventCache):
        with pytest.raises(NotACacheError, match="no cache of dvsprep"):
            opener(tmp_path / "other.h5")


def test_a_cache_of_a_newer_schema_is_not_guessed_at(frames_path: Path) -> None:
    with h5py.File(frames_path, "r+", locking=False) as file:
        file.attrs["schema"] = SCHEMA + 1
    with pytest.raises(IncompleteError, match=f"schema {SCHEMA + 1}.*reads {SCHEMA}") as caught:
        dvsprep.open(frames_path)
    assert caught.value.exit_code == 7


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"none\.h5"):
        dvsprep.open(tmp_path / "none.h5")


def test_a_folder_is_no_cache(tmp_path: Path) -> None:
    with pytest.raises((NotACacheError, NotFoundError), match=re.escape(str(tmp_path))):
        dvsprep.open(tmp_path)


def test_events_are_not_taken_for_frames(small_events: Path, frames_path: Path) -> None:
    with pytest.raises(UsageError, match="a cache of events, expected one of frames"):
        cache.FrameCache(small_events)
    with pytest.raises(UsageError, match="a cache of frames, expected one of events"):
        cache.EventCache(frames_path)


@pytest.fixture(autouse=True)
def _writable_again(tmp_path: Path) -> Iterator[None]:
    yield
    for folder in tmp_path.iterdir():
        folder.chmod(0o755)
