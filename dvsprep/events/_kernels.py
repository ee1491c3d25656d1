"""Event decoding: raw bytes or words in, columns out. No checks beyond what decoding itself finds, no I/O.

A decoder returns ``(n, status, where)``: events written, one of the codes below, and the event's number the code
speaks of; with OK, how many events outside the sensor were dropped. Its slow twin stands in ``tests/naive.py``.
"""

from __future__ import annotations

import numpy as np

from dvsprep.jit import kernel, load64

OK, OUTSIDE, TRUNCATED, BAD_PACKET = 0, 1, 2, 3
POLARITY = 1  # AEDAT 3.1 event type
HEADER = 28  # bytes of an AEDAT 3.1 packet header


@kernel
def aedat31_count(body, limit):
    """Walk the packets of ``body : uint8[B]`` until at least ``limit`` bytes are behind.

    Returns (slots of polarity events, OK | TRUNCATED | BAD_PACKET, byte of the packet header the status speaks of; with
    OK, where the last packet ends).
    """
    at, slots = np.int64(0), np.int64(0)
    while at < body.size and at < limit:
        if at + HEADER > body.size:
            return slots, TRUNCATED, at
        kind = np.int64(body[at]) | np.int64(body[at + 1]) << 8
        size, overflow, number = _u32(body, at + 4), _u32(body, at + 12), _u32(body, at + 20)
        signed = (size | overflow | number) >> 31  # all three are int32 in the format; none may be negative
        if signed or size == 0 or kind > 255 or (kind == POLARITY and size != 8):
            return slots, BAD_PACKET, at
        if at + HEADER + number * size > body.size:
            return slots, TRUNCATED, at
        if kind == POLARITY:
            slots += number
        at += HEADER + number * size
    return slots, OK, at


@kernel
def aedat31_decode(body, H, W, drop, t, x, y, p):
    """Decode the polarity packets of ``body : uint8[B]``, walked by aedat31_count before; other packets are skipped.

    Events whose valid bit is 0 are left out; so are those outside H x W if ``drop``. Nearly every packet has neither:
    it is decoded without a branch, and again with care if it was not so.
    """
    at, k, seen, dropped = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    while at < body.size:
        size, number = _u32(body, at + 4), _u32(body, at + 20)
        end = at + HEADER + number * size
        if np.int64(body[at]) | np.int64(body[at + 1]) << 8 == POLARITY:
            base = _u32(body, at + 12) << 31
            after = k + number
            if _clean_packet(body, at + HEADER, base, H, W, t[k:after], x[k:after], y[k:after], p[k:after]):
                k = after
            else:
                for i in range(at + HEADER, end, 8):
                    word = np.int64(load64(body, i))
                    if word & 1 == 0:
                        continue
                    col, row = (word >> 17) & 0x7FFF, (word >> 2) & 0x7FFF
                    if col >= W or row >= H:
                        if drop:
                            dropped += 1
                            continue
                        return k, OUTSIDE, seen + (i - at - HEADER) // 8
                    t[k] = base | ((word >> 32) & 0xFFFFFFFF)
                    x[k] = col
                    y[k] = row
                    p[k] = (word >> 1) & 1
                    k += 1
            seen += number
        at = end
    return k, OK, dropped


@kernel
def _clean_packet(body, at, base, H, W, t, x, y, p):
    """Decode ``t.size`` events from byte ``at`` on; return whether all are valid and lie inside H x W."""
    one, two, seventeen, high, low15 = np.uint64(1), np.uint64(2), np.uint64(17), np.uint64(32), np.uint64(0x7FFF)
    height, width = np.uint64(H), np.uint64(W)
    valid, outside = one, False
    for i in range(t.size):
        word = load64(body, at + 8 * i)
        col, row = (word >> seventeen) & low15, (word >> two) & low15
        valid &= word
        outside |= (col >= width) | (row >= height)
        t[i] = base | np.int64(word >> high)
        x[i] = col
        y[i] = row
        p[i] = (word >> one) & one
    return (valid & one) == one and not outside


@kernel
def _u32(body, at):
    low = np.int64(body[at]) | np.int64(body[at + 1]) << 8
    return low | np.int64(body[at + 2]) << 16 | np.int64(body[at + 3]) << 24


@kernel
def first_backward(t):
    """Return the first i with ``t[i] < t[i - 1]``, or -1."""
    signs = np.int64(0)
    for i in range(1, t.size):  # no way out of this loop, so that it vectorises
        signs |= t[i] - t[i - 1]
    if signs < 0:
        for i in range(1, t.size):
            if t[i] < t[i - 1]:
                return i
    return -1


@kernel
def aedat2_decode(raw, transposed, H, W, drop, t, x, y, p):
    """Decode DVS128 words ``raw : uint8[8 n]``, big-endian: x field in bits 1-7, y field in bits 8-14, p = 1 - bit 0.

    x = 127 - x field and y = 127 - y field, or the other way round if ``transposed``. Bit 15 marks a special event,
    which is no pixel: left out. When the clock jumps back, the last time before the jump is added to all that follow,
    as the CIFAR10-DVS authors' own reader does; the number of jumps is a fourth result.
    """
    k, jumps, dropped, shift, previous = np.int64(0), 0, np.int64(0), np.int64(0), np.int64(-1)
    for i in range(raw.size // 8):
        at = 8 * i
        if raw[at + 2] & 0x80:
            continue
        now = np.int64(0)
        for b in range(4, 8):
            now = now << 8 | np.int64(raw[at + b])
        if now < previous:
            jumps += 1
            shift += previous
        previous = now
        x_field, y_field = np.int64(raw[at + 3] >> 1) & 0x7F, np.int64(raw[at + 2]) & 0x7F
        col, row = (127 - y_field, 127 - x_field) if transposed else (127 - x_field, 127 - y_field)
        if raw[at] or raw[at + 1] or col >= W or row >= H:
            if drop:
                dropped += 1
                continue
            return k, OUTSIDE, i, jumps
        t[k] = now + shift
        x[k] = col
        y[k] = row
        p[k] = 1 - (raw[at + 3] & 1)
        k += 1
    return k, OK, dropped, jumps


@kernel
def atis_decode(raw, H, W, drop, t, x, y, p):
    """Decode ATIS 40-bit records ``raw : uint8[5 n]``; a record with y = 240 is a clock overflow, worth 2^13 us."""
    k, shift, dropped = np.int64(0), np.int64(0), np.int64(0)
    for i in range(raw.size // 5):
        at = 5 * i
        col, row = raw[at], raw[at + 1]
        if row == 240:
            shift += 8192
            continue
        now = shift + (np.int64(raw[at + 2] & 0x7F) << 16 | np.int64(raw[at + 3]) << 8 | np.int64(raw[at + 4]))
        if col >= W or row >= H:
            if drop:
                dropped += 1
                continue
            return k, OUTSIDE, i
        t[k] = now
        x[k] = col
        y[k] = row
        p[k] = raw[at + 2] >> 7
        k += 1
    return k, OK, dropped
