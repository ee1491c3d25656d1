"""Packed samples on their way into a cache: an append-only file from which the build after a killed one goes on.

HDF5 has no journal: a file that was being written when its process died cannot be trusted. So samples are appended
here, batch by batch, each batch with its own checksum, and the HDF5 file is written in one go once all are there. A
batch cut short at the end is noticed and dropped.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dvsprep.cache.codec import Chunk, crc32
from dvsprep.cache.layout import Block, Packed
from dvsprep.types import Array

_FRAME = struct.Struct("<4sIQI")  # magic, bytes of the JSON head, bytes of the chunks, crc32 of all else
_MAGIC = b"DVSr"
FACTS = ("n_events", "t_start", "t_end")


class Spool:
    """A file of packed samples; in memory stay a few numbers a sample.

    Parameters
    ----------
    path : Path
    tag : str
        What the samples depend on besides the cache's key (the codec); a spool of another tag is begun anew.
    samples : int
        How many there will be.

    Attributes
    ----------
    done : bool[samples]
        Which are there.
    facts : dict of int64[samples]
        n_events, t_start and t_end of those.
    columns : dict of Extent
        What the samples' blocks are like, by column.
    mended : dict
        What had to be put right in recordings, counted by name.
    """

    def __init__(self, path: Path, tag: str, samples: int) -> None:
        self.path = path
        self.done = np.zeros(samples, bool)
        self.facts = {name: np.zeros(samples, np.int64) for name in FACTS}
        self.columns: dict[str, Extent] = {}
        self.mended: dict[str, int] = {}
        self._batch = np.zeros((2, samples), np.int64)  # where the batch of each sample begins, and its bytes
        self._latest: tuple[int, dict[int, Packed]] = (-1, {})
        self._tag = b"dvsprep spool 3 " + tag.encode() + b"\n"
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        end = self._recover()
        if os.fstat(self._file.fileno()).st_size > end:
            self._file.truncate(end)
        self._file.seek(end)
        self._end = end  # to ask the file for it takes as long as to write

    def _recover(self) -> int:
        """Find the whole batches; return where they end."""
        if self._file.readline() != self._tag:
            self._file.seek(0)
            if os.fstat(self._file.fileno()).st_size:  # ext4 flushes a file that was cut to nothing when it is closed
                self._file.truncate(0)
            self._file.write(self._tag)
            return len(self._tag)
        end, size_now = len(self._tag), os.fstat(self._file.fileno()).st_size
        while len(frame := self._file.read(_FRAME.size)) == _FRAME.size:
            magic, head_size, size, checksum = _FRAME.unpack(frame)
            if magic != _MAGIC or end + _FRAME.size + head_size + size > size_now:
                break  # cut short, or what a file system leaves of blocks that never reached the disk
            body = self._file.read(head_size + size)
            if crc32(body, crc32(frame[:-4])) != checksum:
                break
            self._remember(end, _FRAME.size + len(body), json.loads(body[:head_size]))
            end += _FRAME.size + len(body)
        return end

    def _remember(self, at: int, size: int, head: dict[str, Any]) -> None:
        indices = head["indices"]
        self.done[indices] = True
        self._batch[0, indices], self._batch[1, indices] = at, size
        for name, values in self.facts.items():
            values[indices] = head["facts"][name]
        for name, column in head["columns"].items():
            self.columns.setdefault(name, Extent(len(self.done))).add(indices, column)
        for what, count in head["mended"].items():
            self.mended[what] = self.mended.get(what, 0) + count

    def append(self, samples: Sequence[Packed]) -> None:
        """Append a batch of samples."""
        if not samples:
            return
        mended: dict[str, int] = {}
        for sample in samples:
            for what, count in sample.mended.items():
                mended[what] = mended.get(what, 0) + count
        head = {
            "indices": [sample.index for sample in samples],
            "facts": {name: [sample.facts.get(name, 0) for sample in samples] for name in FACTS},
            "columns": {name: _facts([sample.blocks[name] for sample in samples]) for name in samples[0].blocks},
            "mended": mended,
        }
        head_bytes = json.dumps(head, separators=(",", ":")).encode()
        chunks = [chunk.data for sample in samples for b in sample.blocks.values() for chunk in b.packed]
        batch = bytearray().join([bytes(_FRAME.size), head_bytes, *chunks])
        at, size = _FRAME.size, len(batch) - _FRAME.size - len(head_bytes)
        frame = _FRAME.pack(_MAGIC, len(head_bytes), size, 0)[:-4]
        # Summed and written at once: around each call that lets Python's lock go, other threads take it.
        batch[:at] = frame + crc32(memoryview(batch)[at:], crc32(frame)).to_bytes(4, "little")
        self._file.write(batch)
        self._remember(self._end, len(batch), head)
        self._end += len(batch)

    def read(self, index: int) -> Packed:
        """Return one sample; asked for in the order they came, each batch is read once."""
        at, size = self._batch[:, index].tolist()
        if self._latest[0] != at:
            self._latest = at, {sample.index: sample for sample in self._read_batch(at, size)}
        return self._latest[1][index]

    def _read_batch(self, at: int, size: int) -> Iterator[Packed]:
        self._file.seek(at)
        data = memoryview(self._file.read(size))
        _, head_size, _, _ = _FRAME.unpack_from(data)
        position = _FRAME.size + head_size
        head = json.loads(bytes(data[_FRAME.size : position]))
        columns = [(name, _Walk(column)) for name, column in head["columns"].items()]
        for k, index in enumerate(head["indices"]):
            blocks = {}
            for name, walk in columns:
                blocks[name], position = walk.next(k, data, position)
            yield Packed(index, {name: head["facts"][name][k] for name in FACTS}, blocks)

    def close(self) -> None:
        """Close the file; the samples stay."""
        self._file.close()

    def discard(self) -> None:
        """Close and remove the file."""
        self.close()
        self.path.unlink(missing_ok=True)


class Joined:
    """Spools whose samples, one spool after the other, are those of a cache; what :class:`Spool` says holds here."""

    def __init__(self, parts: Sequence[Spool]) -> None:
        self._parts = parts
        self._ends = np.cumsum([len(part.done) for part in parts])
        self.done = np.concatenate([part.done for part in parts])
        self.facts = {name: np.concatenate([part.facts[name] for part in parts]) for name in FACTS}
        self.columns = {name: Extent.join([part.columns[name] for part in parts]) for name in parts[0].columns}
        self.mended: dict[str, int] = {}
        for part in parts:
            for what, count in part.mended.items():
                self.mended[what] = self.mended.get(what, 0) + count

    def read(self, index: int) -> Packed:
        """Return one sample."""
        k = int(np.searchsorted(self._ends, index, side="right"))
        part = self._parts[k]
        return part.read(index - int(self._ends[k]) + len(part.done))

    def discard(self) -> None:
        """Close and remove the files."""
        for part in self._parts:
            part.discard()


def _facts(blocks: Sequence[Block]) -> dict[str, Any]:
    """Return what is to be known of a batch's blocks of a column, as few lists of numbers: there may be many blocks."""
    kinds: dict[tuple[Any, ...], int] = {}
    return {
        "kind": [kinds.setdefault((b.dtype, b.row_shape, b.chunk), len(kinds)) for b in blocks],
        "kinds": list(kinds),
        "rows": [b.rows for b in blocks],
        "chunks": [len(b.packed) for b in blocks],
        "sizes": [len(chunk.data) for b in blocks for chunk in b.packed],
        "masks": [chunk.mask for b in blocks for chunk in b.packed],
    }


