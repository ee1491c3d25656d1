"""Events out to files of other formats, for ``convert``. A file appears under its name only when it is whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp
from typing import IO

import numpy as np

from dvsprep.errors import DiskError, FormatError
from dvsprep.types import Array, Events

DAT_T, DAT_XY = 1 << 32, 1 << 14  # what fits


def write_dat_v2(events: Events, path: Path, sensor: tuple[int, int] | None = None) -> None:
    """Write a Prophesee DAT file of version 2; lossless, or an error that says what does not fit.

    Parameters
    ----------
    sensor : (H, W), optional
        Goes into the header.
    """
    for key, limit in (("t", DAT_T), ("x", DAT_XY), ("y", DAT_XY), ("p", 2)):
        column: Array = np.asarray(events[key])  # type: ignore[literal-required]
        wrong = (column < 0) | (column >= limit)
        if wrong.any():
            at = int(np.argmax(wrong))
            hint = "shift the times to begin at 0, or write npz" if key == "t" else "write npz"
            raise FormatError(f"{path}: event {at} has {key} = {column[at]}; DAT holds 0 to {limit - 1}", hint=hint)
    x, y, p = (events[key].astype(np.uint32) for key in ("x", "y", "p"))
    words = np.stack([events["t"].astype(np.uint32), x | y << np.uint32(14) | p << np.uint32(28)], axis=1)
    lines = "% Data file containing CD events.\n% Version 2\n"
    if sensor is not None:
        lines += f"% Width {sensor[1]}\n% Height {sensor[0]}\n"
    with _whole(path) as file:
        file.write(lines.encode() + bytes([12, 8]))
        file.write(words.astype("<u4").tobytes())


def write_text(events: Events, path: Path, delimiter: str = " ") -> None:
    """Write one line an event: t (us), x, y, p, below a line with these names; lossless."""
    rows = np.stack([events[key].astype(np.int64) for key in ("t", "x", "y", "p")], axis=1)
    with _whole(path) as file:
        file.write(delimiter.join("txyp").encode() + b"\n")
        np.savetxt(file, rows, fmt="%d", delimiter=delimiter)


def write_npz(events: Events, path: Path) -> None:
    """Write a compressed npz of the arrays t (int64), x, y, p; lossless, and what SpikingJelly loads."""
    with _whole(path) as file:
        np.savez_compressed(file, t=events["t"], x=events["x"], y=events["y"], p=events["p"])


WRITERS: dict[str, Callable[[Events, Path], None]] = {"dat": write_dat_v2, "text": write_text, "npz": write_npz}


@contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """Write beside ``path``, then put the file in its place: never half of it, whatever happens."""
    try:
        handle, beside = mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise DiskError(f"{path}: cannot write: {error.strerror}") from None
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(beside).chmod(0o666 & ~umask)  # mkstemp makes it the owner's alone
        Path(beside).replace(path)
    except OSError as error:
        raise DiskError(f"{path}: cannot write: {error.strerror}") from None
    finally:
        Path(beside).unlink(missing_ok=True)
