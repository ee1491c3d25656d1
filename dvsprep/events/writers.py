"""Events out to files of other formats, by suffix: lossless, or an error that says what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dvsprep.disk import whole
from dvsprep.errors import FormatError
from dvsprep.types import Array, Events

Sensor = tuple[int, int]
DAT_T, DAT_XY = 1 << 32, 1 << 14  # what fits


def _dat_v2(events: Events, file: BinaryIO, sensor: Sensor | None, name: str) -> None:
    """Write a Prophesee DAT file of version 2; the sensor goes into the header."""
    for key, limit in (("t", DAT_T), ("x", DAT_XY), ("y", DAT_XY), ("p", 2)):
        column: Array = np.asarray(events[key])  # type: ignore[literal-required]
        wrong = (column < 0) | (column >= limit)
        if wrong.any():
            at = int(np.argmax(wrong))
            hint = "shift the times to begin at 0, or write npz" if key == "t" else "write npz"
            raise FormatError(f"{name}: event {at} has {key} = {column[at]}; DAT holds 0 to {limit - 1}", hint=hint)
    x, y, p = (events[key].astype(np.uint32) for key in ("x", "y", "p"))
    words = np.stack([events["t"].astype(np.uint32), x | y << np.uint32(14) | p << np.uint32(28)], axis=1)
    lines = "% Data file containing CD events.\n% Version 2\n"
    if sensor is not None:
        lines += f"% Width {sensor[1]}\n% Height {sensor[0]}\n"
    file.write(lines.encode() + bytes([12, 8]))
    file.write(words.astype("<u4").tobytes())


def _text(events: Events, file: BinaryIO, _sensor: Sensor | None, _name: str, delimiter: str = " ") -> None:
    """Write one line an event: t (us), x, y, p, below a line with these names."""
    rows = np.stack([events[key].astype(np.int64) for key in ("t", "x", "y", "p")], axis=1)
    file.write(delimiter.join("txyp").encode() + b"\n")
    np.savetxt(file, rows, fmt="%d", delimiter=delimiter)


def _npz(events: Events, file: BinaryIO, _sensor: Sensor | None, _name: str) -> None:
    """Write a compressed npz of the arrays t (int64), x, y, p, which SpikingJelly loads too."""
    np.savez_compressed(file, t=events["t"], x=events["x"], y=events["y"], p=events["p"])


WRITERS: dict[str, Callable[[Events, BinaryIO, Sensor | None, str], None]] = {
    ".npz": _npz,
    ".dat": _dat_v2,
    ".txt": _text,
    ".csv": partial(_text, delimiter=","),
}


def write(events: Events, path: Path, sensor: Sensor | None = None, *, replace: bool = False) -> None:
    """Write events in the format that the suffix of ``path`` names; the file appears whole or not at all.

    Parameters
    ----------
    sensor : (H, W), optional
        Kept where the format has a place for it.
    replace : bool
        Let the file take the place of another one of this name.
    """
    with whole(path, replace=replace) as file:
        WRITERS[path.suffix.lower()](events, file, sensor, str(path))
