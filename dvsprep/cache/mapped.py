"""Where a column's chunks lie in the file, and these chunks as memory: read by many threads at once.

HDF5 has one lock for a whole process; two threads that read chunks through it take five times as long as one.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from dvsprep.cache import loading
from dvsprep.cache.codec import STORED, Chunk, Packing, kernels, stored_bytes
from dvsprep.types import Array

if TYPE_CHECKING:
    from dvsprep.cache.read import Stored

MOST = 1 << 17  # chunks; to find those of the largest data sets takes longer than the first samples may


class Places(NamedTuple):
    """Of each chunk of a dataset, the k-th of which holds rows ``[k * rows, (k + 1) * rows)``.

    offsets : int64[K], bytes from the beginning of the file
    sizes, masks : uint32[K], packed bytes (0 where the chunk was never written), and a bit for every filter left out
    """

    offsets: NDArray[np.int64]
    sizes: NDArray[np.uint32]
    masks: NDArray[np.uint32]


def locate(dataset: h5py.Dataset) -> Places:
    """Find the chunks of a dataset that is chunked along its first axis."""
    rows = dataset.chunks[0]
    found = np.zeros((3, -(-dataset.shape[0] // rows)), np.int64)

    def note(info: Any) -> None:
        k = info.chunk_offset[0] // rows
        if k < found.shape[1] and info.byte_offset < 1 << 63 and info.size < 1 << 32:  # else the file is damaged
            found[:, k] = info.byte_offset, info.size, info.filter_mask

    dataset.id.chunk_iter(note)
    return Places(found[0], found[1].astype(np.uint32), found[2].astype(np.uint32))


class Mapped:
    """The chunks of a column in a mapped file; a mapping survives a fork, and needs no handle to stay open."""

    def __init__(self, pages: memoryview, places: Places) -> None:
        self._pages = pages
        self.pages = np.frombuffer(pages, np.uint8)
        self._places = [column.tolist() for column in places]
        self._whole: NDArray[np.int64] | None = None

    def chunk(self, k: int) -> Chunk | None:
        """Return the k-th chunk, or None where it does not lie in the file: HDF5 has the right error for it."""
        offset, size, mask = (column[k] for column in self._places)
        if size == 0 or offset + size > len(self._pages):
            return None
        return Chunk(mask, self._pages[offset : offset + size])

    def bits(self, first: int, packing: Packing, rows: int, last: int, out: NDArray[np.int64]) -> bool:
        """Write to ``out : int64[K, 2]`` where the bits of K chunks of ``rows`` values lie in the file as they are.

        Returns False where a chunk has to be inflated, or is no chunk of this packing, or the last one holds fewer than
        ``last`` values: then each is to be unpacked by itself.
        """
        size = rows * packing.bits // 8 + 1
        out[:] = self._as_they_are(packing, size)[first : first + len(out)]
        offsets, sizes, masks = self._places
        for k in (out[:, 1] == 0).nonzero()[0].tolist():  # few: those filled up with zeros
            offset, stored, mask = offsets[first + k], sizes[first + k], masks[first + k]
            if mask != 0 or packing.kept == 0 or offset + stored > len(self._pages):
                return False
            used = stored_bytes(self._pages[offset : offset + stored], size)
            if used == 0:
                return False
            out[k] = offset + STORED, offset + STORED + used
        return bool(8 * (out[-1, 1] - out[-1, 0]) >= last * packing.bits)

    def _as_they_are(self, packing: Packing, size: int) -> NDArray[np.int64]:
        """Return where each chunk begins and ends, zeros where it was deflated, has another size or lies elsewhere.

        Found once: a column has one packing, and chunks of one size.
        """
        if self._whole is None:
            offsets, sizes, masks = (np.array(column, np.int64) for column in self._places)
            kept = (masks == packing.kept) & (sizes == size) & (offsets + sizes <= len(self._pages))
            self._whole = np.where(kept, [offsets, offsets + sizes], 0).T.copy()
        return self._whole


def unpack_chunks(column: Stored, some: Sequence[int], out: Array) -> list[bool]:
    """Unpack chunks of one row each side by side, row ``some[k]`` into ``out[k]``, and tell which are done.

    Does nothing where there is one alone, or where chunks have to be unpacked one by one.
    """
    mapped, packing = column.mapped, column.packing
    if len(some) > 1 and mapped is not None and packing is not None and column.chunks == (1, *column.shape[1:]):
        chunks = [chunk for i in some if (chunk := mapped.chunk(i)) is not None]
        if len(chunks) == len(some):
            return packing.unpack_sparse(chunks, out)
    return [False] * len(some)


def unpack_columns(
    columns: Sequence[Stored], start: int, n: int, empty: loading.Empty = loading.fresh
) -> list[Array] | None:
    """Unpack n rows of three columns from row ``start`` on at once, or return None where chunks have to be one by one.

    Parameters
    ----------
    columns
        x, y and p of an event cache.
    """
    rows = columns[0].chunks[0] if columns[0].chunks else 0
    if rows == 0 or n == 0:
        return None
    count = -(-n // rows)
    last = n - (count - 1) * rows  # values of the last chunk; a padded one may hold no more
    places, bits = np.empty((3, count, 2), np.int64), np.empty(3, np.int64)
    for c, column in enumerate(columns):
        packing, mapped = column.packing, column.mapped
        if mapped is None or packing is None or column.chunks != (rows,) or column.dtype.itemsize != 1:
            return None
        if not 0 < packing.bits <= 8 or packing.shuffles:
            return None
        if not mapped.bits(start // rows, packing, rows, last, places[c]):
            return None
        pages, bits[c] = mapped.pages, packing.bits
    out = [empty(name, (n,), column.dtype) for name, column in zip("xyp", columns, strict=True)]
    kernels().unpack_columns(pages, places, bits, rows, *out)
    return out


def warm_up() -> None:
    """Compile what unpack_columns calls, before threads begin: concurrent first compiles can crash Numba."""
    nothing, pages = np.zeros(0, np.uint8), np.zeros(0, np.uint8)
    pages.flags.writeable = False
    kernels().unpack_columns(pages, np.zeros((3, 0, 2), np.int64), np.zeros(3, np.int64), 1, nothing, nothing, nothing)


def map_file(file: h5py.File) -> memoryview | None:
    """Map an open file, or return None where that is not to be had."""
    if os.name != "posix" or file.driver != "sec2" or file.userblock_size:
        return None
    return memoryview(mmap.mmap(file.id.get_vfd_handle(), 0, access=mmap.ACCESS_READ))


def worth_mapping(dataset: h5py.Dataset) -> bool:
    """Tell whether a dataset's chunks are few enough to look all of them up."""
    return bool(dataset.chunks) and -(-dataset.shape[0] // dataset.chunks[0]) <= MOST
