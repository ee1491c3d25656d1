"""Prophesee EVT 2 and EVT 3 (.raw), decoded by faery.

faery mends times on its own: where an EVT 3 time word runs backward it holds the clock.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from dvsprep.errors import FormatError
from dvsprep.events.foreign import from_arrays, guarded, library, sensor_of
from dvsprep.events.prophesee import LIMIT, Header, header
from dvsprep.events.reading import Decoded, Policy
from dvsprep.types import Array

WORD = {"2": 4, "3": 2}  # bytes
SILENT = {"2": b"\x00\x00\x00\xf0", "3": b"\x00\x70"}  # a word that decoders skip
LARGEST = 2048  # coordinates have 11 bits
LEAP = 1 << 33  # microseconds; half the clock of EVT 2


def read(path: Path, name: str, sensor: tuple[int, int] | None, policy: Policy) -> Decoded:
    """Decode a whole file; ``sensor`` None takes the size that the header states.

    A file cut between two words is whole as far as the format can tell.
    """
    head, version, first = _open(path, name)
    size = path.stat().st_size
    notes: dict[str, int] = {}
    rest = (size - head.length) % WORD[version]
    if rest:
        if not policy.salvage:
            raise FormatError(
                f"{name}: truncated: the word of {WORD[version]} bytes at byte {size - rest} has {rest} bytes",
                hint="fetch the file again, or --salvage keeps what is whole",
            )
        notes["salvaged_bytes_lost"] = rest
    chosen = sensor_of(name, sensor, head.geometry)
    # It also takes data that begin with % for a header line, and a header that is not UTF-8 for data.
    plain = first[head.length : head.length + 1] != b"%" and first[: head.length].isascii()
    # faery stops at the first event outside the size that the header states, and cannot tell which one it was; told
    # of the largest sensor it decodes all, and the checks that every format has say where, or drop.
    with TemporaryDirectory(prefix="dvsprep-") as folder:
        try:
            events = _decode(path if plain else _rewrite(path, Path(folder), head, version), name, chosen)
        except FormatError as error:
            if not plain or "overflow" not in error.message:
                raise
            events = _decode(_rewrite(path, Path(folder), head, version), name, chosen)
    _check_clock(events["t"], name)
    return from_arrays(events, name, chosen, policy, notes)


def _check_clock(t: Array, name: str) -> None:
    """Refuse a leap of hours: to faery, any EVT 2 time word that runs backward is a wrap of the 34-bit clock."""
    far = np.diff(t.astype(np.int64)) >= LEAP
    if far.any():
        at = int(np.argmax(far)) + 1
        raise FormatError(
            f"{name}: time runs backward at event {at}, or stands still for hours: {t[at]} us after {t[at - 1]} us"
        )


def geometry(path: Path) -> tuple[int, int] | None:
    """Return the sensor (H, W) that the header states."""
    return _open(path, str(path))[0].geometry


def _open(path: Path, name: str) -> tuple[Header, str, bytes]:
    with path.open("rb") as file:
        first = file.read(LIMIT)
    if not first:
        raise FormatError(f"{name}: the file is empty")
    head = header(first, name)
    version = stated_version(head)
    if version is None:
        raise FormatError(
            f"{name}: no EVT file: starts with {first[:16]!r}, expected header lines with % evt 2.0 or 3.0"
        )
    if version not in WORD:
        raise FormatError(f"{name}: EVT version {version[:20]!r}, expected 2 or 3")
    return head, version, first


def stated_version(head: Header) -> str | None:
    """Return "2", "2.1", "3" or what else the lines ``% evt`` or ``% format`` say; None if there are none."""
    said = head.fields.get("format", "").split(";")[0].lower()
    said = said.removeprefix("evt") if said.startswith("evt") else head.fields.get("evt", "")
    return said.removesuffix(".0") or None


def _decode(path: Path, name: str, sensor: tuple[int, int]) -> dict[str, Array]:
    evt = library("faery.extension").evt
    parts: list[Any] = []
    with guarded(name, "faery"), evt.Decoder(str(path), (sensor[1], sensor[0]), None) as decoder:
        parts.extend(packet["events"] for packet in decoder if len(packet.get("events", ())))
    return joined(parts)


def joined(parts: list[Any]) -> dict[str, Array]:
    """Join packets of aedat or faery into columns."""
    names = {"t": "t", "x": "x", "y": "y", "p": "on"}
    if not parts:
        return {key: np.zeros(0, np.int64) for key in names}
    return {key: np.concatenate([part[field] for part in parts]) for key, field in names.items()}


def _rewrite(path: Path, folder: Path, head: Header, version: str) -> Path:
    """Copy the data below a header of our own: the largest sensor, and a word that ends the header for sure."""
    copy = folder / "large.raw"
    with path.open("rb") as source, copy.open("wb") as target:
        start = head.fields.get("t0", "0")  # faery's own line: what to add to every time
        target.write(f"% evt {version}.0\n% geometry {LARGEST}x{LARGEST}\n% t0 {start}\n".encode() + SILENT[version])
        source.seek(head.length)
        shutil.copyfileobj(source, target, 1 << 20)
    return copy
