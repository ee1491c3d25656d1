"""What a served cache is: its facts, its labels and samples as they lie in the file. Knows nothing of HTTP."""

from __future__ import annotations

import hashlib
import io
import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dvsprep import wire
from dvsprep.cache import EventCache, FrameCache, Placement, describe, open_cache, placement
from dvsprep.cache.codec import Chunk
from dvsprep.errors import IncompleteError, IntegrityError, NotFoundError, UsageError
from dvsprep.types import Array, canonical_json

MAX_SAMPLES = 4096  # of one answer
MAX_BYTES = 64 << 20  # of one answer, unless it is a single sample
PER_SAMPLE = ("labels", "ids", "n_events", "t_start", "t_end", "crc32", "rows")

Signature = tuple[int, int, int, int]


def signature(path: Path) -> Signature:
    """Return what tells one file of a name from another: device, inode, size and time."""
    stat = path.stat()
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


class ReplacedError(IncompleteError):
    """A cache that another took the place of while it was opened."""


class TooMuchError(UsageError):
    """More bytes than go in one answer."""


class Extent(NamedTuple):
    """One sample's chunks in the file: (offset, bytes, mask) of each, column after column."""

    i: int
    rows: int
    chunks: list[tuple[int, int, int]]

    @property
    def bytes(self) -> int:
        """Packed bytes."""
        return sum(size for _, size, _ in self.chunks)


class Content:
    """One cache, open. Replaced or deleted on disk, it goes on giving what it was opened on.

    Raises
    ------
    NotFoundError, NotACacheError, IncompleteError
    """

    def __init__(self, id: str, path: Path) -> None:
        self.id, self.path = id, path
        self.fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self.fd)
        cache = open_cache(path)
        stat = os.fstat(self.fd)
        self.signature: Signature = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
        self.bytes = stat.st_size
        self.placements: list[Placement] = [placement(cache, name) for name in cache.columns]
        self.columns = [
            wire.Column.of(name, p.dtype, p.row_shape, p.rows, p.packing)
            for name, p in zip(cache.columns, self.placements, strict=True)
        ]
        self.varies, self.kind, self.classes = cache.varies, cache.kind, cache.classes
        self.labels: NDArray[np.int64] = cache.labels
        self.arrays: dict[str, Array] = {"labels": cache.labels}
        for name in PER_SAMPLE[1:-1]:
            self.arrays[name] = cache.small(name)
        n = len(self.labels)
        self.starts = cache.small("offsets") if self.varies else np.arange(n, dtype=np.int64)
        self.arrays["rows"] = cache.small("rows") if self.varies else np.ones(n, np.int64)
        self.version = _version(cache, self)
        self.facts = self._facts(cache)
        if signature(path) != self.signature:
            raise ReplacedError(f"{path}: was replaced while it was opened", hint="ask again")

    def _facts(self, cache: FrameCache | EventCache) -> dict[str, Any]:
        told = describe(cache)
        del told["path"]  # where it lies on the server is nobody's business
        events = cache.provenance.get("events")
        return told | {
            "id": self.id,
            "version": self.version,
            "file": self.path.name,
            "columns": [
                column.to_dict() | {"bytes": int(p.sizes.sum(dtype=np.int64))}
                for column, p in zip(self.columns, self.placements, strict=True)
            ],
            "channels": cache.channels,
            "varies": self.varies,
            "identity": cache.identity,
            "events_cache": self.id_of(str(events)) if events else None,
            "limits": {"samples": MAX_SAMPLES, "bytes": MAX_BYTES},
        }

    def id_of(self, file: str) -> str:
        """Return the id of another cache of the same dataset."""
        return f"{self.id.removesuffix(self.path.stem)}{file.removesuffix('.h5')}"

    def __len__(self) -> int:
        return len(self.labels)

    def summary(self) -> dict[str, Any]:
        """Return what a list of caches tells of this one."""
        facts = self.facts
        told = {key: facts[key] for key in ("id", "version", "kind", "dataset", "split", "samples", "sensor", "spec")}
        return told | {
            "classes": len(self.classes),
            "bytes": self.bytes,
            "events": facts["events"]["total"],
            "key": facts["key"],
            "modified": self.signature[3] // 1_000_000_000,
        }

    def array(self, name: str) -> Array:
        """Return an array of one value a sample."""
        if name not in self.arrays:
            raise NotFoundError(f"{self.id}: no array is named {name!r}", hint=f"there are {', '.join(PER_SAMPLE)}")
        return self.arrays[name]

    def index(self, i: int) -> int:
        """Return i if there is such a sample."""
        if not 0 <= i < len(self):
            raise NotFoundError(f"{self.id}: sample {i} of {len(self)}")
        return i

    def select(self, classes: Sequence[str], split: str | None) -> NDArray[np.int64]:
        """Return the numbers of the samples of some classes, by name or number, all unless told."""
        if split is not None and split != self.facts["split"]:
            return np.empty(0, np.int64)
        if not classes:
            return np.arange(len(self))
        return np.flatnonzero(np.isin(self.labels, [self._label(name) for name in classes]))

    def _label(self, name: str) -> int:
        if name in self.classes:
            return list(self.classes).index(name)
        if name.isascii() and name.isdecimal() and len(name) < 10 and int(name) < len(self.classes):
            return int(name)
        raise NotFoundError(f"{self.id}: no class is named {name!r}", hint=f"there are {len(self.classes)}")

    def sample_facts(self, i: int) -> dict[str, Any]:
        """Return one sample's facts."""
        i, arrays, label = self.index(i), self.arrays, int(self.labels[i])
        return {
            "index": i,
            "id": str(arrays["ids"][i]),
            "label": label,
            "class": self.classes[label],
            "events": int(arrays["n_events"][i]),
            "microseconds": int(arrays["t_end"][i] - arrays["t_start"][i]),
            "rows": int(arrays["rows"][i]),
        }

    # -- bytes --

    def extent(self, i: int) -> Extent:
        """Return where a sample lies."""
        i = self.index(i)
        first, rows = int(self.starts[i]), int(self.arrays["rows"][i])
        chunks: list[tuple[int, int, int]] = []
        for place in self.placements:
            part = place.chunks(first, rows)
            facts = (place.offsets[part], place.sizes[part], place.masks[part])
            chunks += zip(*(values.tolist() for values in facts), strict=True)
        return Extent(i, rows, chunks)

    def read(self, extent: Extent, out: memoryview) -> None:
        """Fill ``out`` with a sample's chunks."""
        at = 0
        for offset, size in _runs(extent.chunks):
            got = _read_into(self.fd, out[at : at + size], offset)
            if got != size:
                raise IntegrityError(f"{self.path}: sample {extent.i} ends after {got} of {size} bytes")
            at += size

    def message(self, indices: Sequence[int]) -> memoryview:
        """Return several samples as one message of :mod:`dvsprep.wire`.

        Raises
        ------
        UsageError
            They are too many, or too large for one answer.
        """
        if len(indices) > MAX_SAMPLES:
            raise UsageError(f"{len(indices):,} samples at once", hint=f"at most {MAX_SAMPLES:,}")
        extents = [self.extent(i) for i in indices]
        total = sum(extent.bytes for extent in extents)
        if total > MAX_BYTES and len(extents) > 1:
            raise TooMuchError(f"{total:,} bytes at once", hint=f"at most {MAX_BYTES:,}: ask for fewer samples")
        crc32, t_start = self.arrays["crc32"], self.arrays["t_start"]
        heads = wire.head_of(
            (e.i, e.rows, int(crc32[e.i]), int(t_start[e.i]), [(mask, n) for _, n, mask in e.chunks]) for e in extents
        )
        buffer = bytearray(len(heads) + total)
        buffer[: len(heads)] = heads
        view, at = memoryview(buffer), len(heads)
        for extent in extents:
            self.read(extent, view[at : at + extent.bytes])
            at += extent.bytes
        return view

    def sample(self, i: int) -> wire.Sample:
        """Return one sample as stored.

        Raises
        ------
        IntegrityError
            Its bytes are not those of its checksum.
        """
        extent = self.extent(i)
        view, chunks, at = memoryview(bytearray(extent.bytes)), [], 0
        self.read(extent, view)
        for _, size, mask in extent.chunks:
            chunks.append(Chunk(mask, view[at : at + size]))
            at += size
        sample = wire.Sample(i, extent.rows, int(self.arrays["crc32"][i]), int(self.arrays["t_start"][i]), chunks)
        if not sample.is_sound():
            raise IntegrityError(f"{self.path}: sample {i} no longer matches its checksum", hint="build it again")
        return sample

    def npy(self, i: int) -> bytes:
        """Return one sample as a .npy file: frames [T, C, H, W], or events as records of t, x, y, p."""
        sample = self.sample(i)
        if self.kind == "frames":
            return npy(wire.frames_of(sample, self.columns, varies=self.varies))
        events = wire.events_of(sample, self.columns)
        fields = [(name, array.dtype) for name, array in events.items()]  # type: ignore[attr-defined]
        records = np.empty(sample.rows, fields)
        for name, array in events.items():
            records[name] = array
        return npy(records)