class _Walk:
    """Puts the blocks of a column together again, one sample after the other."""

    def __init__(self, column: dict[str, Any]) -> None:
        self.kinds = [(dtype, tuple(row_shape), chunk) for dtype, row_shape, chunk in column["kinds"]]
        self.kind, self.rows, self.chunks = column["kind"], column["rows"], column["chunks"]
        self.stored = iter(list(zip(column["sizes"], column["masks"], strict=True)))

    def next(self, k: int, data: memoryview, position: int) -> tuple[Block, int]:
        """Return sample k's block, whose chunks begin at ``position``, and where they end."""
        packed = []
        for _ in range(self.chunks[k]):
            size, mask = next(self.stored)
            packed.append(Chunk(mask, data[position : position + size]))
            position += size
        dtype, row_shape, chunk = self.kinds[self.kind[k]]
        return Block(dtype, row_shape, self.rows[k], chunk, packed), position


class Extent:
    """What the blocks of a column are like: their types and shapes, and the rows of each sample."""

    def __init__(self, samples: int) -> None:
        self.dtypes: set[str] = set()
        self.row_shapes: set[tuple[int, ...]] = set()
        self.chunk = 1
        self.rows: Array = np.zeros(samples, np.int64)
        self.lengths: Array = np.zeros(samples, np.int64)  # of the first axis of a row: T, where a row is a sample

    @classmethod
    def join(cls, parts: Sequence[Extent]) -> Extent:
        """Return what the blocks of several spools are like."""
        joined = cls(0)
        joined.dtypes = set().union(*(part.dtypes for part in parts))
        joined.row_shapes = set().union(*(part.row_shapes for part in parts))
        (joined.chunk,) = {part.chunk for part in parts}
        joined.rows = np.concatenate([part.rows for part in parts])
        joined.lengths = np.concatenate([part.lengths for part in parts])
        return joined

    def add(self, indices: Sequence[int], column: dict[str, Any]) -> None:
        """Take in a batch of blocks, as :func:`_facts` tells them."""
        lengths = []
        for dtype, row_shape, chunk in column["kinds"]:
            self.dtypes.add(dtype)
            self.row_shapes.add(tuple(row_shape))
            self.chunk = chunk
            lengths.append(row_shape[0] if row_shape else 0)
        self.rows[indices] = column["rows"]
        self.lengths[indices] = [lengths[kind] for kind in column["kind"]]
