"""What a cache file holds, whichever kind it is.

A cache is one HDF5 file a split. Its *columns* are chunked datasets in which sample i owns a run of whole chunks:

    frames cache  ``frames`` [N, T, C, H, W], one chunk a sample; or [F, C, H, W], one chunk a frame, if T varies
    events cache  ``dt`` ``x`` ``y`` ``p`` [M], chunks of a fixed number of events, a sample's last one padded

Small datasets of one value a sample stand beside them: ``labels``, ``ids``, ``n_events``, ``t_start``, ``t_end``,
``crc32`` (of the sample's packed chunks in the order of the columns) and, unless every sample is one row, ``offsets``
and ``rows`` (where its rows begin and how many count). ``classes`` names the labels. Everything else is an attribute of
the file: kind, schema, key, dataset, split, sensor [H, W], spec, identity and provenance, the last three as JSON.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from dvsprep.cache import codec as codecs
from dvsprep.types import Array, digest

SCHEMA = 1
MAGIC = "dvsprep cache"
Kind = Literal["frames", "events"]


@dataclass(frozen=True)
class Header:
    """Everything about a cache that is known before its first sample."""

    kind: Kind
    dataset: str
    split: str
    sensor: tuple[int, int]
    classes: tuple[str, ...]
    ids: Sequence[str]
    labels: Sequence[int]
    identity: dict[str, Any]
    spec: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    channels: int = 2
    codec: str = codecs.DEFAULT

    @property
    def key(self) -> str:
        """The digest of the identity."""
        return digest(self.identity)


@dataclass
class Block:
    """One sample's part of a column: ``rows`` rows of ``row_shape``, packed in chunks of ``chunk`` rows."""

    dtype: str
    row_shape: tuple[int, ...]
    rows: int
    chunk: int
    packed: list[codecs.Chunk]


@dataclass
class Packed:
    """One sample, ready to be written.

    ``mended`` counts, by name, what had to be put right in its recording; the recording's first sample carries it.
    """

    index: int
    facts: dict[str, int]
    blocks: dict[str, Block]
    mended: dict[str, int] = field(default_factory=dict)

    @property
    def crc32(self) -> int:
        """Checksum of the packed chunks."""
        value = 0
        for block in self.blocks.values():
            for chunk in block.packed:
                value = codecs.crc32(chunk.data, value)
        return value


@functools.lru_cache(256)
def packing_of(codec: str, column: str, dtype: np.dtype[Any], sensor: tuple[int, int]) -> codecs.Packing:
    """Return how a codec packs a column: of x, y and p it is known how many values they can have."""
    values = {"x": sensor[1], "y": sensor[0], "p": 2}
    return codecs.packing(codec, dtype, values.get(column))


def pack_rows(array: Array, chunk: int, packing: codecs.Packing) -> Block:
    """Pack an array in chunks along its first axis; the last chunk is filled up with zeros."""
    return Block(array.dtype.str, array.shape[1:], len(array), chunk, packing.pack_rows(array, chunk))


def unpack_rows(block: Block, packing: codecs.Packing) -> Array:
    """Undo :func:`pack_rows`."""
    out = np.empty((block.rows, *block.row_shape), block.dtype)
    for at, chunk in zip(range(0, block.rows, block.chunk), block.packed, strict=True):
        packing.unpack(chunk, out[at : at + block.chunk], block.chunk)
    return out


def repack(block: Block, dtype: np.dtype[Any], packing: codecs.Packing, *, by_frame: bool = False) -> Block:
    """Pack a block anew in a wider type, or frame by frame where samples turned out to differ in T.

    Parameters
    ----------
    packing : Packing
        Of the wider type; that of the block differs from it in shuffling alone.
    """
    before = replace(packing, shuffles=packing.shuffles and np.dtype(block.dtype).itemsize > 1)
    array = unpack_rows(block, before).astype(dtype, copy=False)
    if by_frame:
        array = array.reshape(-1, *array.shape[2:])
    return pack_rows(array, 1 if by_frame else block.chunk, packing)
