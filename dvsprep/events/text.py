"""Plain text: one event a line, ``t x y p`` parted by blanks or commas, with an optional line of column names."""

from __future__ import annotations

import numpy as np

from dvsprep.errors import FormatError
from dvsprep.events.foreign import from_arrays
from dvsprep.events.reading import Decoded, Policy
from dvsprep.types import Array

NAMES = {
    "t": ("t", "time", "timestamp", "ts", "t_us", "timestamp_us"),
    "x": ("x", "col", "column"),
    "y": ("y", "row"),
    "p": ("p", "pol", "polarity", "on"),
}


def read(raw: Array, name: str, sensor: tuple[int, int], policy: Policy) -> Decoded:
    """Decode a whole file. Lines that are blank or begin with # are skipped.

    Times are microseconds; if the first event's has a decimal point, all are seconds (as in the RPG sets) and rounded.
    A line of names may give the columns in another order, and more of them.
    """
    if raw.size == 0:
        raise FormatError(f"{name}: the file is empty")
    try:
        lines = raw.tobytes().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise FormatError(f"{name}: no text: byte {error.start} is not UTF-8") from None
    order, scale, width = [0, 1, 2, 3], 0, 4
    values: list[list[int]] = []
    for number, line in enumerate(lines, start=1):
        fields = line.replace(",", " ").split()
        if not fields or fields[0].startswith("#"):
            continue
        if not scale and not values and any(field.lower() in NAMES["x"] for field in fields):
            order, width = _columns(fields, f"{name}:{number}"), len(fields)
            continue
        if len(fields) != width:
            raise FormatError(f"{name}:{number}: expected {width} numbers, got {line[:60]!r}")
        if not scale:
            scale = 1_000_000 if "." in fields[order[0]] else 1
        values.append(_row([fields[k] for k in order], scale, f"{name}:{number}", line))
    t, x, y, p = np.array(values, np.int64).reshape(-1, 4).T
    return from_arrays({"t": t, "x": x, "y": y, "p": p}, name, sensor, policy)


def _columns(fields: list[str], where: str) -> list[int]:
    lower = [field.lower() for field in fields]
    order = []
    for key, names in NAMES.items():
        at = [k for k, field in enumerate(lower) if field in names]
        if len(at) != 1:
            raise FormatError(
                f"{where}: {'no' if not at else 'more than one'} column {key} in {' '.join(fields)[:60]!r}"
            )
        order.append(at[0])
    return order


def _row(fields: list[str], scale: int, where: str, line: str) -> list[int]:
    try:
        t = int(fields[0]) if scale == 1 else round(float(fields[0]) * scale)
        row = [t, *(int(field) for field in fields[1:])]
    except (ValueError, OverflowError):
        raise FormatError(f"{where}: expected t x y p in whole numbers, got {line[:60]!r}") from None
    if any(abs(value) >= 1 << 62 for value in row):
        raise FormatError(f"{where}: a number beyond 2^62 in {line[:60]!r}")
    return row
