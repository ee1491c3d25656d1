"""Deflate for chunks that are mostly zeros, as frames are: faster and smaller than what libraries make of them.

What comes out is a zlib stream (RFC 1950) like any other. Zeros are all that is looked for: what libraries spend on
finding other repeats is lost on counts of events and on differences of their times. Streams of this kind are also
read faster, into the caller's memory.
"""

from __future__ import annotations

import itertools
import struct
import threading
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dvsprep.types import Array

try:
    import deflate

    _adler32: Callable[..., int] = deflate.adler32
except ImportError:
    _adler32 = zlib.adler32

BLOCK = 1 << 22  # bytes that have one code; a chunk of frames is mostly one block
MANY, STEP = 1 << 16, 8  # bytes from which on only one piece in so many is looked at for the code
KEPT = 1 << 24  # bytes a thread keeps to write to
SMALLEST = 1 << 12  # bytes: of fewer libraries are faster
LOOKED_AT = 1 << 12  # bytes, about, from which it is told how many are zeros
MOST = 0.4  # of them may be other than zero; with more, libraries are as fast
WORTH_READING = 1 << 17  # bytes; in fewer the tables that a reader makes first do not pay
AT_ONCE = 2  # streams that are read side by side
_HEAD = b"\x78\x01"
_own = threading.local()
_loading = threading.Lock()
_inflate: Callable[..., tuple[int, int]] | None = None
_NOTHING = np.zeros(0, np.uint8)
_NOTHING.flags.writeable = False


def compress(raw: Array, size: int | None = None, most: float = MOST) -> list[bytes] | None:
    """Return each ``size`` bytes of ``raw : uint8[n]``, n unless told, as a zlib stream.

    None where more than ``most`` of them, 0 to 1, are other than zero, or where they are too few: it does not pay.
    """
    from dvsprep.cache import _kernels_deflate  # not at the top: who only looks into a cache need not wait for Numba

    size = raw.size if size is None else size
    if size < SMALLEST:
        return None
    raw = raw.view()
    raw.flags.writeable = False  # one type for the kernel, wherever the bytes come from
    ends = np.empty(raw.size // size, np.int64)
    out = _scratch(ends.size * _kernels_deflate.most_bytes(size, BLOCK))
    if not _kernels_deflate.compress(raw, size, BLOCK, float(most), *_looks(raw.size), out, ends):
        return None
    return _streams(out, ends.tolist(), raw.reshape(-1, size))


def compress_each(rows: Array) -> list[bytes]:
    """Return what :func:`compress` makes of each of ``rows : uint8[K, n]`` alone, b"" for None."""
    from dvsprep.cache import _kernels_deflate

    size = rows.shape[1]
    if size < SMALLEST:
        return [b""] * len(rows)
    raw = rows.reshape(-1)
    raw.flags.writeable = False
    ends = np.empty(len(rows), np.int64)
    out = _scratch(ends.size * _kernels_deflate.most_bytes(size, BLOCK))
    _kernels_deflate.compress_each(raw, size, BLOCK, MOST, *_looks(size), out, ends)
    return _streams(out, ends.tolist(), rows)


def _looks(size: int) -> tuple[int, int]:
    """Return one in how many bytes is looked at to see whether it pays, and one in how many pieces for the code."""
    return size // LOOKED_AT | 1, STEP if size >= MANY else 1


def _streams(out: Array, ends: list[int], parts: Array) -> list[bytes]:
    """Put the sums of their bytes behind the streams, and return these."""
    from dvsprep.cache._kernels_deflate import SUM

    places = list(itertools.pairwise([0, *ends]))
    for (start, end), part in zip(places, parts, strict=True):
        if end > start:
            struct.pack_into(">I", out.data, end - SUM, _adler32(part))
    packed = out[: ends[-1]].tobytes()
    return [packed] if len(ends) == 1 else [packed[start:end] for start, end in places]


def _scratch(size: int) -> Array:
    """Return this thread's memory to write to, of which most is never touched."""
    if size > KEPT:
        return np.empty(size, np.uint8)
    kept: Array | None = getattr(_own, "out", None)
    if kept is None or kept.size < size:
        kept = _own.out = np.empty(size, np.uint8)
    return kept


def load() -> None:
    """Make :func:`decompress` ready, once a process: Numba takes a third of a second to load.

    Worth it where many samples are read. To be called before threads or forked workers begin.
    """
    global _inflate
    with _loading:
        if _inflate is None:
            from dvsprep.cache import _kernels_inflate

            _kernels_inflate.inflate(_NOTHING, np.zeros(0, np.uint8), _NOTHING, np.zeros(0, np.uint8))
            _inflate = _kernels_inflate.inflate


def decompress(streams: Sequence[Any], outs: Sequence[Array]) -> list[bool]:
    """Unpack zlib streams as :func:`compress` makes them straight into arrays ``uint8[n]``, contiguous, n known before.

    A third faster than libdeflate, two at a time twice as fast, and no copy; holds no GIL. Does nothing before
    :func:`load`.

    Returns
    -------
    Of each whether it is done. False, with anything in its array, where the stream is of another make, damaged or not
    of n bytes: a library's turn.
    """
    done = [False] * len(streams)
    if _inflate is None:
        return done
    ours = [
        k
        for k, (stream, out) in enumerate(zip(streams, outs, strict=True))
        if out.size >= WORTH_READING and bytes(stream[: len(_HEAD)]) == _HEAD
    ]
    for pair in (ours[at : at + AT_ONCE] for at in range(0, len(ours), AT_ONCE)):
        packed, unpacked = [_bytes(streams[k]) for k in pair], [outs[k] for k in pair]
        for out in unpacked:
            out[:] = 0
        if len(pair) == 1:
            packed.append(_NOTHING)
            unpacked.append(unpacked[0][:0])
        ends = _inflate(packed[0][len(_HEAD) :], unpacked[0], packed[1][len(_HEAD) :], unpacked[1])
        for k, stream, out, end in zip(pair, packed, unpacked, ends, strict=False):
            done[k] = end >= 0 and stream[len(_HEAD) + end :].tobytes() == struct.pack(">I", _adler32(out))
    return done


def _bytes(stream: Any) -> Array:
    packed = np.frombuffer(stream, np.uint8)
    packed.flags.writeable = False  # one type for the kernel
    return packed
