"""Inflate (RFC 1951) for streams whose only matches are runs of zeros, as ``_kernels_deflate`` makes them. No I/O.

One look into a table of 12 bits resolves all that they hold of a run of zeros and up to four literals behind it. The
memory it goes to is zeroed, so zeros cost nothing. Each look has to wait for the one before it, so two streams are read
side by side: a processor does the one's work while the other waits. Whatever a stream holds, nothing outside its two
arrays is touched; a stream of another make, or a damaged one, is left to a library.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dvsprep.cache._kernels_deflate import HEAD_ORDER, LONGEST, MATCHES, NONE, SYMBOLS
from dvsprep.jit import kernel, load64, store32

INDEX = np.uint64((1 << LONGEST) - 1)
FARTHEST = 512  # bytes that an entry may skip
MARGIN = 4 * (FARTHEST + 8)  # bytes that four entries may write; so many are read before more bits are fetched
RARE = np.uint64(18)  # bits that a match may take: 12 of its code, 5 of its length, 1 of its distance
NOT_OURS = -1
# An entry: four literals, of which those behind the last are 0 | bytes it is long << 32, and of these bytes to skip
# before the literals << 42 | bits of the stream it takes << 58. It is 0 where the first symbol is not resolved.
LITERALS, BYTES = np.uint64(0xFFFFFFFF), np.uint64(0x3FF)
ZERO, ONE, S3, S32, S42, S58 = (np.uint64(n) for n in (0, 1, 3, 32, 42, 58))
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
        taken, skipped, count, literals = 0, 0, 0, ZERO
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
                    literals |= np.uint64(symbol) << np.uint64(8 * count)
                    count += 1
            else:
                # Whether a zero lies before it is not looked at: if none does, the checksum of the stream tells.
                more = bits + LENGTHS[1, symbol]
                if symbol == NONE or count > 0 or taken + more >= LONGEST or index >> (taken + more) & 1:
                    break
                length = LENGTHS[0, symbol] + (index >> (taken + bits) & ((1 << LENGTHS[1, symbol]) - 1))
                if skipped + length > FARTHEST:
                    break
                skipped += length
                bits = more + 1
            taken += bits
        sizes = np.uint64(taken << 26 | skipped << 10 | skipped + count)
        out[index] = sizes << S32 | literals


@kernel
def _match(bits, out, at, table):
    """Read a match that no entry resolves, behind a zero; return the byte behind it and its bits: 0 if it is none."""
    found = table[bits & INDEX]
    symbol, extra = found >> 4, LENGTHS[1, found >> 4]
    taken = np.uint64((found & 15) + extra + 1)
    if symbol <= NONE or bits >> (taken - ONE) & ONE or at == 0 or out[at - 1]:
        return at, ZERO
    return at + LENGTHS[0, symbol] + np.int64(bits >> np.uint64(found & 15) & ((ONE << np.uint64(extra)) - ONE)), taken


@kernel
def _first_bits(packed, where):
    """Return the bits from ``where`` on that lie in the same byte, how many they are, and the byte behind them."""
    if where >= 8 * packed.size:
        return ZERO, ZERO, packed.size
    return np.uint64(packed[where >> 3]) >> np.uint64(where & 7), np.uint64(8 - (where & 7)), (where >> 3) + 1


@kernel
def _write(entry, out, at):
    """Write the literals of an entry behind the zeros it skips; return the byte behind them."""
    store32(out, at + np.int64(entry >> S42 & BYTES), np.uint32(entry & LITERALS))
    return at + np.int64(entry >> S32 & BYTES)


@kernel
def _fast(packed, where, out, at, table, entries):
    """Read symbols of a block until one of the arrays is nearly at its end, or a symbol is no byte and no zeros.

    Returns the bit and the byte of ``out`` behind what was read.
    """
    bits, held, place = _first_bits(packed, where)
    while at < out.size - MARGIN and place + 8 <= packed.size:
        bits |= load64(packed, place) << held
        place += np.int64((FULL - held) >> S3)
        held |= MOST
        for _ in range(4):
            entry = entries[bits & INDEX]
            taken = entry >> S58
            if taken == ZERO:
                if held >= RARE:
                    at, taken = _match(bits, out, at, table)
                    if taken == ZERO:
                        return 8 * place - np.int64(held), at
                    bits >>= taken
                    held -= taken
                break
            at = _write(entry, out, at)
            bits >>= taken
            held -= taken
    return 8 * place - np.int64(held), at


@kernel
def _fast_two(packed, where, out, table, entries, packed2, where2, out2, table2, entries2):
    """Do :func:`_fast` for two streams side by side, from the first byte of each on, until it ends for one of them.

    Returns the bit and the byte behind what was read of the first, and of the second.
    """
    at, at2 = 0, 0
    bits, held, place = _first_bits(packed, where)
    bits2, held2, place2 = _first_bits(packed2, where2)
    ends, ends2 = out.size - MARGIN, out2.size - MARGIN
    while at < ends and place + 8 <= packed.size and at2 < ends2 and place2 + 8 <= packed2.size:
        bits |= load64(packed, place) << held
        place += np.int64((FULL - held) >> S3)
        held |= MOST
        bits2 |= load64(packed2, place2) << held2
        place2 += np.int64((FULL - held2) >> S3)
        held2 |= MOST
        for _ in range(4):
            entry, entry2 = entries[bits & INDEX], entries2[bits2 & INDEX]
            taken, taken2 = entry >> S58, entry2 >> S58
            if taken == ZERO or taken2 == ZERO:
                ended = False
                if taken == ZERO and held >= RARE:
                    at, taken = _match(bits, out, at, table)
                    ended = taken == ZERO
                    bits >>= taken
                    held -= taken
                elif taken2 == ZERO and held2 >= RARE:
                    at2, taken2 = _match(bits2, out2, at2, table2)
                    ended = taken2 == ZERO
                    bits2 >>= taken2
                    held2 -= taken2
                if ended:
                    return 8 * place - np.int64(held), at, 8 * place2 - np.int64(held2), at2
                break
            at = _write(entry, out, at)
            bits >>= taken
            held -= taken
            at2 = _write(entry2, out2, at2)
            bits2 >>= taken2
            held2 -= taken2
    return 8 * place - np.int64(held), at, 8 * place2 - np.int64(held2), at2


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
def _begin(packed, where, lengths, table, entries):
    """Read the head of a block; return the bit behind it, or -1, and whether the block is the last one."""
    last = _peek(packed, where, 1)
    if _peek(packed, where + 1, 2) != 2:
        return NOT_OURS, last
    where = _read_head(packed, where + 3, lengths)
    if where < 0 or not _resolve(lengths, LONGEST, table):
        return NOT_OURS, last
    _entries(table, entries)
    return where, last


@kernel
def _finish(packed, where, last, out, at, lengths, table, entries):
    """Read the rest of a stream, of which a block is begun; return as :func:`inflate`."""
    while where >= 0:
        where, at = _block(packed, where, out, at, table, entries)
        if last or where < 0:
            break
        where, last = _begin(packed, where, lengths, table, entries)
    return (where + 7) >> 3 if where >= 0 and at == out.size else NOT_OURS


@kernel
def inflate(packed, out, packed2, out2):
    """Read two deflate streams, ``packed : uint8[m]``, into ``out : uint8[n]``, zeroed; or one, if there is no other.

    They are read side by side as long as both are in their first block: a chunk of frames is mostly one block.

    Returns
    -------
    Of each the byte behind the stream; -1 if it is not one of those that are read here, or does not fill its array.
    """
    lengths = np.empty(SYMBOLS, np.int64)
    table, entries = np.empty(1 << LONGEST, np.int64), np.empty(1 << LONGEST, np.uint64)
    table2, entries2 = np.empty_like(table), np.empty_like(entries)
    at, at2, where2, last2 = 0, 0, NOT_OURS, 1
    where, last = _begin(packed, 0, lengths, table, entries)
    if packed2.size > 0:
        where2, last2 = _begin(packed2, 0, lengths, table2, entries2)
    if where >= 0 and where2 >= 0:
        where, at, where2, at2 = _fast_two(packed, where, out, table, entries, packed2, where2, out2, table2, entries2)
    end = _finish(packed, where, last, out, at, lengths, table, entries)
    return end, _finish(packed2, where2, last2, out2, at2, lengths, table2, entries2)
