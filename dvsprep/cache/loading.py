"""A batch of samples at once, unpacked by threads: codecs and kernels hold no GIL."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from dvsprep import parallel

Sample = TypeVar("Sample")
WORTH_A_THREAD = 1 << 16  # bytes of a sample; handing a smaller one over costs more than unpacking it
_pools: dict[int, ThreadPoolExecutor] = {}


def batch(one: Callable[[int], Sample], indices: Sequence[int], sample_bytes: int) -> list[Sample]:
    """Return ``one(i)`` for each index, in order.

    Parameters
    ----------
    sample_bytes : int
        What is unpacked for a sample, about.
    """
    workers = threads()
    if workers == 1 or len(indices) < 2 or sample_bytes < WORTH_A_THREAD:
        return [one(i) for i in indices]
    return list(_pool(workers).map(one, indices))


def threads() -> int:
    """Return how many threads unpack a batch: all CPUs in a process of its own, one in each of several workers."""
    return parallel.cpu_count() if multiprocessing.parent_process() is None else 1


def _pool(workers: int) -> ThreadPoolExecutor:
    pid = os.getpid()  # threads do not survive a fork
    if pid not in _pools:
        _pools[pid] = ThreadPoolExecutor(workers, thread_name_prefix="dvsprep-batch")
    return _pools[pid]
