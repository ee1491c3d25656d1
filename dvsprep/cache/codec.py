"""How a chunk's bytes are packed: outside HDF5, without the GIL, yet exactly as its own filters would.

Deflate is the one codec every HDF5 reader has. HDF5's filter pipeline runs under one global lock; packing in the
workers and writing whole chunks does not. ISA-L packs and libdeflate unpacks where their wheels exist, zlib elsewhere.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dvsprep.errors import IntegrityError, UsageError
from dvsprep.types import Array

try:
    from isal import isal_zlib

    _pack: Callable[..., bytes] = isal_zlib.compress
    crc32: Callable[..., int] = isal_zlib.crc32
except ImportError:
    _pack, crc32 = zlib.compress, zlib.crc32

try:
    import deflate

    def _unpack(packed: bytes, size: int) -> bytes | bytearray:
        return deflate.zlib_decompress(packed, size)

    _UNPACK_ERRORS: tuple[type[Exception], ...] = (deflate.DeflateError, zlib.error)
except ImportError:

    def _unpack(packed: bytes, size: int) -> bytes | bytearray:
        return zlib.decompress(packed, bufsize=size)

    _UNPACK_ERRORS = (zlib.error,)


@dataclass(frozen=True)
class Codec:
    """A codec by its HDF5 filters: what ``create_dataset`` is told, and the same done by hand."""

    name: str
    deflates: bool

    def filters(self, dtype: np.dtype[Any]) -> dict[str, Any]:
        """Return the keyword arguments of ``create_dataset`` that match :meth:`pack`."""
        if not self.deflates:
            return {}
        return {"compression": "gzip", "compression_opts": 1, "shuffle": dtype.itemsize > 1}

    def pack(self, chunk: Array) -> bytes:
        """Pack one C-contiguous chunk."""
        if not self.deflates:
            return chunk.tobytes()
        size = chunk.dtype.itemsize
        if size > 1:  # HDF5's shuffle filter: all first bytes, then all second bytes, ...
            chunk = np.ascontiguousarray(chunk.reshape(-1).view(np.uint8).reshape(-1, size).T)
        return _pack(chunk, 1)

    def inflate(self, packed: bytes, size: int) -> bytes | bytearray:
        """Undo deflate alone; ``size`` bytes come out, still shuffled."""
        if self.deflates:
            try:
                packed = _unpack(packed, size)  # type: ignore[assignment]
            except _UNPACK_ERRORS as error:
                raise IntegrityError(f"a chunk does not unpack: {error}") from error
        if len(packed) != size:
            raise IntegrityError(f"a chunk holds {len(packed)} bytes, expected {size}")
        return packed

    def unpack(self, packed: bytes, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
        """Unpack one chunk; the array may be read-only."""
        raw = self.inflate(packed, dtype.itemsize * int(np.prod(shape)))
        if self.deflates and dtype.itemsize > 1:
            return np.frombuffer(raw, np.uint8).reshape(dtype.itemsize, -1).T.copy().view(dtype).reshape(shape)
        return np.frombuffer(raw, dtype).reshape(shape)


CODECS = {"deflate": Codec("deflate", True), "none": Codec("none", False)}
DEFAULT = "deflate"


def get(name: str) -> Codec:
    """Return a codec by name."""
    try:
        return CODECS[name]
    except KeyError:
        raise UsageError(f"no codec is named {name!r}, expected one of {', '.join(CODECS)}") from None
