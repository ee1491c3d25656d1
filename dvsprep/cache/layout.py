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

from collections.abc import Sequence
from dataclasses import dataclass, field
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
    packed: list[bytes]


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
                value = codecs.crc32(chunk, value)
        return value


def pack_rows(array: Array, chunk: int, codec: codecs.Codec) -> Block:
    """Pack an array in chunks along its first axis; the last chunk is padded with zeros."""
    packed = []
    for start in range(0, len(array), chunk):
        part = array[start : start + chunk]
        if len(part) < chunk:
            padded = np.zeros((chunk, *array.shape[1:]), array.dtype)
            padded[: len(part)] = part
            part = padded
        packed.append(codec.pack(np.ascontiguousarray(part)))
    return Block(array.dtype.str, array.shape[1:], len(array), chunk, packed)


def unpack_rows(block: Block, codec: codecs.Codec) -> Array:
    """Undo :func:`pack_rows`."""
    dtype = np.dtype(block.dtype)
    out = np.empty((len(block.packed) * block.chunk, *block.row_shape), dtype)
    for i, chunk in enumerate(block.packed):
        out[i * block.chunk : (i + 1) * block.chunk] = codec.unpack(chunk, dtype, (block.chunk, *block.row_shape))
    return out[: block.rows]


def repack(block: Block, dtype: np.dtype[Any], codec: codecs.Codec, *, by_frame: bool = False) -> Block:
    """Pack a block anew in a wider type, or frame by frame where samples turned out to differ in T."""
    array = unpack_rows(block, codec).astype(dtype, copy=False)
    if by_frame:
        array = array.reshape(-1, *array.shape[2:])
    return pack_rows(array, 1 if by_frame else block.chunk, codec)
