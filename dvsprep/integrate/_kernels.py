"""Counting events into frames. No checks, no I/O; the slow twins stand in ``tests/naive.py``."""

from __future__ import annotations

import numpy as np

from dvsprep.jit import kernel


@kernel
def count(x, y, p, edges, limit, out):
    """Add events ``[edges[k], edges[k + 1])`` to ``out : uint[T, C, H, W]``, zeroed by the caller, C = 1 or 2.

    With one channel polarity does not count. Returns False when a count would pass ``limit``, the largest value of
    ``out``'s type.
    """
    mask = out.shape[1] - 1
    for k in range(out.shape[0]):
        for i in range(edges[k], edges[k + 1]):
            before = out[k, p[i] & mask, y[i], x[i]]
            if before == limit:
                return False
            out[k, p[i] & mask, y[i], x[i]] = before + 1
    return True


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
