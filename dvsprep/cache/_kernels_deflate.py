"""Deflate (RFC 1951) for bytes that are mostly zeros: runs of zeros, literals and one Huffman code. No checks, no I/O.

Up to three zeros are literals; of more the first is a literal and the others are a match of distance 1, so a run and
the byte behind it are one word of at most 48 bits. The code is cut at 12 bits, which costs next to nothing and lets a
reader resolve any symbol with one look into a small table. It is made from some of the bytes: counting all of them
takes as long as writing them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dvsprep.jit import kernel, largest_of, lowest64, nonzero64, store64

LONGEST = 12  # bits of a code
RUN = 259  # zeros in a word: a literal and the longest match
NONE = 256  # the symbol that ends a block
SYMBOLS = 286  # literals, the end of a block, lengths of matches
PIECE = 2048  # bytes, about 16 rows of a frame
SUM = 4  # bytes behind a stream, for its Adler-32
WIDEST = np.uint64(56)  # bits of two words; seven may be held before them


def _matches() -> NDArray[np.int64]:
    """Return symbol, number of extra bits and extra bits of matches by length, 3 to 258 (RFC 1951, 3.2.5)."""
    table, length = np.zeros((3, RUN), np.int64), 3
    for symbol in range(257, 285):
        extra = max(0, (symbol - 261) // 4)
        for bits in range(1 << extra):
            table[:, length + bits] = symbol, extra, bits
        length += 1 << extra
    table[:, 258] = 285, 0, 0
    return table


MATCHES = _matches()
# The code of code lengths (RFC 1951, 3.2.7) is always this one: 0 has three bits; 1 to 12, 17 and 18 have four.
HEAD_LENGTHS = np.array([3, *[4] * 12, 0, 0, 0, 0, 4, 4], np.int64)
HEAD_ORDER = np.array([16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15], np.int64)
HEAD_BYTES = 384  # more than the head and end of a block take: 287 codes of up to 11 bits, and a few
ZERO, ONE, S3, S6, S56 = (np.uint64(n) for n in (0, 1, 3, 6, 56))
PART, WHOLE, LOW6, LOW56 = (np.uint64(n) for n in (7, 0x38, 63, (1 << 56) - 1))


def most_bytes(size: int, block: int) -> int:
    """Return the most bytes :func:`compress` writes for a stream: 12 bits a byte, heads, and what is put at once."""
    return size + size // 2 + -(-size // block) * HEAD_BYTES + 16


@kernel
def _look(raw, start, end, step, seen, runs):
    """Count what some of the bytes ``[start, end)`` hold: of every ``step`` pieces one, each time at another place.

    Parameters
    ----------
    seen, runs : int64[256], int64[RUN + 1]
        How often a byte other than zero, and a run of zeros before one, occurs is added.
    """
    for base in range(start, end, PIECE):
        piece = base // PIECE
        if piece % step != piece // step % step:
            continue
        after, behind = np.uint64(base), min(end, base + PIECE)
        for word in range(base, behind, 64):
            left = _nonzero(raw, word, behind)
            while left:
                at = np.uint64(word) + lowest64(left)
                left &= left - ONE
                seen[raw[at]] += 1
                runs[min(at - after, np.uint64(RUN))] += 1
                after = at + ONE
        runs[min(np.uint64(behind) - after, np.uint64(RUN))] += 1


@kernel
def _nonzero(raw, base, end):
    """Return a bit for each of the 64 bytes from ``base`` on that lies before ``end`` and is not zero."""
    if base + 64 <= end:
        return nonzero64(raw, base)
    left = ZERO
    for j in range(end - base):
        left |= np.uint64(raw[base + j] != 0) << np.uint64(j)
    return left


@kernel
def code_lengths(counts, lengths):
    """Write the bits of each symbol's code to ``lengths : int64[n]``, for ``counts : int64[n]`` of the symbols.

    Huffman's code, by two queues of sorted weights; where a code is longer than 12 bits, shorter ones are lengthened
    until all fit (Kraft's sum is at most 1), and the rarest symbols take the longest codes.
    """
    order = np.empty(counts.size, np.int64)
    used = 0
    for symbol in range(counts.size):  # sorted by insertion: there are few
        lengths[symbol] = 0
        if counts[symbol] > 0:
            at = used
            while at > 0 and counts[order[at - 1]] > counts[symbol]:
                order[at] = order[at - 1]
                at -= 1
            order[at] = symbol
            used += 1
    nodes = max(1, 2 * used - 1)
    weight, parent = np.empty(nodes, np.int64), np.zeros(nodes, np.int64)
    for leaf in range(used):
        weight[leaf] = counts[order[leaf]]
    leaf, inner = 0, used
    for node in range(used, nodes):
        weight[node] = 0
        for _ in range(2):  # the two lightest of what has no parent
            if leaf < used and (inner == node or weight[leaf] <= weight[inner]):
                least = leaf
                leaf += 1
            else:
                least = inner
                inner += 1
            weight[node] += weight[least]
            parent[least] = node
    tally = np.zeros(LONGEST + 1, np.int64)
    depth = weight  # no longer needed
    depth[nodes - 1] = 0 if nodes > 1 else 1
    for node in range(nodes - 2, -1, -1):
        depth[node] = depth[parent[node]] + 1
    for leaf in range(used):
        tally[min(depth[leaf], LONGEST)] += 1
    kraft = 0
    for bits in range(1, LONGEST + 1):
        kraft += tally[bits] << (LONGEST - bits)
    while kraft > 1 << LONGEST:
        bits = LONGEST - 1
        while tally[bits] == 0:
            bits -= 1
        tally[bits] -= 1
        tally[bits + 1] += 2
        tally[LONGEST] -= 1
        kraft -= 1
    leaf = 0
    for bits in range(LONGEST, 0, -1):
        for _ in range(tally[bits]):
            lengths[order[leaf]] = bits
            leaf += 1


@kernel
def codes(lengths, out):
    """Write ``out : uint64[n]``: each symbol's code, its first bit lowest | its bits << 56 (RFC 1951, 3.2.2)."""
    code = 0
    for bits in range(1, LONGEST + 1):
        code <<= 1
        for symbol in range(lengths.size):
            if lengths[symbol] == bits:
                turned = 0
                for bit in range(bits):
                    turned |= (code >> bit & 1) << (bits - 1 - bit)
                out[symbol] = np.uint64(turned | bits << 56)
                code += 1


@kernel
def _join(first, second):
    """Return the word of two words, bits << 56 as all."""
    bits = first >> S56
    return (first & LOW56) | (second & LOW56) << bits | (bits + (second >> S56)) << S56


@kernel
def _put(word, out, at, held, bits):
    """Write a word behind ``bits``, of which ``held`` are not yet in ``out[:at]``; return at, held and bits."""
    bits |= (word & LOW56) << held
    held += word >> S56
    store64(out, np.int64(at), bits)
    return at + (held >> S3), held & PART, bits >> (held & WHOLE)


@kernel
def _make_code(seen, runs, largest, step, lengths, words):
    """Find the code of a block of which every ``step``-th piece was looked at.

    What was not seen may still come, so all bytes up to the largest, and all runs, have a code.

    Parameters
    ----------
    lengths : int64[286]
        Written: bits of each symbol's code.
    words : uint64[2, RUN + 1]
        Written: of bytes (and the end of a block at NONE) and of runs of zeros, what stands for them << 6 | its bits.
    """
    symbols = np.zeros(SYMBOLS, np.int64)
    symbols[0] = 1
    for byte in range(1, largest + 1):
        symbols[byte] = seen[byte] * step + 1
    for symbol in range(NONE, SYMBOLS):
        symbols[symbol] = 1
    for zeros in range(1, RUN + 1):
        symbols[0] += runs[zeros] * step * (zeros if zeros < 4 else 1)
        if zeros >= 4:
            symbols[MATCHES[0, zeros - 1]] += runs[zeros] * step
    code_lengths(symbols, lengths)
    code = np.zeros(SYMBOLS, np.uint64)
    codes(lengths, code)
    for byte in range(NONE + 1):
        words[0, byte] = (code[byte] & LOW56) << S6 | code[byte] >> S56
    word = ZERO
    for zeros in range(RUN + 1):
        if zeros >= 4:  # a zero, and a match of distance 1, whose code is one bit 0
            symbol, extra, bits = MATCHES[0, zeros - 1], MATCHES[1, zeros - 1], MATCHES[2, zeros - 1]
            word = _join(code[0], _join(code[symbol], np.uint64(bits | (extra + 1) << 56)))
        elif zeros > 0:
            word = _join(word, code[0])
        words[1, zeros] = (word & LOW56) << S6 | word >> S56


@kernel
def _write_head(lengths, out, at, held, bits):
    """Write how the codes are made: the lengths of all codes, of which long runs of zeros are short."""
    word = np.zeros(19, np.uint64)
    codes(HEAD_LENGTHS, word)
    at, held, bits = _put(np.uint64((SYMBOLS - 257) | 14 << 10 | 14 << 56), out, at, held, bits)
    for symbol in HEAD_ORDER[:18]:
        at, held, bits = _put(np.uint64(HEAD_LENGTHS[symbol] | 3 << 56), out, at, held, bits)
    symbol = 0
    while symbol < SYMBOLS:
        run = symbol
        while run < SYMBOLS and lengths[run] == 0 and run - symbol < 138:
            run += 1
        run -= symbol
        if run >= 11:
            more = _join(word[18], np.uint64((run - 11) | 7 << 56))
        elif run >= 3:
            more = _join(word[17], np.uint64((run - 3) | 3 << 56))
        else:
            run, more = 1, word[lengths[symbol]]
        at, held, bits = _put(more, out, at, held, bits)
        symbol += run
    return _put(word[1], out, at, held, bits)  # the one distance there is


@kernel
def _put_bytes(raw, start, end, words, out, at, held, bits):
    """Write the bytes ``[start, end)``, runs of zeros and what is between them; return at, held and bits."""
    n, after = np.uint64(end), np.uint64(start)
    for base in range(start, end, 64):
        left = _nonzero(raw, base, end)
        while left:
            place = np.uint64(base) + lowest64(left)
            left &= left - ONE
            zeros = place - after
            while zeros > np.uint64(RUN):
                at, held, bits = _put_run(np.uint64(RUN), words, out, at, held, bits)
                zeros -= np.uint64(RUN)
            word, length = _run_and_byte(words, zeros, raw[place])
            after = place + ONE
            if left:  # two at a time: only what comes behind both has to wait for what lies before them
                place = np.uint64(base) + lowest64(left)
                second, more = _run_and_byte(words, place - after, raw[place])
                if length + more <= WIDEST:
                    left &= left - ONE
                    word |= second << length
                    length += more
                    after = place + ONE
            bits |= word << held
            held += length
            store64(out, np.int64(at), bits)
            at += held >> S3
            bits >>= held & WHOLE
            held &= PART
    zeros = n - after
    while zeros > ZERO:
        run = min(zeros, np.uint64(RUN))
        at, held, bits = _put_run(run, words, out, at, held, bits)
        zeros -= run
    return at, held, bits


@kernel
def _run_and_byte(words, zeros, byte):
    """Return what stands for a run of at most RUN zeros and the byte behind it, and how many bits that is."""
    run, literal = words[1, zeros], words[0, byte]
    return run >> S6 | (literal >> S6) << (run & LOW6), (run + literal) & LOW6


@kernel
def _put_run(zeros, words, out, at, held, bits):
    """Write a run of at most RUN zeros; return at, held and bits."""
    run = words[1, zeros]
    bits |= (run >> S6) << held
    held += run & LOW6
    store64(out, np.int64(at), bits)
    return at + (held >> S3), held & PART, bits >> (held & WHOLE)


@kernel
def _pays(raw, step, most):
    """Tell whether of every ``step``-th byte no more than ``most``, 0 to 1, are other than zero."""
    seen, found = 0, 0
    for at in range(0, raw.size, step):
        seen += 1
        found += raw[at] != 0
    return found <= most * seen


@kernel
def compress(raw, size, block, most, look, step, out, ends):
    """Make a zlib stream (RFC 1950) of each ``size`` bytes of ``raw : uint8[n]``, in blocks of ``block`` bytes.

    The last SUM bytes of each are left to the caller: a library finds the sum of bytes faster. All streams have the
    same codes, one for their first blocks, one for their second ones, ...

    Returns False, and makes none, where more than ``most`` of every ``look``-th byte are other than zero.

    Parameters
    ----------
    step : int
        One in so many pieces is looked at for the codes.
    out : uint8[m]
        Written; ``most_bytes`` tells how many it is to have.
    ends : int64[n / size]
        Written: the byte of ``out`` behind each stream.
    """
    if not _pays(raw, look, most):
        return False
    blocks = (size + block - 1) // block
    lengths, words = np.empty((blocks, SYMBOLS), np.int64), np.empty((blocks, 2, RUN + 1), np.uint64)
    for b in range(blocks):
        seen, runs, largest = np.zeros(256, np.int64), np.zeros(RUN + 1, np.int64), np.int64(0)
        for start in range(b * block, raw.size, size):
            end = min(start + block, start // size * size + size)
            _look(raw, start, end, step, seen, runs)
            largest = max(largest, np.int64(largest_of(raw[start:end])))
        _make_code(seen, runs, largest, step, lengths[b], words[b])
    at = ZERO
    for k in range(ends.size):
        store64(out, np.int64(at), np.uint64(0x0178))
        at, held, bits = at + np.uint64(2), ZERO, ZERO
        for b in range(blocks):
            start, end = k * size + b * block, min(k * size + b * block + block, (k + 1) * size)
            at, held, bits = _put(np.uint64((b == blocks - 1) | 2 << 1 | 3 << 56), out, at, held, bits)
            at, held, bits = _write_head(lengths[b], out, at, held, bits)
            at, held, bits = _put_bytes(raw, start, end, words[b], out, at, held, bits)
            word = words[b, 0, NONE]
            at, held, bits = _put(word >> S6 | (word & LOW6) << S56, out, at, held, bits)
        at += np.uint64(held > ZERO) + np.uint64(SUM)
        ends[k] = np.int64(at)
    return True


@kernel
def compress_each(raw, size, block, most, look, step, out, ends):
    """Do :func:`compress` for each ``size`` bytes of ``raw`` alone, with codes of its own, behind each other.

    ends : int64[n / size]
        Written: the byte of ``out`` behind each stream, which is none where it does not pay.
    """
    at = np.int64(0)
    for k in range(ends.size):
        own = ends[k : k + 1]
        if compress(raw[k * size : (k + 1) * size], size, block, most, look, step, out[at:], own):
            at += own[0]
        ends[k] = at
