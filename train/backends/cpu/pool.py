"""Memory of the engine's large outputs, used again from step to step.

A step of training frees its tensors and asks for the same sizes again. The system's allocator gives large ones back at
once, and a new one costs page faults: more time than the kernels need. So what the kernels write into is taken from
here. A block goes back when the last tensor on it is gone, whoever held it, and waits for an output of its size.

What waits is bounded, in bytes, in blocks and in time; :func:`train.memory.release` gives all of it back to the system.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import threading
import weakref
from collections.abc import Sequence

import torch
from torch import Tensor

LEAST = 4 << 20  # bytes: smaller tensors are left to the allocator, which keeps them itself
ROUND = 2 << 20  # bytes: a huge page
IDLE_BYTES = 512 << 20  # that wait at most; larger blocks never do
IDLE_BLOCKS = 32
IDLE_REQUESTS = 256  # that a block waits for: shapes that come no more are forgotten


class Pool:
    """Blocks of memory that wait for their next use; safe for threads, and a forked process starts with none."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[tuple[int, mmap.mmap]] = []  # with the number of the request that they last served
        self._requests = 0

    def empty(self, count: int, dtype: torch.dtype) -> Tensor:
        """Return a new tensor of ``count`` numbers; it owns its block until the last view of it is gone."""
        nbytes = count * dtype.itemsize
        size = -(-nbytes // ROUND) * ROUND
        block = self._take(size) or self._new(size)
        owner = (ctypes.c_char * nbytes).from_buffer(block)  # that torch keeps as long as there is such a tensor
        weakref.finalize(owner, self._give_back, block, self._requests).atexit = False
        return torch.frombuffer(owner, dtype=dtype, count=count)

    def idle_bytes(self) -> int:
        """Return how much waits."""
        with self._lock:
            return sum(len(block) for _, block in self._idle)

    def release(self) -> None:
        """Give what waits back to the system."""
        with self._lock:
            self._idle.clear()

    def _take(self, size: int) -> mmap.mmap | None:
        with self._lock:
            self._requests += 1
            self._idle = [one for one in self._idle if one[0] + IDLE_REQUESTS >= self._requests]
            for k in reversed(range(len(self._idle))):
                if len(self._idle[k][1]) == size:
                    return self._idle.pop(k)[1]
        return None

    def _new(self, size: int) -> mmap.mmap:
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # a forked process has its own copy
        try:
            block = mmap.mmap(-1, size, flags=private)
        except OSError:  # no memory: what waits is the first to go
            self.release()
            try:
                block = mmap.mmap(-1, size, flags=private)
            except OSError as error:
                raise MemoryError(f"for an output of {size:,} bytes") from error
        if hasattr(mmap, "MADV_HUGEPAGE"):
            block.madvise(mmap.MADV_HUGEPAGE)
        return block

    def _give_back(self, block: mmap.mmap, request: int) -> None:
        # Called wherever the last tensor dies, even inside of this object: then the block is let go, not waited for.
        if len(block) > IDLE_BYTES or not self._lock.acquire(blocking=False):
            return
        try:
            self._idle.append((request, block))
            waiting = sum(len(block) for _, block in self._idle)
            while waiting > IDLE_BYTES or len(self._idle) > IDLE_BLOCKS:
                waiting -= len(self._idle.pop(0)[1])
        finally:
            self._lock.release()


POOL = Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=POOL._forget)
_USABLE = hasattr(mmap, "MAP_ANONYMOUS")


def empty(shape: Sequence[int], dtype: torch.dtype, strides: Sequence[int]) -> Tensor:
    """Return a new tensor without gaps, from the pool if it is large."""
    count = math.prod(shape)
    if not _USABLE or count * dtype.itemsize < LEAST:
        return torch.empty_strided(shape, strides, dtype=dtype)
    flat = POOL.empty(count, dtype)
    # Not a view: an output of autograd that is one may not be changed in place.
    return torch.empty(0, dtype=dtype).set_(flat.untyped_storage(), 0, torch.Size(shape), tuple(strides))
