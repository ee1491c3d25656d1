"""Columns to stored bytes and back: HDF5's shuffle and N-Bit filters, in one pass each. No checks, no I/O."""

from __future__ import annotations

import numpy as np

from dvsprep.jit import deposit64, extract64, kernel, load64, moves_bits, store64, swap64

FEW = 512  # times that are passed over at once; sums of 64 pairs of bytes fit in 16 bits
U8, U16, U32, U64 = np.uint64(8), np.uint64(16), np.uint64(32), np.uint64(64)
BYTES, PAIRS, HALVES = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF), np.uint64(0xFFFFFFFF)
ONE, ONES = np.uint64(1), np.uint64(0x0101010101010101)


@kernel
def largest_step(t, before):
    """Return the largest difference between neighbours of ``t : int64[N]``, beginning with ``t[0] - before``."""
    largest = t[0] - before
    for i in range(1, t.size):
        largest = max(largest, t[i] - t[i - 1])
    return largest


@kernel
def subtract_times(t, before, planes):
    """Write differences of ``t : int64[n]`` as the shuffle filter lays them out: all lowest bytes, all second ones, ...

    Parameters
    ----------
    before : int64
        The time before the first one.
    planes : uint8[size, chunk]
        n may be less than chunk; the rest is left as it is.
    """
    for b in range(planes.shape[0]):
        plane, shift = planes[b], 8 * b
        plane[0] = (t[0] - before) >> shift
        for j in range(1, t.size):
            plane[j] = (t[j] - t[j - 1]) >> shift


@kernel
def add_times(planes, size, now, out):
    """Undo :func:`subtract_times`: write ``out : int64[n]``, the running sum of differences in byte planes.

    Parameters
    ----------
    planes : uint8[size * chunk]
    now : int64
        The time before the first difference; the last time is returned.
    """
    chunk = planes.size // size
    if size == 2:  # nearly always; a loop over the bytes costs four times as much
        for j in range(out.size):
            now += np.int64(planes[j]) | np.int64(planes[chunk + j]) << 8
            out[j] = now
        return now
    for j in range(out.size):
        for b in range(size):
            now += np.int64(planes[b * chunk + j]) << (8 * b)
        out[j] = now
    return now


