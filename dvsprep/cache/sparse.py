"""Deflate for chunks that are mostly zeros, as frames are: faster and smaller than what libraries make of them.

What comes out is a zlib stream (RFC 1950) like any other. Zeros are all that is looked for: what libraries spend on
finding other repeats is lost on counts of events. Streams of this kind are also read faster, into the caller's memory.
"""

from __future__ import annotations

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

TOKENS = 1 << 18  # in a block; a chunk of frames is mostly one block
SMALLEST, LARGEST = 1 << 12, 1 << 28  # bytes: of fewer libraries are faster, of more the sums for Adler-32 overflow
LOOKED_AT = 1 << 12  # bytes, about, from which it is told how many are zeros
MOST = 0.4  # of them may be other than zero; with more, libraries are as fast
WORTH_READING = 1 << 17  # bytes; in fewer the tables that a reader makes first do not pay
_HEAD = b"\x78\x01"
_own = threading.local()
_loading = threading.Lock()
_inflate: Callable[..., int] | None = None


def compress(raw: Array) -> bytes | None:
    """Return ``raw : uint8[n]`` as a zlib stream, or None where it holds too few zeros for it to pay."""
    from dvsprep.cache import _kernels_deflate  # not at the top: who only looks into a cache need not wait for Numba

    if not SMALLEST <= raw.size < LARGEST:
        return None
    some = raw[:: raw.size // LOOKED_AT | 1]
    if np.count_nonzero(some) > MOST * some.size:
        return None
    if not hasattr(_own, "tokens"):
        _own.tokens = np.empty(TOKENS, np.uint32)
    raw = raw.view()
    raw.flags.writeable = False  # one type for the kernel, wherever the bytes come from
    sums, state = np.zeros(2, np.uint64), np.zeros(2, np.uint64)
    parts, at = [_HEAD], 0
    while at < raw.size:
        counts = np.zeros((4, 512), np.uint32)
        tokens, at = _kernels_deflate.tokenize(raw, at, _own.tokens, counts, sums)
        parts.append(_kernels_deflate.block(_own.tokens[:tokens], counts, at == raw.size, state).tobytes())
    low, high = 1 + int(sums[0]), raw.size + int(sums[1])
    return b"".join([*parts, struct.pack(">HH", high % 65_521, low % 65_521)])


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
