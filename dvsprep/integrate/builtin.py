"""The built-in integrators: by number, by time, by duration. Equal to SpikingJelly 2.0 wherever that does not crash.

Each is two steps: edges, which decide where frames begin and end in the list of events, and one counting kernel. Events
between ``edges[k]`` and ``edges[k + 1]`` make frame k.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dvsprep.errors import FormatError
from dvsprep.integrate import _kernels
from dvsprep.types import Array, Events, Tail

Edges = NDArray[np.int64]
Memory = Callable[[tuple[int, ...]], Array]
COUNT_TYPES = (np.uint8, np.uint16, np.uint32)

_warming = threading.Lock()


def number_edges(n: int, T: int) -> Edges:
    """Return T + 1 positions in a list of n events: n // T events a frame, the last one takes the rest too."""
    edges = np.arange(T + 1, dtype=np.int64) * (n // T)
    edges[-1] = n
    return edges


def time_edges(t: NDArray[np.int64], T: int) -> Edges:
    """Return T + 1 positions in ``t : int64[N]``, microseconds, non-decreasing.

    A frame lasts (t[-1] - t[0]) // T microseconds, the last one takes the rest too; one may be empty.
    """
    edges = np.zeros(T + 1, np.int64)
    if len(t):
        edges[:-1] = t.searchsorted(t[0] + np.arange(T, dtype=np.int64) * ((t[-1] - t[0]) // T))
        edges[0], edges[-1] = 0, len(t)
    return edges


def duration_edges(t: NDArray[np.int64], duration: int, tail: Tail = "keep") -> Edges:
    """Return F + 1 positions in ``t : int64[N]``, microseconds, non-decreasing.

    ``keep``: F = ceil((t[-1] - t[0]) / duration), at least 1; an event exactly on the end joins the last frame.
    ``drop``: F = floor(...), which may be 0; whatever lies behind the last whole interval ``[a, b)`` is left out.
    """
    lasts = int(t[-1] - t[0]) if len(t) else 0
    if tail == "drop":
        frames = lasts // duration
        if frames == 0:
            return np.zeros(1, np.int64)
    else:
        frames = max(1, -(-lasts // duration))
    start = t[0] if len(t) else 0
    edges = t.searchsorted(start + np.arange(frames + 1, dtype=np.int64) * duration).astype(np.int64)
    if tail == "keep":
        edges[-1] = len(t)
    return edges


def warm_up(H: int, W: int, dtype: DTypeLike) -> None:
    """Compile the counting kernels for frames of a type, in one thread at a time: else Numba can crash (issue 4807).

    Compiled or loaded already, they take some microseconds.
    """
    y, x = (np.zeros(0, np.uint8 if side <= 256 else np.uint16) for side in (H, W))
    out = np.zeros((1, 2, 1, 1), dtype)
    with _warming:
        used = np.zeros(2, np.int64)
        _kernels.count(x, y, np.zeros(0, np.uint8), np.zeros(2, np.int64), 0, out, used)
        _kernels.sums(out, used)


def frames(
    events: Events, edges: Edges, H: int, W: int, channels: int = 2, out: Array | Memory | None = None
) -> tuple[Array, tuple[int, ...]]:
    """Return counts [T, C, H, W] and how many events each channel has between the first and the last edge.

    Counts have the smallest type that holds them; hot pixels make a larger one necessary.

    Parameters
    ----------
    out : uint8[T, C, H, W], or a function that returns it for its shape, optional
        Returned, where counts fit into it.
    """
    shape = len(edges) - 1, channels, H, W
    if callable(out):
        out = out(shape)
    x, y, p = events["x"], events["y"], events["p"]
    if not len(x) == len(y) == len(p) >= edges[-1]:
        raise FormatError(f"{len(x)} x, {len(y)} y and {len(p)} p, expected as many of each, and {edges[-1]}")
    used = np.zeros(channels, np.int64)
    for dtype in COUNT_TYPES:
        if dtype != COUNT_TYPES[0]:  # by hot pixels alone: no first run should wait for what it may never need
            warm_up(H, W, dtype)
        if out is None or out.dtype != dtype:
            out = np.empty(shape, dtype)
        state = _kernels.count(x, y, p, edges, np.iinfo(dtype).max, out, used)
        if state == _kernels.OUTSIDE:
            raise FormatError(f"events that do not fit the sensor of {W} x {H} (width x height)")
        if state == _kernels.COUNTED:
            return out, tuple(used.tolist())
    raise OverflowError("more than 4,294,967,295 events in one pixel of one frame")
