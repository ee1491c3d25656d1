"""A frame cache unpacked into memory once, for all processes that use it."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dvsprep import parallel
from dvsprep.cache import loading, memory
from dvsprep.cache.read import FrameCache
from dvsprep.errors import UsageError
from dvsprep.types import Array

MEMORY = Path("/proc/meminfo")


class PreloadedFrames(loading.Frames):
    """The frames of a cache in shared memory; a FrameSource.

    Forked workers share it as it is; spawned ones and whoever else gets a pickle of it map the same pages, as long as
    the process that made it lives. On Linux nothing stays behind when that process ends, however it ends; elsewhere a
    killed one leaves a temporary file.

    Raises
    ------
    UsageError
        The frames do not fit into the memory that is free.
    """

    def __init__(self, cache: FrameCache) -> None:
        self.path, self.spec, self.varies = cache.path, cache.spec, cache.varies
        self.labels, self.classes, self.ids = cache.labels, cache.classes, cache.ids
        self.dataset, self.split, self.sensor = cache.dataset, cache.split, cache.sensor
        column = cache.column("frames")
        rows = [cache.run(i)[1] for i in range(len(cache))]
        self._starts = np.concatenate([[0], np.cumsum(rows, dtype=np.int64)])
        self._shape, self._dtype = (int(self._starts[-1]), *column.shape[1:]), column.dtype
        size = int(np.prod(self._shape)) * column.dtype.itemsize
        _require_memory(size, str(self.path))
        self._owner = memory.Owner()
        self._place = memory.allocate(max(size, 1), self._owner)
        self._frames = self._map()

        def fill(i: int) -> None:
            frames, _ = cache[i]
            self._frames[self._starts[i] : self._starts[i + 1]] = frames if self.varies else frames[None]

        for _ in parallel.run(fill, range(len(cache))):
            pass

    def _map(self) -> Array:
        pages = memory.map_pages(self._place)
        return np.frombuffer(pages, self._dtype, int(np.prod(self._shape))).reshape(self._shape)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_frames", "_owner")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._frames = self._map()

    def __len__(self) -> int:
        return len(self.labels)

    def _index(self, index: int) -> int:
        i = operator.index(index)
        if not -len(self) <= i < len(self):
            raise IndexError(f"{self.path}: sample {i} of {len(self)}")
        return i % len(self)

    def __getitem__(self, index: int, /) -> tuple[Array, int]:
        i = self._index(index)
        frames = self._frames[self._starts[i] : self._starts[i + 1]]
        return self._typed((frames if self.varies else frames[0]).copy()), int(self.labels[i])

    def __getitems__(self, indices: Sequence[int]) -> Sequence[tuple[Array, int]]:
        """Return a whole batch, as torch's DataLoader asks for it."""
        if self.varies:
            return [self[i] for i in indices]
        wanted = [self._index(i) for i in indices]
        return loading.batch(self._fill, wanted, self.labels, self._shape[1:], self._floating or self._dtype)

    def _fill(self, some: Sequence[int], out: Array) -> None:
        for i, frames in zip(some, out, strict=True):
            frames[...] = self._frames[i]


def _require_memory(size: int, name: str) -> None:
    """Raise UsageError for more than Linux says is free: a missing page would end the process without a word."""
    if MEMORY.is_file():
        free = int(re.findall(r"MemAvailable:\s+(\d+) kB", MEMORY.read_text())[0]) * 1024
        if size > free:
            raise UsageError(
                f"{name}: unpacked, the frames are {size / 1e9:.1f} GB, and {free / 1e9:.1f} GB of memory are free",
                hint="open the cache without preload",
            )
