"""Counting events into frames. No checks, no I/O; the slow twins stand in ``tests/naive.py``."""

from __future__ import annotations

import numpy as np

from dvsprep.jit import kernel, largest_of, load64

U8, U16, U32 = np.uint64(8), np.uint64(16), np.uint64(32)
BYTES, PAIRS, HALF = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF), np.uint64(0xFFFFFFFF)


COUNTED, FULL, OUTSIDE = 0, 1, 2  # what counting came to


@kernel
def _nonzero(values):
    found = np.uint32(0)
    for value in values:
        found += np.uint32(value != 0)
    return np.int64(found)


@kernel
def count(x, y, p, edges, limit, out, used):
    """Count events ``[edges[k], edges[k + 1])`` into frame k of ``out : uint[T, C, H, W]``, contiguous, C = 1 or 2.

    With one channel polarity does not count. All in one call: for each the GIL is handed over, which takes as long.

    Parameters
    ----------
    limit : int
        The largest value of ``out``'s type.
    out
        Written, whatever it held.
    used : int64[C]
        Written: how many events there are for each channel.

    Returns
    -------
    COUNTED, or FULL where a count has passed ``limit``, or OUTSIDE where an event lies beside the sensor
    """
    # Places are found first, for some events at once, and then counted: while counts are written, which might be the
    # events themselves for all that the compiler knows, nothing else can be done ahead.
    height, width = np.uint32(out.shape[2]), np.uint32(out.shape[3])
    plane, mask = height * width, np.uint8(out.shape[1] - 1)
    frames = out.reshape(out.shape[0], out.shape[1] * out.shape[2] * out.shape[3])
    places = np.empty(2048, np.uint32)
    seen, on = np.int64(0), np.int64(0)
    for k in range(frames.shape[0]):
        frame, end = frames[k], edges[k + 1]
        frame[:] = 0
        for start in range(edges[k], end, places.size):
            n = min(places.size, end - start)
            columns, rows, signs = x[start : start + n], y[start : start + n], p[start : start + n]
            if n > 0 and (largest_of(columns) >= width or largest_of(rows) >= height):
                return OUTSIDE
            on += _nonzero(signs)
            for i in range(n):
                places[i] = np.uint32(signs[i] & mask) * plane + np.uint32(rows[i]) * width + np.uint32(columns[i])
            for i in range(n):
                place = np.uint64(places[i])
                now = np.int64(frame[place]) + 1
                frame[place] = now
                seen |= now  # has a bit above those of the type as soon as one count has
    used[0] = edges[frames.shape[0]] - edges[0] - (on if used.size == 2 else 0)
    if used.size == 2:
        used[1] = on
    return COUNTED if seen <= limit else FULL


@kernel
def sums(frames, out):
    """Write the sum of each channel of ``frames : uint[T, C, H, W]`` to ``out : int64[C]``."""
    values, plane = frames.reshape(frames.size), frames.shape[2] * frames.shape[3]
    for c in range(out.size):
        out[c] = 0
    for k in range(frames.shape[0] * frames.shape[1]):
        at, end, total = k * plane, k * plane + plane, np.int64(0)
        if frames.itemsize == 1:  # eight at a time, pairs of them in 16 bits, of which 128 fit
            while at + 8 <= end:
                words = min((end - at) // 8, 128)
                pairs = np.uint64(0)
                for j in range(words):
                    word = load64(values, at + 8 * j)
                    pairs += (word & BYTES) + (word >> U8 & BYTES)
                fours = (pairs & PAIRS) + (pairs >> U16 & PAIRS)
                total += np.int64((fours & HALF) + (fours >> U32))
                at += 8 * words
        for i in range(at, end):
            total += np.int64(values[i])
        out[k % out.size] += total
