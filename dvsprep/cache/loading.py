"""A batch of samples at once, side by side in one array, unpacked by threads: codecs and kernels hold no GIL."""

from __future__ import annotations

import math
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dvsprep import parallel
from dvsprep.cache import memory, to_torch
from dvsprep.errors import UsageError
from dvsprep.types import Array

Item = TypeVar("Item")
Empty = Callable[[str, tuple[int, ...], np.dtype[Any]], Array]
WORTH_A_THREAD = 1 << 16  # bytes of a sample; handing a smaller one over costs more than unpacking it
_pools: dict[int, ThreadPoolExecutor] = {}
_own = threading.local()


class Frames:
    """What FrameSources have in common: they give frames as they are stored, or in a floating type."""

    _floating: np.dtype[Any] | None = None

    def astype(self, dtype: DTypeLike) -> Self:
        """Return the same frames in a floating type, converted as they are unpacked: float32, to train on a CPU.

        A GPU makes integers floating faster than four times the bytes travel to it.
        """
        wanted = np.dtype(dtype)
        if wanted.kind != "f":
            raise UsageError(f"frames cannot become {wanted}", hint="name a floating type, such as float32")
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__, _floating=wanted)
        return made

    def _typed(self, frames: Array) -> Array:
        return frames if self._floating is None else frames.astype(self._floating, copy=False)


class Sample(tuple[Array, int]):
    """``(frames, label)`` of a batch; a type of its own, so that torch can be told what to do with it."""

    __slots__ = ()


class Batch(tuple[Sample, ...]):  # noqa: SLOT001 -- a tuple may have attributes, but no slots
    """Samples of one shape; their frames are views of one array.

    Attributes
    ----------
    frames : [N, T, C, H, W]
    labels : int64[N]
    """

    frames: Array
    labels: NDArray[np.int64]


def batch(
    fill: Callable[[Sequence[int], Array], None],
    indices: Sequence[int],
    labels: NDArray[np.int64],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    floating: np.dtype[Any] | None = None,
    at_once: int = 1,
) -> Batch:
    """Return the samples of some indices.

    Parameters
    ----------
    fill : callable
        ``fill(some, out)`` writes the frames of some of the samples.
    labels : int64
        Of all samples.
    shape, dtype
        Of the frames that ``fill`` writes.
    floating : dtype, optional
        What they are made.
    at_once : int
        Samples that ``fill`` is best given at a time.
    """
    to_torch.teach(Sample, Batch)
    frames = to_torch.empty((len(indices), *shape), floating or dtype)

    at_once = max(1, min(at_once, len(indices) // threads()))  # something for every thread

    def work(k: int) -> None:
        some, out = indices[k * at_once : (k + 1) * at_once], frames[k * at_once : (k + 1) * at_once]
        if frames.dtype == dtype:
            fill(some, out)
            return
        stored = scratch("frames", out.shape, dtype)
        fill(some, stored)
        np.copyto(out, stored, casting="unsafe")

    _share_out(work, -(-len(indices) // at_once), at_once * math.prod(shape) * dtype.itemsize)
    own = labels[np.asarray(indices, np.int64)]
    made = Batch(map(Sample, zip(frames, own.tolist(), strict=True)))
    made.frames, made.labels = frames, own
    return made


def fresh(_: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return memory of a name that nobody else has."""
    return np.empty(shape, dtype)


def scratch(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return this thread's own memory of a name, whatever it holds: its next sample uses it again."""
    size = math.prod(shape) * dtype.itemsize
    kept: dict[str, Array] = _own.__dict__
    if name not in kept or not size <= kept[name].size <= max(4 * size, memory.WORTH_KEEPING):
        kept[name] = np.empty(size, np.uint8)
    return kept[name][:size].view(dtype).reshape(shape)


def one_by_one(one: Callable[[int], Item], indices: Sequence[int], sample_bytes: int) -> list[Item]:
    """Return ``one(i)`` for each index, in order: samples whose shapes differ.

    Parameters
    ----------
    sample_bytes : int
        What is unpacked for a sample, about.
    """
    found: list[Any] = [None] * len(indices)

    def work(k: int) -> None:
        found[k] = one(indices[k])

    _share_out(work, len(indices), sample_bytes)
    return found


def _share_out(work: Callable[[int], None], n: int, sample_bytes: int) -> None:
    """Do ``work(k)`` for k below n; this thread takes part, so that few are handed over."""
    helpers = min(threads(), n) - 1 if sample_bytes >= WORTH_A_THREAD else 0
    if helpers < 1:
        for k in range(n):
            work(k)
        return
    left = iter(range(n))  # each thread takes the next when it is done with one
    pool = _pool(threads() - 1)
    others = [pool.submit(_work_off, work, left) for _ in range(helpers)]
    try:
        _work_off(work, left)
    finally:
        for _ in left:  # after an error nobody begins another
            pass
        errors = [other.exception() for other in others]
    for error in filter(None, errors):
        raise error


def _work_off(work: Callable[[int], None], left: Iterator[int]) -> None:
    for k in left:
        work(k)


def threads() -> int:
    """Return how many threads unpack a batch: all CPUs in a process of its own, one in each of several workers."""
    return parallel.cpu_count() if multiprocessing.parent_process() is None else 1


def _pool(workers: int) -> ThreadPoolExecutor:
    pid = os.getpid()  # threads do not survive a fork
    if pid not in _pools:
        _pools[pid] = ThreadPoolExecutor(workers, thread_name_prefix="dvsprep-batch")
    return _pools[pid]
