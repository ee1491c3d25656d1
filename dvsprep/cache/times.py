"""Times of one sample of an event cache: unpacked, or only searched, as frames by time and by duration need them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dvsprep.cache import loading, sparse
from dvsprep.cache.codec import kernels
from dvsprep.types import Array

if TYPE_CHECKING:
    from dvsprep.cache.read import EventCache


def load_sparse(source: EventCache) -> None:
    """Load what unpacks large chunks of times side by side, as :func:`sparse.load` does: before threads begin."""
    if len(source):
        stored = source._stored_column("dt")
        if stored.chunks and stored.chunks[0] * stored.dtype.itemsize >= sparse.WORTH_READING:
            sparse.load()


class Times:
    """Times that are kept as differences; like an array of them to whoever takes the first or last, or searches.

    Parameters
    ----------
    source : EventCache
    i : int
        A sample.
    sound : callable
        Returns the context in which they are read, which makes errors of a damaged file ours.
    """

    def __init__(self, source: EventCache, i: int, sound: Callable[[], AbstractContextManager[None]]) -> None:
        self._source, self._sound = source, sound
        self._start, self._n = source.run(i)
        self._ends: tuple[np.int64, np.int64] = source.small("t_start")[i], source.small("t_end")[i]

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, at: int) -> np.int64:
        """Return the first one, 0, or the last one, -1."""
        return self._ends[at]

    def searchsorted(self, wanted: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many times are less than each of ``wanted : int64[K]``, non-decreasing."""
        positions, k, now = np.empty(len(wanted), np.int64), 0, self._ends[0]
        with self._sound():
            for at, n, steps, planes in self._chunks():
                if planes is None:
                    times = now + np.cumsum(steps, dtype=np.int64)
                    found = times.searchsorted(wanted[k:])
                    found = found[found < n]
                    positions[k : k + len(found)] = at + found
                    k, now = k + len(found), times[-1]
                else:
                    k, now = kernels().find_times(planes, len(planes) // self._rows, n, now, wanted, k, at, positions)
        positions[k:] = self._n
        return positions

    def unpack(self) -> NDArray[np.int64]:
        """Return all of them."""
        out, now = np.empty(self._n, np.int64), self._ends[0]
        with self._sound():
            for at, n, steps, planes in self._chunks():
                if planes is None:
                    np.cumsum(steps, out=out[at : at + n])
                    out[at : at + n] += now
                    now = out[at + n - 1]
                else:
                    now = kernels().add_times(planes, len(planes) // self._rows, now, out[at : at + n])
        return out

    def _chunks(self) -> Iterator[tuple[int, int, Array, Array | None]]:
        """Yield, of each chunk, how many times lie before it and in it, and their differences: as such or in planes."""
        stored = self._source._stored_column("dt")
        packing, nothing = stored.packing, np.empty(0, stored.dtype)
        if self._n == 0:
            return
        if packing is None or not packing.shuffles:
            steps = np.empty(self._n, stored.dtype)
            self._source._read(stored, self._start, steps)
            yield 0, self._n, steps, None
            return
        self._rows = stored.chunks[0]
        size = self._rows * stored.dtype.itemsize
        # Whoever takes a chunk is done with it before the next one comes.
        planes = loading.scratch("planes", (sparse.AT_ONCE, size), np.dtype(np.uint8))
        chunks = self._source._chunks(stored, self._start, self._n)
        while some := list(itertools.islice(chunks, sparse.AT_ONCE)):
            sound = [k for k, (_, chunk) in enumerate(some) if packing.undoes(chunk)]
            packing.inflate_into([some[k][1] for k in sound], [planes[k] for k in sound])
            for k, (at, _) in enumerate(some):
                n = min(self._rows, self._n - at)
                if k in sound:
                    unpacked = planes[k]
                    unpacked.flags.writeable = False  # one type for the kernels, wherever the bytes lie
                    yield at, n, nothing, unpacked
                else:
                    yield at, n, stored.dataset[self._start + at : self._start + at + n], None