def npy(array: Array) -> bytes:
    """Return an array as a .npy file; texts as UTF-8 bytes."""
    file = io.BytesIO()
    np.save(file, np.char.encode(array, "utf-8") if array.dtype.kind == "U" else array, allow_pickle=False)
    return file.getvalue()


def _version(cache: FrameCache | EventCache, content: Content) -> str:
    """Return what two files share only if they hold the same bytes in every sample."""
    head = [cache.key, cache.codec, [c.to_dict() for c in content.columns], list(cache.classes), cache.split]
    total = hashlib.sha256(canonical_json([*head, content.arrays["ids"].tolist()]).encode())
    for name in ("labels", "crc32", "rows", "t_start"):
        total.update(np.ascontiguousarray(content.arrays[name], np.int64).tobytes())
    return total.hexdigest()[:20]


def _runs(chunks: Sequence[tuple[int, int, int]]) -> list[tuple[int, int]]:
    """Join chunks that lie one behind the other."""
    runs: list[tuple[int, int]] = []
    for offset, size, _ in chunks:
        if runs and sum(runs[-1]) == offset:
            runs[-1] = (runs[-1][0], runs[-1][1] + size)
        else:
            runs.append((offset, size))
    return runs


def _read_into(fd: int, out: memoryview, offset: int) -> int:
    """Fill ``out`` from ``offset`` on, as far as the file goes; no position is shared, so threads may."""
    done = 0
    while done < len(out):
        if hasattr(os, "preadv"):
            got = os.preadv(fd, [out[done:]], offset + done)
        else:
            block = os.pread(fd, len(out) - done, offset + done)
            got = len(block)
            out[done : done + got] = block
        if not got:
            break
        done += got
    return done
