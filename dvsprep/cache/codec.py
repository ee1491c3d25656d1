"""How a chunk's bytes are packed: outside HDF5, without the GIL, yet exactly as its own filters would.

HDF5's filter pipeline runs under one global lock; packing in the workers and writing whole chunks does not. Only what
every HDF5 library has is used: deflate (``sparse`` packs frames and times, ISA-L packs all else and libdeflate unpacks
where their wheels exist, zlib elsewhere), shuffle and N-Bit.
"""

from __future__ import annotations

import functools
import math
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import h5py
import numpy as np
from h5py import h5z

from dvsprep.cache import sparse
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
    adler32: Callable[..., int] = deflate.adler32
except ImportError:

    def _unpack(packed: bytes, size: int) -> bytes | bytearray:
        return zlib.decompress(packed, bufsize=size)

    _UNPACK_ERRORS, adler32 = (zlib.error,), zlib.adler32

Bytes = bytes | bytearray | memoryview
SPARE = 8  # bytes behind a packed chunk that the kernels may write


class Chunk(NamedTuple):
    """A packed chunk; bit k of ``mask`` tells that filter k was left out for it."""

    mask: int
    data: Bytes


@dataclass(frozen=True)
class Packing:
    """The filters of one column: what its dataset is created with, and the same done by hand.

    Parameters
    ----------
    bits : int
        Bits a value in the N-Bit filter; 0 for none of it.
    deflates : {"no", "all", "padded"}
        Which chunks: of bits that hardly deflate, only those filled up with zeros, and of these only the zeros.
    """

    bits: int = 0
    shuffles: bool = False
    deflates: Literal["no", "all", "padded"] = "no"

    def create(
        self, file: h5py.File, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], chunks: tuple[int, ...]
    ) -> h5py.Dataset:
        """Create a dataset whose filters undo :meth:`pack`."""
        kind = h5py.h5t.py_create(dtype, logical=True).copy()
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk(chunks)
        properties.set_obj_track_times(False)  # the same cache has the same bytes whenever it is made
        if self.bits:
            kind.set_precision(self.bits)
            properties.set_filter(h5z.FILTER_NBIT, 0, ())
        if self.shuffles:
            properties.set_shuffle()
        if self.deflates != "no":
            properties.set_deflate(1)
        space = h5py.h5s.create_simple(shape)
        return h5py.Dataset(h5py.h5d.create(file.id, name.encode(), kind, space, dcpl=properties))

    @classmethod
    def of(cls, dataset: h5py.Dataset) -> Packing | None:
        """Return a dataset's packing, or None where its filters are not ours: then HDF5's own road is the one."""
        properties, precision = dataset.id.get_create_plist(), 0
        filters = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
        if h5z.FILTER_NBIT in filters:
            precision = dataset.id.get_type().get_precision()
        deflates: Literal["all", "no"] = "all" if h5z.FILTER_DEFLATE in filters else "no"
        packing = cls(precision, h5z.FILTER_SHUFFLE in filters, deflates)
        return packing if filters == packing._filters and dataset.dtype.isnative else None

    @functools.cached_property
    def _filters(self) -> list[int]:
        wanted = {
            h5z.FILTER_NBIT: self.bits > 0,
            h5z.FILTER_SHUFFLE: self.shuffles,
            h5z.FILTER_DEFLATE: self.deflates != "no",
        }
        return [number for number, wants in wanted.items() if wants]

    def pack(self, rows: Array, chunk: int) -> Chunk:
        """Pack up to ``chunk`` rows, which zeros fill up."""
        used = len(rows)
        if self.bits:
            return self._pack_bits(rows.reshape(-1), math.prod((chunk, *rows.shape[1:])))
        if used < chunk:
            padded = np.zeros((chunk, *rows.shape[1:]), rows.dtype)
            padded[:used] = rows
            rows = padded
        rows = np.ascontiguousarray(rows)
        size = rows.dtype.itemsize
        raw = rows.reshape(-1).view(np.uint8)
        if self.shuffles and size > 1:  # all first bytes, then all second bytes, ...
            raw = np.ascontiguousarray(raw.reshape(-1, size).T).reshape(-1)
        return self.deflate(raw, -(-used * raw.size // chunk) if used < chunk else raw.size)

    def _pack_bits(self, values: Array, capacity: int) -> Chunk:
        size, used = capacity * self.bits // 8 + 1, -(-values.size * self.bits // 8)
        if self.deflates != "padded":
            return self.deflate(_to_bits(values, self.bits, size), size)
        # In few steps, so that it is nearly always a run of zeros that was deflated before.
        step = max(64, size // 128)
        used = min(size, -(-used // step) * step) if values.size < capacity else size
        raw = _to_bits(values, self.bits, used)
        return Chunk(0, _stored(raw, size - used)) if used < size else Chunk(self.kept, raw.tobytes())

    def deflate(self, raw: Array, used: int) -> Chunk:
        """Do the last step of :meth:`pack` alone: deflate bytes that are shuffled or in bits.

        Parameters
        ----------
        used : int
            Bytes behind which there are only zeros.
        """
        if self.deflates == "all":
            streams = sparse.compress(raw)
            return Chunk(0, streams[0] if streams else _pack(raw, 1))
        if self.deflates == "padded" and used < raw.size:
            return Chunk(0, _stored(raw[:used], raw.size - used))
        return Chunk(self.kept, raw.tobytes())

    def pack_rows(self, rows: Array, chunk: int) -> list[Chunk]:
        """Pack any number of rows, ``chunk`` rows a chunk."""
        if self.deflates == "all" and rows.itemsize == 1 and len(rows) > 1 and len(rows) % chunk == 0:
            raw = np.ascontiguousarray(rows).reshape(-1).view(np.uint8)
            if streams := sparse.compress(raw, raw.size // (len(rows) // chunk)):  # all at once
                return [Chunk(0, stream) for stream in streams]
        return [self.pack(rows[start : start + chunk], chunk) for start in range(0, len(rows), chunk)]

    def pack_each(self, arrays: Array) -> list[Chunk]:
        """Do :meth:`pack` for each of ``arrays : [K, ...]``, one row that fills a chunk; faster than one by one."""
        streams = [b""] * len(arrays)
        if self.deflates == "all" and arrays.itemsize == 1 and not self.bits:
            streams = sparse.compress_each(arrays.reshape(len(arrays), -1))
        return [Chunk(0, s) if s else self.pack(a[None], 1) for s, a in zip(streams, arrays, strict=True)]

    def deflate_times(self, planes: Array) -> Chunk:
        """Do :meth:`deflate` for differences of times, a full chunk of which is small but for a few of its bytes.

        However few are zero, one code for all of them beats a search for repeats. In fewer bytes ISA-L is faster.
        """
        streams = sparse.compress(planes, most=1) if planes.size >= sparse.WORTH_READING else None
        return Chunk(0, streams[0] if streams else _pack(planes, 1))

    def inflate(self, chunk: Chunk, size: int) -> Bytes:
        """Undo deflate alone; ``size`` bytes come out, still shuffled or in bits."""
        data = chunk.data
        if self.is_deflated(chunk):
            try:
                data = _unpack(data, size)  # type: ignore[arg-type]
            except _UNPACK_ERRORS as error:
                raise IntegrityError(f"a chunk does not unpack: {error}") from error
        if len(data) != size:
            raise IntegrityError(f"a chunk holds {len(data)} bytes, expected {size}")
        return data

    def inflate_into(self, chunks: Sequence[Chunk], outs: Sequence[Array]) -> None:
        """Undo deflate alone, of each chunk into all of its ``out : uint8[n]``; faster than :meth:`inflate` one by one.

        That is, where :mod:`~dvsprep.cache.sparse` can do it; sparse.AT_ONCE chunks are best given at a time.
        """
        for chunk, out, done in zip(chunks, outs, self._inflate_sparse(chunks, outs), strict=True):
            if not done:
                out[:] = np.frombuffer(self.inflate(chunk, out.size), np.uint8)

    def _inflate_sparse(self, chunks: Sequence[Chunk], outs: Sequence[Array]) -> list[bool]:
        if not all(self.is_deflated(chunk) for chunk in chunks):
            return [False] * len(chunks)
        return sparse.decompress([chunk.data for chunk in chunks], outs)

    @functools.cached_property
    def kept(self) -> int:
        """The mask of a chunk for which deflate, the last filter, was left out; 0 where there is none."""
        return 0 if self.deflates == "no" else 1 << (len(self._filters) - 1)

    def is_deflated(self, chunk: Chunk) -> bool:
        """Tell whether a chunk that :meth:`undoes` knows went through deflate."""
        return chunk.mask == 0 and self.deflates != "no"

    def undoes(self, chunk: Chunk) -> bool:
        """Tell whether a chunk is one that :meth:`pack` makes, or HDF5 with all its filters."""
        return chunk.mask in (0, self.kept)

    def unpack_whole(self, chunk: Chunk, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
        """Return all rows of a chunk."""
        out = np.empty(shape, dtype)
        self.unpack(chunk, out, len(out))
        return out

    def unpack_sparse(self, chunks: Sequence[Chunk], out: Array) -> list[bool]:
        """Unpack whole chunks side by side, ``out[k]`` from the k-th, and tell which are done; the others never fail.

        Faster than one by one, where :mod:`~dvsprep.cache.sparse` can do it.
        """
        if self.shuffles or self.bits:
            return [False] * len(chunks)
        return self._inflate_sparse(chunks, list(out.reshape(len(out), -1).view(np.uint8)))

    def unpack(self, chunk: Chunk, out: Array, rows: int) -> None:
        """Unpack the first ``len(out)`` rows of a chunk of ``rows`` rows, all of them straight into ``out``."""
        values = rows * math.prod(out.shape[1:])
        size = out.dtype.itemsize
        if self.bits:
            _from_bits(self.inflate(chunk, values * self.bits // 8 + 1), self.bits, out)
            return
        if not self.shuffles and len(out) == rows and out.flags.c_contiguous:
            self.inflate_into([chunk], [out.reshape(-1).view(np.uint8)])
            return
        raw = np.frombuffer(self.inflate(chunk, values * size), np.uint8)
        if self.shuffles and size > 1:
            raw = raw.reshape(size, -1).T.copy()
        out[...] = raw.reshape(-1).view(out.dtype)[: out.size].reshape(out.shape)


def _stored(used: Array, zeros: int) -> bytes:
    """Return a zlib stream of bytes as they are and of zeros behind them: a copy to write, and a copy to read.

    RFC 1950 and 1951: stored blocks of up to 65,535 bytes, which end at whole bytes, then deflated zeros and Adler-32.
    """
    parts = [b"\x78\x01"]
    for at in range(0, used.size, 65_535):
        block = used[at : at + 65_535]
        parts += [struct.pack("<BHH", 0, block.size, block.size ^ 0xFFFF), block.tobytes()]
    return b"".join([*parts, _stored_end(used, zeros)])


_HEAD = struct.Struct("<2sBHH")
STORED = _HEAD.size  # bytes before those of a stream's first block: two of zlib, five of the block


def stored_bytes(stream: Any, size: int) -> int:
    """Return how many bytes lie as they are, from byte STORED on, in what :func:`_stored` made of ``size`` bytes.

    0 where the stream is another one, or damaged: all of it is compared.
    """
    zlib_head, kind, used, inverse = _HEAD.unpack_from(stream) if len(stream) >= STORED else (b"", 0, 0, 0)
    if zlib_head != b"\x78\x01" or kind != 0 or used ^ inverse != 0xFFFF or not used < size:
        return 0
    same = stream[STORED + used :] == _stored_end(stream[STORED : STORED + used], size - used)
    return int(used) if same else 0


def _stored_end(used: Any, zeros: int) -> bytes:
    low = adler32(used)
    high = (low >> 16) + zeros * (low & 0xFFFF)
    return _zeros(zeros) + ((high % 65_521) << 16 | low & 0xFFFF).to_bytes(4, "big")


@functools.lru_cache(256)
def _zeros(n: int) -> bytes:
    """Return a raw deflate stream of n zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(bytes(n)) + packer.flush()


@functools.cache
def kernels() -> Any:
    """Return the module of kernels, imported when it is first needed: who only looks at labels need not wait for it."""
    from dvsprep.cache import _kernels

    return _kernels


def _to_bits(values: Array, bits: int, size: int) -> Array:
    """Return what HDF5's N-Bit filter makes of whole numbers and of zeros behind them, ``size`` bytes."""
    out = np.zeros(max(size, -(-values.size * bits // 8)) + SPARE, np.uint8)
    (kernels().pack_bits if values.itemsize == 1 else kernels().pack_wide)(np.ascontiguousarray(values), bits, out)
    return out[:size]


def _from_bits(data: Bytes, bits: int, out: Array) -> None:
    packed = np.frombuffer(data, np.uint8)
    packed.flags.writeable = False  # one type for the kernels, whatever the library returns
    (kernels().unpack_bits if out.itemsize == 1 else kernels().unpack_wide)(packed, bits, out)


CODECS = ("packed", "deflate", "none")
DEFAULT = "packed"


def check(name: str) -> str:
    """Return a codec's name if there is one of that name."""
    if name not in CODECS:
        raise UsageError(f"no codec is named {name!r}, expected one of {', '.join(CODECS)}")
    return name


def packing(codec: str, dtype: np.dtype[Any], values: int | None = None) -> Packing:
    """Return how a codec packs a column.

    ``none`` packs nothing and ``deflate`` everything; ``packed`` keeps coordinates, which hardly deflate, in as few
    bits as they need, and deflates the rest. docs/cache.md tells why.

    Parameters
    ----------
    values : int, optional
        How many values a coordinate can have, 0 to values - 1.
    """
    if codec == "none":
        return Packing()
    if codec == "packed" and values is not None and values > 1:  # of one value alone deflate leaves nothing
        bits = max(1, (values - 1).bit_length())
        return Packing(bits if bits < 8 * dtype.itemsize else 0, deflates="padded")
    return Packing(shuffles=dtype.itemsize > 1, deflates="all")
