"""Where a column's chunks lie in the file, and these chunks as memory: read by many threads at once.

HDF5 has one lock for a whole process; two threads that read chunks through it take five times as long as one.
"""

from __future__ import annotations

import mmap
import os
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from dvsprep.cache.codec import Chunk

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
        self._places = [column.tolist() for column in places]

    def chunk(self, k: int) -> Chunk | None:
        """Return the k-th chunk, or None where it does not lie in the file: HDF5 has the right error for it."""
        offset, size, mask = (column[k] for column in self._places)
        if size == 0 or offset + size > len(self._pages):
            return None
        return Chunk(mask, self._pages[offset : offset + size])


def map_file(file: h5py.File) -> memoryview | None:
    """Map an open file, or return None where that is not to be had."""
    if os.name != "posix" or file.driver != "sec2" or file.userblock_size:
        return None
    return memoryview(mmap.mmap(file.id.get_vfd_handle(), 0, access=mmap.ACCESS_READ))


def worth_mapping(dataset: h5py.Dataset) -> bool:
    """Tell whether a dataset's chunks are few enough to look all of them up."""
    return bool(dataset.chunks) and -(-dataset.shape[0] // dataset.chunks[0]) <= MOST
