"""HDF5 files that hold many samples of spikes: SHD and SSC, and N-TIDIGITS18.

A 1-D sensor of C channels is (H, W) = (1, C): x is the channel, y is 0, p is 1. Seconds become microseconds in
float64, cut to whole ones as tonic does; half precision would overflow.

libhdf5 trusts a file's description of its own types: a damaged one can crash the interpreter, so a file whose hash
nobody has checked goes through :mod:`dvsprep.events.vetting` first. What can be checked cheaply is checked here: magic
bytes, datasets, each sample's length and heap.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dvsprep.errors import FormatError, LabelError, NotFoundError
from dvsprep.events.foreign import from_arrays, guarded
from dvsprep.events.reading import Decoded, Policy
from dvsprep.types import Array

MAGIC = b"\x89HDF\r\n\x1a\n"
SHD_CHANNELS, NTIDIGITS_CHANNELS = 700, 64
DIGITS = ("o", *"123456789", "z")  # class = position, as in tonic; jackd/events-tfds has z = 0, o = 10


def labels(path: Path, split: str | None = None) -> list[tuple[str, int]]:
    """Return (sample key, label) of an SHD, SSC or N-TIDIGITS18 file; of one split where the file holds several."""
    if layout(path) == "ntidigits-h5":
        found = ntidigits_labels(path)
        return found if split is None else [entry for entry in found if entry[0].startswith(f"{split}/")]
    return shd_labels(path)


def read_one(path: Path, key: str, name: str, sensor: tuple[int, int], policy: Policy) -> Decoded:
    """Decode one sample by its key, whatever :func:`labels` calls it."""
    return next(read_many(path, [(key, name)], sensor, policy))


def read_many(
    path: Path, samples: Iterable[tuple[str, str]], sensor: tuple[int, int], policy: Policy
) -> Iterator[Decoded]:
    """Decode samples given as (key, name); the file is opened once for all of them."""
    with _open(path) as file:
        for key, name in samples:
            find = _ntidigits if key.startswith(("train/", "test/")) else _shd
            yield _spikes(*find(file, path, key), name, sensor, policy)


def shd_labels(path: Path) -> list[tuple[str, int]]:
    """Return (sample key, label) of an SHD or SSC file, in the file's order; no spike is read."""
    with _open(path, "labels", "spikes/times", "spikes/units") as file:
        labels, samples = file["labels"][()], len(file["spikes/times"])
        if labels.shape != (samples,) or labels.dtype.kind not in "iu":
            raise LabelError(f"{path}: labels are {labels.dtype}{list(labels.shape)}, expected one a sample: {samples}")
        return [(str(k), int(label)) for k, label in enumerate(labels)]


def shd_classes(path: Path) -> list[str]:
    """Return the class names that an SHD or SSC file keeps in extra/keys."""
    with _open(path, "extra/keys") as file:
        return [_text(key) for key in file["extra/keys"][()]]


def _shd(file: Any, path: Path, key: str) -> tuple[Any, Any]:
    """Return (seconds, channels) of one sample of an SHD or SSC file; keys are "0", "1", .."""
    times, units = file["spikes/times"], file["spikes/units"]
    if not key.isdecimal() or not int(key) < min(len(times), len(units)):
        raise NotFoundError(f"{path}: no sample {key!r}; it holds {len(times)}")
    for column in (times, units):
        _check_stored(path, column, int(key))
    return times[int(key)], units[int(key)]


