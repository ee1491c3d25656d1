"""What the readers share that lean on arrays or on another package: one import error, one guard, one set of checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from dvsprep.errors import BackendError, DvsprepError, FormatError, UsageError
from dvsprep.events.reading import Decoded, Policy, columns, finish, outside
from dvsprep.types import Array

TIME_LIMIT = 1 << 62  # microseconds; beyond it a time is garbage, and differences of times could overflow


def library(module: str) -> Any:
    """Import a module of an optional package."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise BackendError(
            f"this format needs the package {package}, which cannot be imported ({error})",
            hint='pip install "dvsprep[formats]"',
        ) from None


@contextmanager
def guarded(name: str, package: str) -> Iterator[None]:
    """Turn whatever another package raises into a FormatError; a Rust panic derives from BaseException."""
    try:
        yield
    except (DvsprepError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001
        what = " ".join(str(error).split())[:200] or type(error).__name__
        raise FormatError(f"{name}: {package} cannot decode it: {what}") from None


def sensor_of(name: str, sensor: tuple[int, int] | None, stated: tuple[int, int] | None) -> tuple[int, int]:
    """Return the sensor (H, W) to check against: the caller's, else the one that the file states."""
    chosen = sensor or stated
    if chosen is None:
        raise UsageError(f"{name}: the file does not state its sensor size", hint="give it with --sensor HxW")
    return chosen


def from_arrays(
    fields: Mapping[str, Any], name: str, sensor: tuple[int, int], policy: Policy, notes: dict[str, int] | None = None
) -> Decoded:
    """Check columns t, x, y, p of any numeric type and bring them into ours.

    A polarity of -1 is OFF. NaN, fractions of a pixel, columns of unequal length, other polarities and times beyond
    2^62 us are errors that name the event.

    Parameters
    ----------
    fields : mapping of t, x, y, p
        Arrays [N]; t in microseconds, a fraction is cut off.
    """
    notes = {} if notes is None else notes
    given = {key: np.asarray(fields[key]) for key in ("t", "x", "y", "p")}
    shapes = {key: value.shape for key, value in given.items()}
    n = shapes["t"][0] if len(shapes["t"]) == 1 else -1
    if any(shape != (n,) for shape in shapes.values()):
        raise FormatError(f"{name}: the columns differ in shape: {', '.join(f'{k} {v}' for k, v in shapes.items())}")
    for key, value in given.items():
        if value.dtype.kind not in "biuf":
            raise FormatError(f"{name}: column {key} holds {value.dtype}, expected numbers")
        if value.dtype.kind == "f":
            given[key] = _whole(value, key, name)
        elif key == "t":
            _refuse(value.astype(np.float64) >= TIME_LIMIT, value, "time", name)
    t, x, y, p = (given[key] if given[key].dtype.kind == "b" else given[key].astype(np.int64) for key in "txyp")
    if p.dtype != bool:
        p = np.where(p == -1, 0, p)
        _refuse((p != 0) & (p != 1), p, "polarity", name)
    _refuse(t < 0, t, "time", name)
    H, W = sensor
    inside = (x >= 0) & (x < W) & (y >= 0) & (y < H)
    if not inside.all():
        if policy.out_of_range != "drop":
            raise outside(name, int(np.argmin(inside)), sensor)
        t, x, y, p = t[inside], x[inside], y[inside], p[inside]
        notes["dropped_outside_the_sensor"] = int(len(inside) - len(t))
    events = columns(len(t), sensor)
    events["t"][:], events["x"][:], events["y"][:], events["p"][:] = t, x, y, p
    return finish(events, name, policy, notes)


def _whole(value: Array, key: str, name: str) -> Array:
    value = value.astype(np.float64)
    _refuse(~(np.abs(value) < TIME_LIMIT), value, key, name)
    whole = np.trunc(value)
    if key != "t":
        _refuse(whole != value, value, key, name)
    return whole.astype(np.int64)


def _refuse(bad: Array, value: Array, what: str, name: str) -> None:
    if bad.any():
        at = int(np.argmax(bad))
        raise FormatError(f"{name}: event {at} has the {what} {value[at]}, which cannot be")
