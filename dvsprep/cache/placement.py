"""Where a cache's chunks lie in its file, so that they can be sent or copied as they are, with no HDF5 in between."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dvsprep.cache.codec import Packing
from dvsprep.cache.mapped import locate
from dvsprep.cache.read import Cache, sound
from dvsprep.errors import IncompleteError


class Placement(NamedTuple):
    """A column and its chunks, the k-th of which holds rows ``[k * rows, (k + 1) * rows)``.

    offsets : int64[K], bytes from the beginning of the file
    sizes, masks : uint32[K], packed bytes, and a bit for every filter left out
    """

    dtype: np.dtype[Any]
    row_shape: tuple[int, ...]
    rows: int
    packing: Packing
    offsets: NDArray[np.int64]
    sizes: NDArray[np.uint32]
    masks: NDArray[np.uint32]

    def chunks(self, first: int, rows: int) -> slice:
        """Return the chunks of a sample's run of rows."""
        start = first // self.rows
        return slice(start, start + -(-rows // self.rows) if len(self.offsets) else start)


def placement(cache: Cache, column: str) -> Placement:
    """Return where every chunk of a column lies.

    Raises
    ------
    IncompleteError
        The column's filters are not those of dvsprep, so only HDF5 can undo them.
    """
    with sound(cache.path, f"the chunks of {column}"):
        stored = cache._stored_column(column)
        rows, empty = (stored.chunks[0] if stored.chunks else 1), np.empty(0, np.uint32)
        if not stored.chunks:  # written where no sample has a row
            return Placement(stored.dtype, stored.shape[1:], rows, Packing(), empty.astype(np.int64), empty, empty)
        if stored.packing is None:
            raise IncompleteError(
                f"{cache.path}: {column} is packed by other filters than dvsprep's",
                hint="`dvsprep export --format h5` makes a cache that can be served",
            )
        return Placement(stored.dtype, stored.shape[1:], rows, stored.packing, *locate(stored.dataset))
