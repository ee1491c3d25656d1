"""What a cache service and its clients say to each other: facts of a cache as JSON, samples as framed bytes.

Samples travel as their chunks lie in the cache file; nothing is inflated on the way. A message of n samples is, in
little-endian numbers without gaps::

    "DVS1"  n u32  |  n heads  |  chunk heads of all samples  |  their chunks
    head           index u32, rows u32, crc32 u32, chunks u32, t_start i64
    chunk head     mask u32 (bit k: filter k was left out), bytes u32

A sample's chunks come column by column in the order of the facts' ``columns``; ``crc32`` is of all of them, as stored.
``rows`` counts the sample's rows: of events, of frames where T varies, else it is 1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np

from dvsprep.cache import codec
from dvsprep.cache.codec import Bytes, Chunk, Packing
from dvsprep.errors import IntegrityError
from dvsprep.types import Array, Events

MEDIA_TYPE = "application/vnd.dvsprep.samples"
_START = struct.Struct("<4sI")
HEAD = np.dtype([("index", "<u4"), ("rows", "<u4"), ("crc32", "<u4"), ("chunks", "<u4"), ("t_start", "<i8")])
CHUNK = np.dtype([("mask", "<u4"), ("bytes", "<u4")])
MAGIC = b"DVS1"


@dataclass(frozen=True)
class Column:
    """How a column's chunks are undone: rows of ``row_shape``, ``chunk`` of them in each."""

    name: str
    dtype: str
    row_shape: tuple[int, ...]
    chunk: int
    bits: int
    shuffles: bool
    deflates: Literal["no", "all", "padded"]

    @classmethod
    def of(cls, name: str, dtype: np.dtype[Any], row_shape: tuple[int, ...], chunk: int, packing: Packing) -> Column:
        """Return the facts of a column."""
        return cls(name, dtype.str, row_shape, chunk, packing.bits, packing.shuffles, packing.deflates)

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Column:
        """Rebuild a column from :meth:`to_dict`."""
        known = {name: facts[name] for name in cls.__dataclass_fields__}
        return cls(**known | {"row_shape": tuple(int(n) for n in facts["row_shape"])})

    def to_dict(self) -> dict[str, Any]:
        """Return the column as JSON values."""
        return asdict(self) | {"row_shape": list(self.row_shape)}

    @cached_property
    def packing(self) -> Packing:
        """The filters that :meth:`unpack` undoes."""
        return Packing(self.bits, self.shuffles, self.deflates)

    def chunks(self, rows: int) -> int:
        """Return how many chunks ``rows`` rows are."""
        return 0 if 0 in self.row_shape else -(-rows // self.chunk)

    def unpack(self, chunks: Sequence[Chunk], rows: int) -> Array:
        """Return an array of ``rows`` rows, the caller's own."""
        out = np.empty((rows, *self.row_shape), self.dtype)
        self.unpack_into(chunks, out)
        return out

    def unpack_into(self, chunks: Sequence[Chunk], out: Array) -> None:
        """Fill ``out : [rows, *row_shape]``."""
        packing = self.packing
        if len(chunks) != self.chunks(len(out)) or not all(packing.undoes(chunk) for chunk in chunks):
            raise IntegrityError(
                f"{self.name}: {len(chunks)} chunks that are not {len(out)} rows as they are packed here"
            )
        for k, chunk in enumerate(chunks):
            packing.unpack(chunk, out[k * self.chunk : (k + 1) * self.chunk], self.chunk)


class Sample(NamedTuple):
    """One sample on its way: where it stands in its cache, and its chunks, column after column."""

    i: int
    rows: int
    crc32: int
    t_start: int
    chunks: list[Chunk]

    @property
    def bytes(self) -> int:
        """Packed bytes."""
        return sum(len(chunk.data) for chunk in self.chunks)

    def is_sound(self) -> bool:
        """Tell whether the chunks are those that were stored."""
        value = 0
        for chunk in self.chunks:
            value = codec.crc32(chunk.data, value)
        return value == self.crc32

    def columns(self, columns: Sequence[Column]) -> Iterator[list[Chunk]]:
        """Yield each column's chunks."""
        counts = [column.chunks(self.rows) for column in columns]
        if sum(counts) != len(self.chunks):
            raise IntegrityError(f"sample {self.i} came in {len(self.chunks)} chunks, expected {sum(counts)}")
        start = 0
        for count in counts:
            yield self.chunks[start : start + count]
            start += count


def head_of(samples: Iterable[tuple[int, int, int, int, Sequence[tuple[int, int]]]]) -> bytes:
    """Return what stands before the chunks, of (index, rows, crc32, t_start, [(mask, bytes) of each chunk])."""
    found = list(samples)
    heads = np.array([(i, rows, crc, len(chunks), t) for i, rows, crc, t, chunks in found], HEAD)
    chunks = np.array([tuple(chunk) for *_, chunks in found for chunk in chunks], CHUNK)
    return _START.pack(MAGIC, len(found)) + heads.tobytes() + chunks.tobytes()


def pack(samples: Sequence[Sample]) -> bytes:
    """Return samples as one message."""
    heads = head_of((s.i, s.rows, s.crc32, s.t_start, [(c.mask, len(c.data)) for c in s.chunks]) for s in samples)
    return b"".join([heads, *(chunk.data for sample in samples for chunk in sample.chunks)])


def unpack(message: Bytes) -> list[Sample]:
    """Undo :func:`pack`; the chunks are views of the message.

    Raises
    ------
    IntegrityError
        It is no such message, was cut, or a sample's chunks are not those of its checksum.
    """
    if len(message) < _START.size or bytes(message[:4]) != MAGIC:
        raise IntegrityError("the answer is no message of samples")
    view, n = memoryview(message), _START.unpack_from(message)[1]
    at = _START.size + n * HEAD.itemsize
    if len(view) < at:
        raise IntegrityError(f"a message of {n} samples ends after {len(view):,} bytes")
    heads = np.frombuffer(view, HEAD, n, _START.size)
    total = int(heads["chunks"].sum(dtype=np.int64))
    if len(view) < at + total * CHUNK.itemsize:
        raise IntegrityError(f"a message of {total} chunks ends after {len(view):,} bytes")
    sizes = np.frombuffer(view, CHUNK, total, at)
    at += sizes.nbytes
    if len(view) != at + int(sizes["bytes"].sum(dtype=np.int64)):
        raise IntegrityError(f"a message of {len(view):,} bytes, expected {at + int(sizes['bytes'].sum()):,}")
    parts = iter(sizes.tolist())
    samples = []
    for index, rows, crc32, count, t_start in heads.tolist():
        chunks = []
        for _ in range(count):
            mask, size = next(parts)
            chunks.append(Chunk(mask, view[at : at + size]))
            at += size
        sample = Sample(index, rows, crc32, t_start, chunks)
        if not sample.is_sound():
            raise IntegrityError(f"sample {index}: its bytes are not those of its checksum")
        samples.append(sample)
    return samples


def frames_of(sample: Sample, columns: Sequence[Column], *, varies: bool) -> Array:
    """Return a sample's frames [T, C, H, W], the caller's own."""
    if not columns:
        raise IntegrityError(f"sample {sample.i}: its cache holds no frames")
    (chunks,) = sample.columns(columns)
    frames = columns[0].unpack(chunks, sample.rows)
    return frames if varies else np.asarray(frames[0])


def events_of(sample: Sample, columns: Sequence[Column], *, times: bool = True) -> Events:
    """Return a sample's events as they are kept; without ``times``, t is empty."""
    kept = {}
    for column, chunks in zip(columns, sample.columns(columns), strict=True):
        if times or column.name != "dt":
            kept[column.name] = column.unpack(chunks, sample.rows)
    t = np.empty(0, np.int64)
    if times:
        t = np.cumsum(kept["dt"], dtype=np.int64)
        t += sample.t_start
    return Events(t=t, x=kept["x"], y=kept["y"], p=kept["p"])
