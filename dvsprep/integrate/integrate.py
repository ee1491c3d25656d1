"""One road from a FrameSpec to frames, whoever wrote the integrator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dvsprep.errors import ConservationError, FormatError
from dvsprep.integrate import plugins
from dvsprep.types import Array, Events, FrameSpec, NeedOfTimes

# A change in what a built-in returns for the same events gets a new version: it is part of every cache key.
VERSIONS = {"number": 1, "time": 1, "duration": 1}


def identity(spec: FrameSpec) -> dict[str, Any]:
    """Return what tells this integrator's results from any other's, for the cache key."""
    if spec.plugin is not None:
        return plugins.load(spec.plugin).identity | {"params": dict(spec.params)}
    return {"version": VERSIONS[spec.split_by]}


def needs_times(spec: FrameSpec) -> NeedOfTimes:
    """Tell whether an integrator looks at t; by number, only the order of events counts."""
    return True if spec.plugin is not None else False if spec.split_by == "number" else "searched"


def integrator(spec: FrameSpec, H: int, W: int, channels: int = 2) -> Callable[..., Array]:
    """Return ``f(events, sample, out=None) -> frames [T, C, H, W]`` for a spec; ``sample`` is named in errors.

    Built-ins return ``out : uint8[T, C, H, W]``, or what it returns for this shape, where counts fit into it.

    Built-ins return counts in the smallest safe unsigned type and check that they hold each event used exactly once.
    A plugin's own type is kept. One-dimensional sensors have H = 1 and one channel, in which polarity does not count.
    """
    if spec.plugin is not None:
        plugin, params = plugins.load(spec.plugin), dict(spec.params)

        def theirs(events: Events, sample: str, out: Array | None = None) -> Array:  # noqa: ARG001 -- of their own type
            return plugins.call(plugin, widen(events), H, W, params, sample)

        return theirs

    from dvsprep.integrate import builtin

    def frames(events: Events, sample: str, out: Array | builtin.Memory | None = None) -> Array:
        edges = _edges(spec, events)
        counts, used = builtin.frames(events, edges, H, W, channels, out)
        check_conservation(counts, used, sample)
        return counts

    return frames


def _edges(spec: FrameSpec, events: Events) -> Any:
    from dvsprep.integrate import builtin

    if spec.split_by == "number":
        assert spec.T is not None
        return builtin.number_edges(len(events["p"]), spec.T)
    if spec.split_by == "time":
        assert spec.T is not None
        return builtin.time_edges(events["t"], spec.T)
    assert spec.duration is not None
    return builtin.duration_edges(events["t"], spec.duration, spec.tail)


def check_conservation(frames: Array, used: tuple[int, ...], sample: str) -> None:
    """Raise ConservationError unless each channel of the frames holds its ``used`` events, each once."""
    from dvsprep.integrate import _kernels

    held = np.zeros(len(used), np.int64)
    _kernels.sums(frames, held)
    if tuple(held.tolist()) != used:
        names = ("OFF", "ON") if len(used) == 2 else ("",)
        counts = [" and ".join(f"{n} {name}".strip() for n, name in zip(v, names, strict=True)) for v in (held, used)]
        raise ConservationError(f"sample {sample}: the frames hold {counts[0]} events, expected {counts[1]}")


def integrate(events: Events, spec: FrameSpec, H: int, W: int, *, channels: int = 2, sample: str = "events") -> Array:
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
    if not t.shape == x.shape == y.shape == p.shape == (t.size,):
        raise FormatError(
            f"{sample}: t, x, y, p have shapes {t.shape}, {x.shape}, {y.shape} and {p.shape}, not one [N]"
        )
    for name, values in (("t", t), ("x", x), ("y", y), ("p", p)):
        if len(values) and values.dtype.kind not in "iub":  # a fraction of a pixel or second would be cut off unseen
            raise FormatError(f"{sample}: {name} is {values.dtype}, expected whole numbers")
    for axis, values, extent in (("x", x, W), ("y", y, H), ("p", p, 2)):
        if len(values) and (values.min() < 0 or values.max() >= extent):
            raise FormatError(
                f"{sample}: {axis} runs from {values.min()} to {values.max()}, expected 0 to {extent - 1}"
            )
    t = t.astype(np.int64)  # before differences are taken: in unsigned integers none is negative
    if (np.diff(t) < 0).any():
        raise FormatError(f"{sample}: t is not in order")
    narrow = [np.uint8 if side <= 256 else np.uint16 for side in (W, H)]
    clean = Events(t=t, x=x.astype(narrow[0]), y=y.astype(narrow[1]), p=p.astype(np.uint8))
    return integrator(spec, H, W, channels)(clean, sample)


def widen(events: Events) -> Events:
    """Return the same events in int64: in uint8 a user's ``y * W + x`` would wrap without a word."""
    t, x, y, p = (np.asarray(events[k], np.int64) for k in ("t", "x", "y", "p"))
    return Events(t=t, x=x, y=y, p=p)  # type: ignore[typeddict-item]


def warm_up(H: int, W: int) -> None:
    """Compile the counting kernels for nearly all frames, before workers start; others when they are met."""
    from dvsprep.integrate import builtin

    builtin.warm_up(H, W, builtin.COUNT_TYPES[0])
