"""Memory of batches, used again as soon as nobody holds them; shared with other processes where they are to travel.

Fresh memory costs a page fault every 4 KiB, which for a batch is more than unpacking it. So a batch's memory is kept,
and lent again once the array over it and everything that looks into it are gone, in this process and in the other.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Raw = NDArray[np.uint8]
HEAD = 64  # bytes before a slot's data; the first eight say which sending was given back last
FEW = 2  # shared slots of a process that are made without waiting for one to be given back
PATIENCE = 0.02  # seconds of waiting then: to make another, and to map it, takes longer
WORTH_KEEPING = 1 << 18  # bytes; the allocator keeps smaller blocks by itself


class Slot:
    """The memory of one batch; lent as an array, and free when no view of that is left anywhere."""

    def __init__(self, size: int, *, shared: bool) -> None:
        self.size, self.place, self.name = size, "", os.urandom(8).hex()
        # A view of an array's own array would hold that one, and not the view that is lent.
        self._pages: Any = np.empty(HEAD + size, np.uint8).data
        if shared:
            self.place = allocate(HEAD + size, self)
            self._pages = map_pages(self.place, at_once=True)
        self.given_back = np.frombuffer(self._pages, np.uint64, 1)
        self.given_back[0] = self.sent = 0
        self.address = self.given_back.ctypes.data + HEAD
        self._lent: weakref.ref[Raw] | None = None

    @property
    def away(self) -> bool:
        """Whether another process, to which it was sent, looks at it."""
        return int(self.given_back[0]) != self.sent

    @property
    def free(self) -> bool:
        """Whether nobody looks at it."""
        return (self._lent is None or self._lent() is None) and not self.away

    def lend(self, size: int) -> Raw:
        """Return an array of ``size`` bytes; views of it all hold it, and it alone is watched."""
        lent: Raw = np.frombuffer(self._pages, np.uint8, size, HEAD)
        self._lent = weakref.ref(lent)
        return lent


class Ring:
    """A few slots of one process; when all are taken, memory comes from the allocator.

    Parameters
    ----------
    most : int
        Slots that are kept.
    shared : bool
        Other processes can map the slots.
    """

    def __init__(self, most: int, *, shared: bool = False) -> None:
        self.most, self.shared = most, shared
        self.slots: list[Slot] = []
        self._lock = threading.Lock()

    def take(self, size: int) -> Raw:
        """Return ``size`` bytes, whatever they hold."""
        if size < WORTH_KEEPING:
            return np.empty(size, np.uint8)
        with self._lock:
            free = self._free()
            for slot in free:
                if size <= slot.size <= 4 * size:
                    return slot.lend(size)
            if free and len(self.slots) >= self.most:  # of another size
                self.slots.remove(free[0])
            if len(self.slots) >= self.most:
                return np.empty(size, np.uint8)
            self.slots.append(Slot(size, shared=self.shared))
            return self.slots[-1].lend(size)

    def _free(self) -> list[Slot]:
        """Return the slots that are free; of shared ones, if there are a few, wait a moment for one."""
        until = time.monotonic() + PATIENCE if self.shared and len(self.slots) >= FEW else 0.0
        while not (free := [slot for slot in self.slots if slot.free]) and time.monotonic() < until:
            time.sleep(PATIENCE / 20)
        return free


def can_share() -> bool:
    """Tell whether shared memory needs no name here, which a killed process would leave behind."""
    return hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir()


def allocate(size: int, owner: object) -> str:
    """Return where other processes find ``size`` bytes of shared memory, which last as long as their owner."""
    if can_share():
        handle = os.memfd_create("dvsprep")
        place = f"/proc/{os.getpid()}/fd/{handle}"
    else:
        handle, place = tempfile.mkstemp(prefix="dvsprep-")
    os.ftruncate(handle, size)
    weakref.finalize(owner, _release, handle, place, os.getpid())
    return place


def map_pages(place: str, *, at_once: bool = False) -> mmap.mmap:
    """Map shared memory; all of its pages ``at_once``, where touching them one by one costs as much as writing them."""
    with open(place, "r+b") as file:  # noqa: PTH123
        if at_once and hasattr(mmap, "MAP_POPULATE"):
            return mmap.mmap(file.fileno(), 0, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
        return mmap.mmap(file.fileno(), 0)


class Owner:
    """Lives as long as the memory is wanted."""


def _release(handle: int, place: str, pid: int) -> None:
    if os.getpid() == pid:  # a forked worker that ends must not take the memory from the others
        os.close(handle)
        if not place.startswith("/proc/"):
            Path(place).unlink(missing_ok=True)
