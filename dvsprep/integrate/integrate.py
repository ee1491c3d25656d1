"""One road from a FrameSpec to frames, whoever wrote the integrator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dvsprep.errors import ConservationError, FormatError
from dvsprep.integrate import plugins
from dvsprep.types import Array, Events, FrameSpec

# A change in what a built-in returns for the same events gets a new version: it is part of every cache key.
VERSIONS = {"number": 1, "time": 1, "duration": 1}


def identity(spec: FrameSpec) -> dict[str, Any]:
    """Return what tells this integrator's results from any other's, for the cache key."""
    if spec.plugin is not None:
        return plugins.load(spec.plugin).identity | {"params": dict(spec.params)}
    return {"version": VERSIONS[spec.split_by]}


def integrator(spec: FrameSpec, H: int, W: int) -> Callable[[Events, str], Array]:
    """Return ``f(events, sample) -> frames [T, C, H, W]`` for a spec; ``sample`` is named in errors.

    Built-ins return counts in the smallest safe unsigned type and check that they hold each event used exactly once.
    A plugin's own type is kept.
    """
    if spec.plugin is not None:
        plugin, params = plugins.load(spec.plugin), dict(spec.params)
        return lambda events, sample: plugins.call(plugin, widen(events), H, W, params, sample)

    from dvsprep.integrate import builtin

    def frames(events: Events, sample: str) -> Array:
        edges = _edges(spec, events)
        counts = builtin.frames(events, edges, H, W)
        check_conservation(counts, builtin.used(events, edges), sample)
        return counts

    return frames


def _edges(spec: FrameSpec, events: Events) -> Any:
    from dvsprep.integrate import builtin

    if spec.split_by == "number":
        assert spec.T is not None
        return builtin.number_edges(len(events["t"]), spec.T)
    if spec.split_by == "time":
        assert spec.T is not None
        return builtin.time_edges(events["t"], spec.T)
    assert spec.duration is not None
    return builtin.duration_edges(events["t"], spec.duration, spec.tail)


def check_conservation(frames: Array, used: tuple[int, int], sample: str) -> None:
    """Raise ConservationError unless the frames hold ``used`` = (OFF, ON) events, each once."""
    from dvsprep.integrate import _kernels

    held = np.zeros(2, np.int64)
    _kernels.sums(frames, held)
    if (int(held[0]), int(held[1])) != used:
        raise ConservationError(
            f"sample {sample}: the frames hold {held[0]} OFF and {held[1]} ON events, expected {used[0]} and {used[1]}"
        )


def integrate(events: Events, spec: FrameSpec, H: int, W: int, *, sample: str = "events") -> Array:
    """Integrate one sample's events, wherever they come from.

    Parameters
    ----------
    events : mapping
        t int64[N] microseconds, non-decreasing; x, y integers[N] inside W and H; p 0 or 1.

    Returns
    -------
    [T, 2, H, W] counts, or what the plugin returns
    """
    t, x, y, p = (np.asarray(events[k]) for k in ("t", "x", "y", "p"))
    if not len(t) == len(x) == len(y) == len(p):
        raise FormatError(f"{sample}: t, x, y, p have {len(t)}, {len(x)}, {len(y)} and {len(p)} values")
    for axis, values, extent in (("x", x, W), ("y", y, H), ("p", p, 2)):
        if len(values) and (values.min() < 0 or values.max() >= extent):
            raise FormatError(
                f"{sample}: {axis} runs from {values.min()} to {values.max()}, expected 0 to {extent - 1}"
            )
    if (np.diff(t) < 0).any():
        raise FormatError(f"{sample}: t is not in order")
    small = np.uint8 if max(H, W) <= 256 else np.uint16
    clean = Events(t=t.astype(np.int64), x=x.astype(small), y=y.astype(small), p=p.astype(np.uint8))
    return integrator(spec, H, W)(clean, sample)


def widen(events: Events) -> Events:
    """Return the same events in int64: in uint8 a user's ``y * W + x`` would wrap without a word."""
    t, x, y, p = (np.asarray(events[k], np.int64) for k in ("t", "x", "y", "p"))
    return Events(t=t, x=x, y=y, p=p)  # type: ignore[typeddict-item]


def warm_up() -> None:
    """Compile the counting kernels once, before workers start: concurrent first compiles can crash Numba (4807)."""
    from dvsprep.integrate import _kernels, builtin

    edges, p = np.zeros(2, np.int64), np.zeros(0, np.uint8)
    for dtype in builtin.COUNT_TYPES:
        out = np.zeros((1, 2, 1, 1), dtype)
        for coordinate in (np.uint8, np.uint16):
            column = np.zeros(0, coordinate)
            _kernels.count(column, column, p, edges, np.iinfo(dtype).max, out)
        _kernels.sums(out, np.zeros(2, np.int64))
