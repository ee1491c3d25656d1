"""Decoding of Prophesee DAT records; the same rules as in ``_kernels.py``. Its slow twin stands in the tests."""

from __future__ import annotations

import numpy as np

from dvsprep.jit import kernel

OK, OUTSIDE, POLARITY = 0, 1, 2


@kernel
def dat_decode(raw, x_bits, y_bits, p_bits, H, W, drop, t, x, y, p):
    """Decode little-endian records ``raw : uint8[8 n]``: a 32-bit time, then x, y and p from the lowest bit upward.

    Returns (events written, OK | OUTSIDE | POLARITY, number of the event the status speaks of; with OK, how many
    outside the sensor were dropped).
    """
    k, dropped = np.int64(0), np.int64(0)
    for i in range(raw.size // 8):
        now, address = np.int64(0), np.int64(0)
        for b in range(4):
            now |= np.int64(raw[8 * i + b]) << (8 * b)
            address |= np.int64(raw[8 * i + 4 + b]) << (8 * b)
        col = address & ((1 << x_bits) - 1)
        row = (address >> x_bits) & ((1 << y_bits) - 1)
        polarity = (address >> (x_bits + y_bits)) & ((1 << p_bits) - 1)
        if polarity > 1:
            return k, POLARITY, i
        if col >= W or row >= H:
            if drop:
                dropped += 1
                continue
            return k, OUTSIDE, i
        t[k] = now
        x[k] = col
        y[k] = row
        p[k] = polarity
        k += 1
    return k, OK, dropped
