"""A process made ready to train on the CPU: memory that is kept between steps, and as many threads as there are cores.

Every step frees its tensors and asks for the same sizes again. By default glibc gives large blocks back to the system
at once, and each new one costs a page fault every 4 KiB: more than the arithmetic of a neuron. Scripts call
:func:`prepare` once at their start; a library must not decide this for its user, so importing changes nothing.

The large outputs of the engine "cpu" itself lie in memory that is used again in any case (train.backends.cpu.pool): at
most 512 MiB wait for their next use, and :func:`release` gives them back.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
from pathlib import Path

import torch

# mallopt(3): malloc.h's numbers
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
TOP_PAD = 64 << 20  # bytes asked from the system at a time
HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"  # torch reads it when it makes its first tensor, not when it is imported
QUOTA = Path("/sys/fs/cgroup/cpu.max")


def prepare() -> str:
    """Keep freed memory, use every core that this process may use; return what was done, in words."""
    kept = keep_freed_memory()
    threads = set_threads()
    memory = "freed memory is kept" if kept else "the allocator is left as it is"
    return f"{threads} thread{'s' * (threads > 1)}, {memory}"


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to keep what is freed for the next step; False where there is no glibc.

    And let torch ask for huge pages under its large tensors, unless the user's environment says otherwise: fewer
    entries for the processor to look addresses up in, 2 to 3 % of a step.
    """
    if not sys.platform.startswith("linux"):
        return False
    os.environ.setdefault(HUGE_PAGES, "1")
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has no mallopt
        return False
    # In this order: each of them also fixes the threshold that glibc would otherwise move by itself.
    return all(mallopt(key, value) for key, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1), (M_TOP_PAD, TOP_PAD)))


def release() -> None:
    """Give the memory that waits for the next step of the engine "cpu" back to the system."""
    from train.backends.cpu import pool  # here: the rest of this file needs torch only

    pool.POOL.release()


def set_threads() -> int:
    """Let torch use no more threads than this process has cores; OMP_NUM_THREADS and MKL_NUM_THREADS go first."""
    if not {"OMP_NUM_THREADS", "MKL_NUM_THREADS"} & set(os.environ):
        torch.set_num_threads(min(torch.get_num_threads(), cores()))
    return torch.get_num_threads()


def cores() -> int:
    """Return how many cores this process may use: those it is pinned to, at most its container's share."""
    pinned = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = QUOTA.read_text().split()
        return pinned if quota == "max" else max(1, min(pinned, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no Linux, or no container
        return pinned