def _check_stored(path: Path, column: Any, k: int) -> None:
    """Refuse a damaged list of variable length before HDF5 sees it: that asks for the memory first, or never ends.

    Such a list is 16 bytes: its length, the address of a heap collection, and its number there (HDF5 File Format
    Specification 3.0, III.E "Global Heap"). Where they are packed, nothing can be said.
    """
    start, at = None, 16 * k
    if column.chunks is None:
        start = column.id.get_offset()
    elif column.compression is None and not column.shuffle and not column.fletcher32:
        chunk = column.chunks[0]
        start, at = column.id.get_chunk_info_by_coord((k // chunk * chunk,)).byte_offset, 16 * (k % chunk)
    if start is None:
        return
    with path.open("rb") as file:
        file.seek(start + at)
        length, heap, _ = struct.unpack("<IQI", file.read(16).ljust(16, b"\0"))
        if length > path.stat().st_size:
            raise FormatError(
                f"{path}: sample {k} claims {length} spikes at byte {start + at}, more than the file can hold"
            )
        if length and not _sound_heap(file, heap):
            raise FormatError(f"{path}: sample {k} lies in a damaged heap at byte {heap}")


def _sound_heap(file: BinaryIO, address: int) -> bool:
    """Walk the objects of a heap collection; each must end within it, and number 0 is all of the free rest."""
    if address >= 1 << 62:
        return False
    file.seek(address)
    head = file.read(16).ljust(16, b"\0")
    size = int.from_bytes(head[8:], "little")
    body = file.read(size - 16) if head[:5] == b"GCOL\x01" and 16 <= size < 1 << 40 else b""
    if len(body) != size - 16:
        return False
    at = 0
    while at + 16 <= len(body):
        number, _, _, length = struct.unpack_from("<HHIQ", body, at)
        if number == 0:
            return bool(at + length == len(body))
        at += 16 + -(-length // 8) * 8
    return at <= len(body)


def ntidigits_sequences(path: Path) -> list[tuple[str, str]]:
    """Return (sample key, spoken digits such as "1z4") of N-TIDIGITS18; keys begin with train/ or test/."""
    found = []
    with _open(path, "train_labels", "test_labels") as file:
        for split in ("train", "test"):
            for entry in file[f"{split}_labels"][()]:
                sample = _text(entry)
                digits = sample.rpartition("-")[2]
                if not digits or set(digits) - set(DIGITS):
                    raise LabelError(f"{path}: {split} sample {sample!r} does not end in spoken digits")
                found.append((f"{split}/{sample}", digits))
    return found


def ntidigits_labels(path: Path) -> list[tuple[str, int]]:
    """Return (sample key, label) of the samples of a single digit: o = 0, 1 to 9, z = 10."""
    return [(key, DIGITS.index(digits)) for key, digits in ntidigits_sequences(path) if len(digits) == 1]


def _ntidigits(file: Any, path: Path, key: str) -> tuple[Any, Any]:
    """Return (seconds, channels) of one sample of N-TIDIGITS18; keys are those of :func:`ntidigits_sequences`."""
    split, _, sample = key.partition("/")
    places = [f"{split}_{column}/{sample}" for column in ("timestamps", "addresses")]
    if not sample or any(place not in file for place in places):
        raise NotFoundError(f"{path}: no sample {key!r}")
    return file[places[0]][()], file[places[1]][()]


def layout(path: Path) -> str | None:
    """Return "spikes-h5" or "ntidigits-h5", whichever an HDF5 file is laid out as, or None."""
    with _open(path) as file:
        if "spikes/times" in file and "spikes/units" in file:
            return "spikes-h5"
        return "ntidigits-h5" if "train_addresses" in file and "train_timestamps" in file else None


def touch(path: Path) -> None:
    """Read everything that the readers here would."""
    found = labels(path)
    with _open(path) as file:
        for key, _ in found:
            find = _ntidigits if key.startswith(("train/", "test/")) else _shd
            find(file, path, key)
    with _open(path) as file:
        has_names = "extra/keys" in file
    if has_names:
        shd_classes(path)


def _spikes(seconds: Any, channels: Any, name: str, sensor: tuple[int, int], policy: Policy) -> Decoded:
    seconds, channels = np.asarray(seconds).reshape(-1), np.asarray(channels).reshape(-1)
    if seconds.dtype.kind != "f":
        raise FormatError(f"{name}: times are {seconds.dtype}, expected seconds in floating point")
    t: Array = seconds.astype(np.float64) * 1e6
    y, p = np.zeros(len(t), np.uint8), np.ones(len(t), np.uint8)
    return from_arrays({"t": t, "x": channels, "y": y, "p": p}, name, sensor, policy)


def _text(entry: Any) -> str:
    return entry.decode("utf-8", "replace") if isinstance(entry, bytes) else str(entry)


@contextmanager
def _open(path: Path, *needed: str) -> Iterator[Any]:
    """Open for reading without a lock: archives lie on read-only and network disks."""
    import h5py

    with path.open("rb") as file:
        first = file.read(len(MAGIC))
    if first != MAGIC:
        what = "the file is empty" if not first else f"no HDF5 file: starts with {first!r}, expected {MAGIC!r}"
        raise FormatError(f"{path}: {what}")
    with guarded(str(path), "HDF5"), h5py.File(path, "r", locking=False) as file:
        missing = [key for key in needed if not isinstance(file.get(key), h5py.Dataset)]
        if missing:
            raise FormatError(f"{path}: no dataset {', '.join(missing)}; found {', '.join(file)[:100] or 'none'}")
        yield file
