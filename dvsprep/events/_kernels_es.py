"""The walk over Event Stream bytes that finds a cut end; decoding itself is faery's."""

from __future__ import annotations

import numpy as np

from dvsprep.jit import kernel


@kernel
def es_dvs_walk(body):
    """Count the events of a DVS stream's ``body : uint8[B]``.

    0xFF advances the clock, 0xFE is skipped, every other first byte begins an event of 5 bytes. Returns (events, byte
    at which a cut event begins or -1).
    """
    at, n = np.int64(0), np.int64(0)
    while at < body.size:
        if body[at] >= 0xFE:
            at += 1
            continue
        if at + 5 > body.size:
            return n, at
        at += 5
        n += 1
    return n, np.int64(-1)
