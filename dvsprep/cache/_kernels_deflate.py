"""Deflate (RFC 1951) for bytes that are mostly zeros: runs of zeros, literals and one Huffman code. No checks, no I/O.

A *token* is a run of zeros and the byte behind it. Up to three zeros are literals; of more the first is a literal and
the others are a match of distance 1, so a token is one word of at most 48 bits. The code is cut at 12 bits, which costs
next to nothing and lets a reader resolve any symbol with one look into a small table.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dvsprep.jit import kernel, lowest64, nonzero64, store64

LONGEST = 12  # bits of a code
RUN = 259  # zeros in a token: a literal and the longest match
MORE = 260  # in the place of a run: 258 zeros behind another one
NONE = 256  # in the place of a literal: none; as a symbol it ends a block
SYMBOLS = 286  # literals, the end of a block, lengths of matches
SPARE = 512  # tokens that one step of tokenize may add


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
ZERO, ONE, S3, S8, S16, S56 = (np.uint64(n) for n in (0, 1, 3, 8, 16, 56))
PART, WHOLE, LOW16, LOW56 = (np.uint64(n) for n in (7, 0xF8, 0xFFFF, (1 << 56) - 1))


@kernel
def _long_run(zeros, tokens, k, counts):
    """Write the tokens of a run of more than 259 zeros; return k and what is left of the run, at most 259."""
    tokens[k] = RUN | NONE << 16
    counts[1, RUN] += np.uint32(1)
    k += ONE
    zeros -= np.uint64(RUN)
    while zeros > np.uint64(RUN):
        tokens[k] = MORE | NONE << 16
        counts[1, MORE] += np.uint32(1)
        k += ONE
        zeros -= np.uint64(RUN - 1)
    return k, zeros


@kernel
def tokenize(raw, start, tokens, counts, sums):
    """Cut ``raw : uint8[n]`` from byte ``start`` on into tokens, until there is room for no more or no byte is left.

    Parameters
    ----------
    tokens : uint32[M]
        A run of zeros | the byte behind it << 16.
    counts : uint32[4, 512]
        How often a literal (rows 0 and 2) and a run (1 and 3) occurs is added: two places of each, because adding to
        the same one twice in a row has to wait.
    sums : uint64[2]
        The sum of the bytes and of the bytes times (n - position) are added: Adler-32 is made of them.

    Returns
    -------
    number of tokens, the byte behind the last one
    """
    n, after, k = np.uint64(raw.size), np.uint64(start), ZERO  # after: the byte behind the last token
    total, weighted, base = ZERO, ZERO, start
    while base < raw.size and k < np.uint64(tokens.size - SPARE):
        if base + 64 <= raw.size:
            left = nonzero64(raw, base)
        else:
            left = ZERO
            for j in range(raw.size - base):
                left |= np.uint64(raw[base + j] != 0) << np.uint64(j)
        while left:
            at = np.uint64(base) + lowest64(left)
            left &= left - ONE
            byte, zeros = np.uint64(raw[at]), at - after
            after = at + ONE
            if zeros > np.uint64(RUN):
                k, zeros = _long_run(zeros, tokens, k, counts)
            tokens[k] = zeros | byte << S16
            row = (k & ONE) << ONE
            counts[row, byte] += np.uint32(1)
            counts[row | ONE, zeros] += np.uint32(1)
            k += ONE
            total += byte
            weighted += byte * (n - at)
        base = min(base + 64, raw.size)
        if np.uint64(base) - after >= np.uint64(1 << 16) or base == raw.size:
            zeros, after = np.uint64(base) - after, np.uint64(base)
            if zeros > np.uint64(RUN):
                k, zeros = _long_run(zeros, tokens, k, counts)
            tokens[k] = zeros | np.uint64(NONE) << S16
            counts[1, zeros] += np.uint32(1)
            k += ONE
    sums[0] += total
    sums[1] += weighted
    return np.int64(k), np.int64(after)


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
def _words(counts, lengths, literals, runs):
    """Find the code of a block; return about how many bytes the block will take.

    Parameters
    ----------
    counts : uint32[4, 512], as of tokenize
    lengths : int64[286]
        Written: bits of each symbol's code.
    literals, runs : uint64[257], uint64[261]
        Written: the words of what a token holds.
    """
    seen = np.zeros(SYMBOLS, np.int64)
    for byte in range(256):
        seen[byte] = counts[0, byte] + counts[2, byte]
    seen[NONE] = 1
    for zeros in range(MORE + 1):
        times = np.int64(counts[1, zeros]) + np.int64(counts[3, zeros])
        if zeros < 4:
            seen[0] += times * zeros
        else:
            seen[0] += times * (zeros != MORE)
            seen[MATCHES[0, min(zeros - 1, 258)]] += times
    code_lengths(seen, lengths)
    code = np.zeros(SYMBOLS, np.uint64)
    codes(lengths, code)
    for byte in range(256):  # a slice, and a row of MATCHES unpacked, take seconds to compile: their errors are strings
        literals[byte] = code[byte]
    literals[NONE] = ZERO
    runs[0] = ZERO
    for zeros in range(1, 4):
        runs[zeros] = _join(runs[zeros - 1], code[0])
    for zeros in range(4, MORE + 1):
        length = min(zeros - 1, 258)
        symbol, extra, bits = MATCHES[0, length], MATCHES[1, length], MATCHES[2, length]
        match = _join(code[symbol], np.uint64(bits | (extra + 1) << 56))  # and one bit 0 for distance 1
        runs[zeros] = match if zeros == MORE else _join(code[0], match)
    size = 0
    for byte in range(256):
        size += seen[byte] * lengths[byte]
    for symbol in range(257, SYMBOLS):
        size += seen[symbol] * (lengths[symbol] + 1 + max(0, (symbol - 261) // 4) * (symbol < 285))
    return size // 8


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
def block(tokens, counts, last, state):
    """Return one block, of all tokens, as bytes.

    Parameters
    ----------
    tokens, counts : as of tokenize
    last : bool
        Whether no block follows.
    state : uint64[2]
        Bits of the block before that are not yet written, and their number; becomes that of this block.
    """
    lengths = np.empty(SYMBOLS, np.int64)
    literals, runs = np.empty(NONE + 1, np.uint64), np.empty(MORE + 1, np.uint64)
    out = np.empty(_words(counts, lengths, literals, runs) + HEAD_BYTES, np.uint8)
    at, held, bits = _put(np.uint64(last | 2 << 1 | 3 << 56), out, ZERO, state[1], state[0])
    at, held, bits = _write_head(lengths, out, at, held, bits)
    for i in range(tokens.size):
        token = np.uint64(tokens[i])
        run, literal = runs[token & LOW16], literals[token >> S16]
        length = run >> S56
        bits |= ((run & LOW56) | (literal & LOW56) << length) << held
        held += length + (literal >> S56)
        store64(out, np.int64(at), bits)
        at += held >> S3
        bits >>= held & WHOLE
        held &= PART
    end = np.zeros(SYMBOLS, np.uint64)
    codes(lengths, end)
    at, held, bits = _put(end[NONE], out, at, held, bits)
    if last and held > ZERO:
        at, held = at + ONE, ZERO
    state[0], state[1] = bits, held
    return out[: np.int64(at)]
