"""Stored bytes to times, in one pass where NumPy needs three. No checks, no I/O."""

from __future__ import annotations

import numpy as np

from dvsprep.jit import kernel


@kernel
def add_times(planes, size, now, out):
    """Write ``out : int64[n]``, the running sum of differences that HDF5's shuffle filter laid out in byte planes.

    Parameters
    ----------
    planes : uint8[size * chunk]
        All lowest bytes, then all second bytes, ...; n may be less than chunk.
    now : int64
        The time before the first difference; the last time is returned.
    """
    chunk = planes.size // size
    for j in range(out.size):
        step = np.int64(0)
        for b in range(size):
            step |= np.int64(planes[b * chunk + j]) << (8 * b)
        now += step
        out[j] = now
    return now
