"""Inflate (RFC 1951) for streams whose only matches are runs of zeros, as ``_kernels_deflate`` makes them. No I/O.

One look into a table of 12 bits resolves all that they hold of a run of zeros and up to four literals behind it. The
memory it goes to is zeroed, so zeros cost nothing. Whatever a stream holds, nothing outside the two arrays is touched;
a stream of another make, or a damaged one, is left to a library.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dvsprep.cache._kernels_deflate import HEAD_ORDER, LONGEST, MATCHES, NONE, SYMBOLS
from dvsprep.jit import kernel, load64, store64

INDEX = np.uint64((1 << LONGEST) - 1)
FARTHEST = 512  # bytes that an entry may skip
MARGIN = 4 * (FARTHEST + 8)  # bytes that four entries may write
NOT_OURS = -1
# An entry: bits it takes (0 to 7: none of it is resolved) | bytes to skip << 8 | literals behind << 24 | these << 32.
TAKES, SKIPS, LITERALS = np.uint64(0x3F), np.uint64(0xFFFF), np.uint64(0xFF)
ZERO, ONE, S3, S8, S24, S32 = (np.uint64(n) for n in (0, 1, 3, 8, 24, 32))
FULL, MOST = np.uint64(63), np.uint64(56)


def _lengths_of_matches() -> NDArray[np.int64]:
    """Return the shortest length and the number of extra bits of symbols 257 to 285."""
    table = np.zeros((2, SYMBOLS), np.int64)
    for length in range(258, 2, -1):
        table[:, MATCHES[0, length]] = length, MATCHES[1, length]
    return table


LENGTHS = _lengths_of_matches()


@kernel
def _peek(packed, where, count):
    """Return ``count`` <= 16 bits from bit ``where`` on; behind the end there are zeros."""
    word = np.int64(0)
    for byte in range(3):
        at = (where >> 3) + byte
        if at < packed.size:
            word |= np.int64(packed[at]) << (8 * byte)
    return (word >> (where & 7)) & ((1 << count) - 1)


@kernel
def _resolve(lengths, longest, table):
    """Write ``table : int64[1 << longest]``: symbol << 4 | bits of its code, by the bits ahead; 0 where there is none.

    Returns False where codes are longer than that or do not fit beside each other.
    """
    table[:] = 0
    code, size = 0, 1 << longest
    for bits in range(1, longest + 1):
        code <<= 1
        for symbol in range(lengths.size):
            if lengths[symbol] == bits:
                if code >> bits:
                    return False
                turned = 0
                for bit in range(bits):
                    turned |= (code >> bit & 1) << (bits - 1 - bit)
                for index in range(turned, size, 1 << bits):
                    table[index] = symbol << 4 | bits
                code += 1
    return lengths.max() <= longest


@kernel
def _read_head(packed, where, lengths):
    """Read the lengths of the codes of a block; return where they end, or -1 unless the one distance is 1."""
    symbols = _peek(packed, where, 5) + 257
    distances = _peek(packed, where + 5, 5) + 1
    heads = np.zeros(19, np.int64)
    count = _peek(packed, where + 10, 4) + 4
    for k in range(count):
        heads[HEAD_ORDER[k]] = _peek(packed, where + 14 + 3 * k, 3)
    where += 14 + 3 * count
    table = np.empty(1 << 7, np.int64)
    if distances != 1 or symbols > SYMBOLS or not _resolve(heads, 7, table):
        return NOT_OURS
    lengths[:] = 0
    k, before = 0, 0
    while k <= symbols:
        found = int(table[_peek(packed, where, 7)])
        where += found & 15
        value, times = found >> 4, 1
        if found == 0 or where > 8 * packed.size:
            return NOT_OURS
        if value == 16:
            value, times = before, 3 + _peek(packed, where, 2)
            where += 2
        elif value == 17:
            value, times = 0, 3 + _peek(packed, where, 3)
            where += 3
        elif value == 18:
            value, times = 0, 11 + _peek(packed, where, 7)
            where += 7
        if k + times > symbols + 1:
            return NOT_OURS
        for _ in range(times):
            if k < symbols:
                lengths[k] = value
            elif value != 1:
                return NOT_OURS
            k += 1
        before = value
    return where


@kernel
def _entries(table, out):
    """Write ``out : uint64[4096]``, what all the bits ahead hold, from ``table``, the symbol that they begin with."""
    for index in range(out.size):
        taken, skipped, count, literals = 0, 0, 0, np.uint64(0)
        while count < 4:
            found = table[index >> taken]
            symbol, bits = found >> 4, found & 15
            if bits == 0 or taken + bits > LONGEST:
                break
            if symbol < NONE:
                if symbol == 0 and count == 0:
                    if skipped == FARTHEST:
                        break
                    skipped += 1
                elif symbol == 0:
                    break
                else:
                    literals |= np.uint64(symbol) << np.uint64(32 + 8 * count)
                    count += 1
            else:
                extra = LENGTHS[1, symbol]
                more = taken + bits + extra + 1
                if symbol == NONE or skipped == 0 or count > 0 or more > LONGEST:
                    break
                length = LENGTHS[0, symbol] + (index >> (taken + bits) & ((1 << extra) - 1))
                if index >> (more - 1) & 1 or skipped + length > FARTHEST:
                    break
                skipped += length
                bits += extra + 1
            taken += bits
        out[index] = np.uint64(taken | skipped << 8 | count << 24) | literals


@kernel
def _fast(packed, where, out, at, table, entries):
    """Read symbols of a block until one of the arrays is nearly at its end, or a symbol is no byte and no zeros.

    Returns the bit and the byte of ``out`` behind what was read.
    """
    place = where >> 3
    if place >= packed.size:
        return where, at
    bits, held, place = np.uint64(packed[place]) >> np.uint64(where & 7), np.uint64(8 - (where & 7)), place + 1
    while at < out.size - MARGIN and place + 8 <= packed.size:
        bits |= load64(packed, place) << held  # 56 bits and more, of which four entries, or three and a match, take 54
        place += np.int64((FULL - held) >> S3)
        held |= MOST
        for _ in range(4):
            entry = entries[bits & INDEX]
            taken = entry & TAKES
            if taken == ZERO:
                found = table[bits & INDEX]
                symbol, extra = found >> 4, LENGTHS[1, found >> 4]
                bits_of = np.uint64((found & 15) + extra + 1)
                if symbol <= NONE or bits >> (bits_of - ONE) & ONE or at == 0 or out[at - 1]:
                    return 8 * place - np.int64(held), at
                at += LENGTHS[0, symbol] + np.int64(bits >> np.uint64(found & 15) & ((ONE << np.uint64(extra)) - ONE))
                bits >>= bits_of
                held -= bits_of
                break
            at += np.int64(entry >> S8 & SKIPS)
            store64(out, at, entry >> S32)
            at += np.int64(entry >> S24 & LITERALS)
            bits >>= taken
            held -= taken
    return 8 * place - np.int64(held), at


@kernel
def _block(packed, where, out, at, table, entries):
    """Read the symbols of a block; return the bit behind it and the byte of ``out`` behind it, or -1 twice."""
    while True:
        where, at = _fast(packed, where, out, at, table, entries)
        # One symbol with all care: the end of the block or of an array, or nothing that is read here.
        found = table[_peek(packed, where, LONGEST)]
        symbol = found >> 4
        where += found & 15
        if found == 0 or where > 8 * packed.size:
            return NOT_OURS, NOT_OURS
        if symbol == NONE:
            return where, at
        if symbol < NONE:
            if at >= out.size:
                return NOT_OURS, NOT_OURS
            out[at] = symbol
            at += 1
        else:
            extra = LENGTHS[1, symbol]
            length = LENGTHS[0, symbol] + _peek(packed, where, extra)
            where += extra + 1
            if _peek(packed, where - 1, 1) or at == 0 or out[at - 1] or at + length > out.size:
                return NOT_OURS, NOT_OURS
            at += length


@kernel
def inflate(packed, out):
    """Read ``packed : uint8[m]``, a deflate stream, into ``out : uint8[n]``, zeroed.

    Returns
    -------
    The byte behind the stream; -1 if it is not one of those that are read here, or does not fill ``out``.
    """
    where, at = 0, 0
    lengths = np.empty(SYMBOLS, np.int64)
    table, entries = np.empty(1 << LONGEST, np.int64), np.empty(1 << LONGEST, np.uint64)
    last = 0
    while not last:
        last = _peek(packed, where, 1)
        if _peek(packed, where + 1, 2) != 2:
            return NOT_OURS
        where = _read_head(packed, where + 3, lengths)
        if where < 0 or not _resolve(lengths, LONGEST, table):
            return NOT_OURS
        _entries(table, entries)
        where, at = _block(packed, where, out, at, table, entries)
        if where < 0:
            return NOT_OURS
    return (where + 7) >> 3 if at == out.size else NOT_OURS
