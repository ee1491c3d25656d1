"""Counting events into frames. No checks, no I/O; the slow twins stand in ``tests/naive.py``."""

from __future__ import annotations

import numpy as np

from dvsprep.jit import kernel


@kernel
def count(x, y, p, edges, limit, out):
    """Add events ``[edges[k], edges[k + 1])`` to ``out : uint[T, C, H, W]``, contiguous and zeroed, C = 1 or 2.

    With one channel polarity does not count. Returns False when a count has passed ``limit``, the largest value of
    ``out``'s type.

    Places are found first, for some events at once, and then counted: while counts are written, which might be the
    events themselves for all that the compiler knows, nothing else can be done ahead.
    """
    plane, width = np.uint32(out.shape[2] * out.shape[3]), np.uint32(out.shape[3])
    mask = np.uint8(out.shape[1] - 1)
    frames = out.reshape(out.shape[0], out.shape[1] * out.shape[2] * out.shape[3])
    places = np.empty(2048, np.uint32)
    seen = np.int64(0)
    for k in range(frames.shape[0]):
        frame, end = frames[k], edges[k + 1]
        for start in range(edges[k], end, places.size):
            n = min(places.size, end - start)
            columns, rows, signs = x[start : start + n], y[start : start + n], p[start : start + n]
            for i in range(n):
                places[i] = np.uint32(signs[i] & mask) * plane + np.uint32(rows[i]) * width + np.uint32(columns[i])
            for i in range(n):
                place = np.uint64(places[i])
                now = np.int64(frame[place]) + 1
                frame[place] = now
                seen |= now  # has a bit above those of the type as soon as one count has
    return seen <= limit


@kernel
def sums(frames, out):
    """Write the sum of each channel of ``frames : uint[T, C, H, W]`` to ``out : int64[C]``."""
    for c in range(frames.shape[1]):
        total = np.int64(0)
        for k in range(frames.shape[0]):
            plane = frames[k, c]
            for row in range(plane.shape[0]):
                for col in range(plane.shape[1]):
                    total += np.int64(plane[row, col])
        out[c] = total
