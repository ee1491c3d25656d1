"""Deflate for chunks that are mostly zeros, as frames are: faster and smaller than what libraries make of them.

What comes out is a zlib stream (RFC 1950) like any other. Zeros are all that is looked for: what libraries spend on
finding other repeats is lost on counts of events. Streams of this kind are also read faster, into the caller's memory.
"""

from __future__ import annotations

import itertools
import struct
import threading
import zlib
from collections.abc import Callable
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
SMALLEST, LARGEST = 1 << 12, 1 << 28  # bytes: of fewer libraries are faster, of more the sums for Adler-32 overflow
LOOKED_AT = 1 << 12  # bytes, about, from which it is told how many are zeros
MOST = 0.4  # of them may be other than zero; with more, libraries are as fast
WORTH_READING = 1 << 17  # bytes; in fewer the tables that a reader makes first do not pay
_HEAD = b"\x78\x01"
_own = threading.local()
_loading = threading.Lock()
_inflate: Callable[..., int] | None = None


def compress(raw: Array, size: int | None = None) -> list[bytes] | None:
    """Return each ``size`` bytes of ``raw : uint8[n]``, n unless told, as a zlib stream.

    None where they hold too few zeros for it to pay.
    """
    from dvsprep.cache import _kernels_deflate  # not at the top: who only looks into a cache need not wait for Numba

    size = raw.size if size is None else size
    if not SMALLEST <= size < LARGEST:
        return None
    some = raw[:: raw.size // LOOKED_AT | 1]
    if np.count_nonzero(some) > MOST * some.size:
        return None
    raw = raw.view()
    raw.flags.writeable = False  # one type for the kernel, wherever the bytes come from
    ends, streams, step = np.empty(raw.size // size, np.int64), raw.reshape(-1, size), STEP if raw.size >= MANY else 1
    largest = np.array([streams[:, start : start + BLOCK].max() for start in range(0, size, BLOCK)], np.uint8)
    out = _scratch(ends.size * _kernels_deflate.most_bytes(size, BLOCK))
    _kernels_deflate.compress(raw, size, BLOCK, largest, step, out, ends)
    packed = out[: ends[-1]].tobytes()
    return [packed] if ends.size == 1 else [packed[a:b] for a, b in itertools.pairwise([0, *ends.tolist()])]


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

            packed = np.zeros(0, np.uint8)
            packed.flags.writeable = False
            _kernels_inflate.inflate(packed, np.zeros(0, np.uint8))
            _inflate = _kernels_inflate.inflate


def decompress(stream: Any, out: Array) -> bool:
    """Unpack a zlib stream as :func:`compress` makes them straight into ``out : uint8[n]``, contiguous, n known before.

    A third faster than libdeflate, and no copy; holds no GIL. Does nothing before :func:`load`.

    Returns
    -------
    False, with anything in ``out``, where the stream is of another make, damaged or not of n bytes: a library's turn.
    """
    if _inflate is None or out.size < WORTH_READING or bytes(stream[: len(_HEAD)]) != _HEAD:
        return False
    packed = np.frombuffer(stream, np.uint8)
    packed.flags.writeable = False  # one type for the kernel
    out[:] = 0
    end = len(_HEAD) + int(_inflate(packed[len(_HEAD) :], out))
    return end >= len(_HEAD) and packed[end:].tobytes() == struct.pack(">I", _adler32(out))