@kernel
def find_times(planes, size, n, now, wanted, k, base, positions):
    """Find where the running sum of the first n differences in byte planes reaches what is wanted.

    Parameters
    ----------
    planes : uint8[size * chunk]
        As of :func:`subtract_times`.
    now : int64
        The time before the first difference.
    wanted : int64[K]
        Non-decreasing; those from k on are looked for.
    base : int
        Times before these.
    positions : int64[K]
        Written: base and how many of these times are less, for each that one of them reaches.

    Returns
    -------
    k of the first that none reaches, the last time
    """
    chunk = planes.size // size
    for start in range(0, n, FEW):
        end = min(start + FEW, n)
        then = now
        for b in range(size):
            pairs, total = np.uint64(0), np.int64(0)
            for word in range((end - start) // 8):  # eight at a time, pairs of them in 16 bits
                eight = load64(planes, b * chunk + start + 8 * word)
                pairs += (eight & BYTES) + (eight >> U8 & BYTES)
            for i in range(b * chunk + end - (end - start) % 8, b * chunk + end):
                total += np.int64(planes[i])
            fours = (pairs & PAIRS) + (pairs >> U16 & PAIRS)
            then += (total + np.int64((fours & HALVES) + (fours >> U32))) << (8 * b)
        if k < wanted.size and wanted[k] <= then:  # seldom: only then each of them is looked at
            for j in range(start, end):
                for b in range(size):
                    now += np.int64(planes[b * chunk + j]) << (8 * b)
                while k < wanted.size and wanted[k] <= now:
                    positions[k] = base + j
                    k += 1
        now = then
    return k, now


@kernel
def gather_in_steps(word, bits):
    """Move the lowest ``bits`` of each byte, above which there are zeros, beside each other."""
    word = ((word & (BYTES << U8)) >> (U8 - bits)) | (word & BYTES)
    word = ((word & (PAIRS << U16)) >> (U16 - bits - bits)) | (word & PAIRS)
    return ((word & (HALVES << U32)) >> (U32 - np.uint64(4) * bits)) | (word & HALVES)


@kernel
def spread_in_steps(word, bits):
    """Undo :func:`gather_in_steps`; what is above eight values does not count."""
    two, four = bits + bits, np.uint64(4) * bits
    m4, m2, m1 = (ONE << four) - ONE, (ONE << two) - ONE, (ONE << bits) - ONE
    m2 |= m2 << U32
    m1 |= m1 << U16
    m1 |= m1 << U32
    word = ((word >> four & m4) << U32) | (word & m4)
    word = (((word >> two) & m2) << U16) | (word & m2)
    return (((word >> bits) & m1) << U8) | (word & m1)


@kernel
def gather_at_once(word, bits):
    """Do :func:`gather_in_steps` in one instruction."""
    return extract64(word, ONES * ((ONE << bits) - ONE))


@kernel
def spread_at_once(word, bits):
    """Do :func:`spread_in_steps` in one instruction."""
    return deposit64(word, ONES * ((ONE << bits) - ONE))


gather, spread = (gather_at_once, spread_at_once) if moves_bits() else (gather_in_steps, spread_in_steps)


@kernel
def pack_bits(values, bits, out):
    """Pack ``values : uint8[n]``, ``bits`` <= 8 bits each, the highest bit first.

    ``out`` holds zeros, n * bits / 8 bytes and 8 more to spare: eight values are written at a time.
    """
    b, step = np.uint64(bits), np.int64(bits)
    top = U64 - U8 * b
    for g in range(values.size // 8):
        store64(out, g * step, swap64(gather(swap64(load64(values, 8 * g)), b) << top))
    for i in range(values.size // 8 * 8, values.size):
        last = i * step + step - 1  # bit
        word = np.int64(values[i]) << (7 - (last & 7))
        out[last >> 3] |= word & 0xFF
        if word > 0xFF:
            out[(last >> 3) - 1] |= word >> 8


@kernel
def unpack_bits(packed, bits, out):
    """Undo :func:`pack_bits` for the first n values, n any number; nothing behind ``packed`` is read."""
    b, step = np.uint64(bits), np.int64(bits)
    top = U64 - U8 * b
    groups = max(0, min(out.size // 8, (packed.size - 8) // step + 1))
    for g in range(groups):
        store64(out, 8 * g, swap64(spread(swap64(load64(packed, g * step)) >> top, b)))
    for i in range(8 * groups, out.size):
        last = i * step + step - 1  # bit
        low = np.int64(packed[last >> 3])
        if last >> 3 > (i * step) >> 3:
            low |= np.int64(packed[(last >> 3) - 1]) << 8
        out[i] = (low >> (7 - (last & 7))) & ((1 << step) - 1)


@kernel
def unpack_columns(pages, places, bits, rows, x, y, p):
    """Unpack x, y and p : uint8[n] of a sample at once: handing the GIL over for each chunk costs more than the chunk.

    Parameters
    ----------
    pages : uint8[bytes of the file]
    places : int64[3, K, 2]
        Where the bits of each column's chunks begin and end.
    bits : int64[3]
    rows : int
        Values a chunk.
    """
    for c, column in enumerate((x, y, p)):
        for k in range(places.shape[1]):
            packed = pages[places[c, k, 0] : places[c, k, 1]]
            unpack_bits(packed, bits[c], column[k * rows : (k + 1) * rows])


@kernel
def pack_wide(values, bits, out):
    """Pack ``values : uint16[n]`` like :func:`pack_bits`, ``bits`` from 9 to 16."""
    word, held, at = np.int64(0), 0, 0
    for value in values:
        word = ((word << bits) | np.int64(value)) & 0xFFFFFFFF
        held += bits
        while held >= 8:
            held -= 8
            out[at] = (word >> held) & 0xFF
            at += 1
    if held:
        out[at] = (word << (8 - held)) & 0xFF


@kernel
def unpack_wide(packed, bits, out):
    """Undo :func:`pack_wide` for the first n values; nothing behind ``packed`` is read."""
    mask = (1 << bits) - 1
    for i in range(out.size):
        last = i * bits + bits - 1  # bit
        at = last >> 3
        word = np.int64(packed[at]) | np.int64(packed[at - 1]) << 8  # a value has at least two bytes
        if at > 1:
            word |= np.int64(packed[at - 2]) << 16
        out[i] = (word >> (7 - (last & 7))) & mask
