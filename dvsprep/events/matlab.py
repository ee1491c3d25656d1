"""Numeric matrices of MATLAB files of level 5 (-v6, -v7), from MathWorks' "MAT-File Format".

Own code, because scipy's reader takes a damaged file's element types on trust and brings the interpreter down.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np

from dvsprep.errors import FormatError
from dvsprep.types import Array

HEADER = 128  # bytes: text, version, byte order
HDF5 = b"MATLAB 7.3"
INT32, UINT32, INT8, MATRIX, COMPRESSED = 5, 6, 1, 14, 15
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
CLASSES = range(6, 16)  # double to uint64; others are cells, structures, objects, text and sparse matrices
COMPLEX = 0x0800
LARGEST = 1 << 31  # bytes of one variable, which the format's own limit


def variables(raw: Array, name: str) -> dict[str, Array | None]:
    """Return the matrices by name; None for a variable that is no real numeric matrix."""
    if raw.size == 0:
        raise FormatError(f"{name}: the file is empty")
    data = raw.tobytes()
    if data.startswith(HDF5):
        raise FormatError(f"{name}: a MATLAB 7.3 file (HDF5)", hint="save it with -v7")
    if len(data) < HEADER or data[126:128] not in (b"IM", b"MI"):
        raise FormatError(f"{name}: no MATLAB file of level 5: starts with {data[:8]!r}, byte order {data[126:128]!r}")
    order = "<" if data[126:128] == b"IM" else ">"
    found: dict[str, Array | None] = {}
    for at, kind, body in _elements(data, HEADER, order, name):
        if kind == COMPRESSED:
            body = _inflate(body, at, name)
            inner = list(_elements(body, 0, order, f"{name}: variable at byte {at}"))
            if len(inner) != 1:
                raise FormatError(f"{name}: {len(inner)} elements in the compressed variable at byte {at}, expected 1")
            kind, body = inner[0][1:]
        if kind != MATRIX:
            raise FormatError(f"{name}: an element of type {kind} at byte {at}, expected a matrix ({MATRIX})")
        key, value = _matrix(body, order, f"{name}: variable at byte {at}")
        found[key] = value
    return found


def _inflate(body: bytes, at: int, name: str) -> bytes:
    try:
        reader = zlib.decompressobj()
        plain = reader.decompress(body, LARGEST)
    except zlib.error as error:
        raise FormatError(f"{name}: the compressed variable at byte {at} is damaged: {error}") from None
    if not reader.eof:
        raise FormatError(f"{name}: truncated: the compressed variable at byte {at} does not end")
    return plain


def _matrix(body: bytes, order: str, name: str) -> tuple[str, Array | None]:
    """Parse flags, dimensions, name and, of a real numeric matrix, the values."""
    parts = _elements(body, 0, order, name)
    head = [part[1:] for _, part in zip(range(3), parts, strict=False)]
    if [kind for kind, _ in head] != [UINT32, INT32, INT8] or len(head[0][1]) != 8 or len(head[1][1]) % 4:
        raise FormatError(f"{name}: no matrix header")
    flags = int(np.frombuffer(head[0][1], f"{order}u4")[0])
    shape = np.frombuffer(head[1][1], f"{order}i4").tolist()
    key = head[2][1].decode("latin-1")
    if flags & 0xFF not in CLASSES or flags & COMPLEX:
        return key, None
    kind, values = next(((kind, values) for _, kind, values in parts), (0, b""))
    if kind not in NUMBERS:
        raise FormatError(f"{name}: {key!r} holds elements of type {kind}, expected numbers")
    dtype = np.dtype(order + NUMBERS[kind])
    count = int(np.prod(shape, dtype=object))
    if min(shape, default=-1) < 0 or len(shape) > 8 or len(values) != count * dtype.itemsize:
        raise FormatError(f"{name}: {key!r} has {len(values)} bytes for {dtype}{shape}")
    return key, np.frombuffer(values, dtype).reshape(shape, order="F")


def _elements(data: bytes, at: int, order: str, name: str) -> Iterator[tuple[int, int, bytes]]:
    """Yield (byte, type, body) of data elements: a tag of type and size, the body, filled up to 8 bytes."""
    endian = "little" if order == "<" else "big"
    while at < len(data):
        tag = int.from_bytes(data[at : at + 4], endian)  # type: ignore[arg-type]
        small = tag >> 16  # a body of up to 4 bytes lies in the tag itself
        size = small or int.from_bytes(data[at + 4 : at + 8], endian)  # type: ignore[arg-type]
        start, kind = (at + 4, tag & 0xFFFF) if small else (at + 8, tag)
        if start + size > len(data) or at + 8 > len(data) or small > 4:
            raise FormatError(f"{name}: truncated: the element at byte {at} of {size} bytes does not end")
        yield at, kind, data[start : start + size]
        at = at + 8 if small else start + size + (0 if kind == COMPRESSED else -size % 8)
