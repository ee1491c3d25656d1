"""Deflate for chunks that are mostly zeros, as frames are: faster and smaller than what libraries make of them.

What comes out is a zlib stream (RFC 1950) like any other. Zeros are all that is looked for: what libraries spend on
finding other repeats is lost on counts of events.
"""

from __future__ import annotations

import struct
import threading

import numpy as np

from dvsprep.types import Array

TOKENS = 1 << 18  # in a block; a chunk of frames is mostly one block
SMALLEST, LARGEST = 1 << 12, 1 << 28  # bytes: of fewer libraries are faster, of more the sums for Adler-32 overflow
LOOKED_AT = 1 << 12  # bytes, about, from which it is told how many are zeros
MOST = 0.4  # of them may be other than zero; with more, libraries are as fast
_own = threading.local()


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
    parts, at = [b"\x78\x01"], 0
    while at < raw.size:
        counts = np.zeros((4, 512), np.uint32)
        tokens, at = _kernels_deflate.tokenize(raw, at, _own.tokens, counts, sums)
        parts.append(_kernels_deflate.block(_own.tokens[:tokens], counts, at == raw.size, state).tobytes())
    low, high = 1 + int(sums[0]), raw.size + int(sums[1])
    return b"".join([*parts, struct.pack(">HH", high % 65_521, low % 65_521)])
