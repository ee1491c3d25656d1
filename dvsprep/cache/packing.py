"""Events of samples, or pieces of them, packed for an event cache."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dvsprep.cache.codec import Packing, kernels
from dvsprep.cache.layout import Block, Packed, pack_rows, packing_of
from dvsprep.types import Array, Events


class Piece(NamedTuple):
    """Events of a sample: all of them, or, of a sample in a long recording, the next ones.

    ``before`` is the time of the event before the first one, None where there is none; ``last`` tells that no more
    will come. A piece that is not the last one fills whole chunks. ``packed`` it has no events any more.
    """

    sample: int
    events: Events | None
    before: int | None = None
    last: bool = True
    mended: tuple[tuple[str, int], ...] = ()
    packed: Packed | None = None


class PackHow(NamedTuple):
    """How the samples of an event cache are packed."""

    sensor: tuple[int, int]
    chunk: int
    codec: str

    def packing(self, column: str, dtype: np.dtype[Any]) -> Packing:
        """Return the packing of a column."""
        return packing_of(self.codec, column, dtype, self.sensor)


def pack_events(piece: Piece, how: PackHow) -> Packed:
    """Pack a piece of a sample's events: x, y, p as they are, and the differences of t."""
    assert piece.events is not None
    events = piece.events
    n = len(events["t"])
    blocks = {"dt": _pack_times(events["t"], piece.before, how)}
    for name in ("x", "y", "p"):
        column: Array = events[name]
        blocks[name] = pack_rows(column, how.chunk, how.packing(name, column.dtype))
    t_start, t_end = (int(events["t"][0]), int(events["t"][-1])) if n else (0, 0)
    return Packed(piece.sample, {"n_events": n, "t_start": t_start, "t_end": t_end}, blocks, dict(piece.mended))


def _pack_times(t: Array, before: int | None, how: PackHow) -> Block:
    """Pack the differences of times, in 16 bits where none is longer."""
    n = len(t)
    if n == 0:
        return Block(np.dtype(np.uint16).str, (), 0, how.chunk, [])
    t = np.ascontiguousarray(t, np.int64)
    if not t.flags.writeable:
        t = t.copy()  # one type for the kernels
    now = np.int64(t[0] if before is None else before)
    largest = kernels().largest_step(t, now)
    dtype = np.dtype(np.uint16 if largest < 1 << 16 else np.uint32 if largest < 1 << 32 else np.uint64)
    packing = how.packing("dt", dtype)
    if not packing.shuffles:
        return pack_rows(np.diff(t, prepend=now).astype(dtype), how.chunk, packing)
    packed, planes = [], np.empty((dtype.itemsize, how.chunk), np.uint8)
    for start in range(0, n, how.chunk):
        part = t[start : start + how.chunk]
        kernels().subtract_times(part, now, planes)
        planes[:, len(part) :] = 0
        packed.append(packing.deflate_times(planes.reshape(-1)))
        now = part[-1]
    return Block(dtype.str, (), n, how.chunk, packed)
