"""IDX files of bytes, MNIST's format: a magic number, the length of each dimension, the bytes."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from dvsprep.errors import FormatError
from dvsprep.types import Array

IMAGES, LABELS = 2051, 2049  # magic numbers: bytes, with 3 and 1 dimensions
MAGIC = {"images": IMAGES, "labels": LABELS}


def read(path: Path, magic: int) -> Array:
    """Return the array of an IDX file of bytes, plain or gzipped.

    Raises
    ------
    FormatError
        Another magic number than asked for, or another size than the header states.
    """
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise FormatError(f"{path}: a damaged gzip file: {error}") from None
    dimensions = magic & 0xFF
    start = 4 + 4 * dimensions
    if len(data) < start:
        raise FormatError(f"{path}: {'truncated: ' if data else ''}the header of {start} bytes has {len(data)}")
    found, *shape = np.frombuffer(data, ">u4", 1 + dimensions).tolist()
    if found != magic:
        raise FormatError(f"{path}: the IDX magic number is {_words(found)}, expected {_words(magic)}")
    size = int(np.prod(shape, dtype=object))
    if len(data) - start != size:
        raise FormatError(f"{path}: {len(data) - start} bytes from byte {start}, expected {size} for {shape}")
    return np.frombuffer(data, np.uint8, size, start).reshape(shape)


def _words(magic: int) -> str:
    return " ".join([str(magic), *(f"({kind})" for kind, number in MAGIC.items() if number == magic)])
