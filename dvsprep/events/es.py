"""Event Stream (.es) of a DVS, decoded by faery."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from dvsprep.errors import FormatError
from dvsprep.events.evt import joined
from dvsprep.events.foreign import from_arrays, guarded, library, sensor_of
from dvsprep.events.reading import Decoded, Policy, load

MAGIC = b"Event Stream"
HEADER = 20  # bytes: magic, three of version, one of type, width and height
DVS = 1
TYPES = {0: "generic", DVS: "dvs", 2: "atis", 3: "amd", 4: "color"}


def read(path: Path, name: str, sensor: tuple[int, int] | None, policy: Policy) -> Decoded:
    """Decode a whole file; ``sensor`` None takes the size in the header.

    The format counts rows from the bottom; ours count from the top, so y = H - 1 - y with the header's H, as faery has
    it. Times start at 0: the format does not keep when the recording began.
    """
    from dvsprep.events import _kernels_es

    size = _size(path, name)
    raw = load(path)
    expected, cut = _kernels_es.es_dvs_walk(raw[HEADER:])
    notes: dict[str, int] = {}
    if cut >= 0:
        if not policy.salvage:
            raise FormatError(
                f"{name}: truncated: the event of 5 bytes at byte {HEADER + cut} has {raw.size - HEADER - cut} bytes",
                hint="fetch the file again, or --salvage keeps what is whole",
            )
        notes["salvaged_bytes_lost"] = int(raw.size - HEADER - cut)
    # As in evt.py: faery stops at the first event outside, and cannot tell which one it was.
    with TemporaryDirectory(prefix="dvsprep-") as folder:
        try:
            events = _decode(path, name)
        except FormatError as error:
            if "overflow" not in error.message:
                raise
            copy = Path(folder) / "large.es"
            with path.open("rb") as source, copy.open("wb") as target:
                target.write(source.read(HEADER)[:-4] + b"\xff\xff\xff\xff")
                shutil.copyfileobj(source, target, 1 << 20)
            events = _decode(copy, name)
    if len(events["t"]) != expected:
        raise FormatError(f"{name}: faery found {len(events['t'])} events, the file holds {expected}")
    events["y"] = size[0] - 1 - events["y"].astype(np.int64)
    return from_arrays(events, name, sensor_of(name, sensor, size), policy, notes)


def geometry(path: Path) -> tuple[int, int] | None:
    """Return the sensor (H, W) in the header."""
    return _size(path, str(path))


def _size(path: Path, name: str) -> tuple[int, int]:
    with path.open("rb") as file:
        head = file.read(HEADER)
    if not head:
        raise FormatError(f"{name}: the file is empty")
    if not head.startswith(MAGIC):
        raise FormatError(f"{name}: no Event Stream file: starts with {head[:12]!r}, expected {MAGIC!r}")
    if len(head) < 16:
        raise FormatError(f"{name}: truncated: the header of {HEADER} bytes has {len(head)}")
    if head[12] != 2:
        raise FormatError(f"{name}: Event Stream version {head[12]}.{head[13]}.{head[14]}, expected 2.x")
    if head[15] != DVS:
        kind = TYPES.get(head[15], "unknown")
        raise FormatError(
            f"{name}: an Event Stream of type {head[15]} ({kind}) at byte 15, expected {DVS} (dvs)",
            hint="convert it to a DVS stream first; exposure and generic events have no polarity",
        )
    if len(head) < HEADER:
        raise FormatError(f"{name}: truncated: the header of {HEADER} bytes has {len(head)}")
    width, height = struct.unpack_from("<HH", head, 16)
    if not width or not height:
        raise FormatError(f"{name}: a sensor of {width} x {height} at byte 16")
    return height, width


def _decode(path: Path, name: str) -> dict[str, Any]:
    es = library("faery.extension").es
    parts: list[Any] = []
    with guarded(name, "faery"), es.Decoder(str(path), 0) as decoder:
        parts.extend(packet for packet in decoder if len(packet))
    return joined(parts)
