"""Prophesee and ATIS DAT files, versions 1 (NavGesture) and 2 (N-CARS, Gen 3 and 4 cameras)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from dvsprep.errors import FormatError
from dvsprep.events.foreign import TIME_LIMIT, sensor_of
from dvsprep.events.prophesee import LIMIT, Header, header
from dvsprep.events.reading import Decoded, Policy, columns, finish, outside, select, whole_records
from dvsprep.types import Array

RECORD = 8
BITS = {1: (9, 8, 1), 2: (14, 14, 4)}  # of x, y, p in the address word, from bit 0 upward; v1 pads above


def read(
    raw: Array,
    name: str,
    sensor: tuple[int, int] | None,
    policy: Policy,
    *,
    version: int | None = None,
    flip_y: bool = False,
    rebase: bool = False,
) -> Decoded:
    """Decode a whole file, with or without a header.

    SpikingJelly's reader of version 1 loses two events for each one whose time runs backward: that event, and a good
    one at the end of the file. Here it is an error, or ``unsorted="sort"`` keeps all in order of time.

    Parameters
    ----------
    raw : uint8[B]
    sensor : (H, W), optional
        None takes the size that the header states.
    version : {1, 2}, optional
        None takes the header's; a file whose header does not tell is version 2.
    flip_y : bool
        y = H - 1 - y, for recordings whose row 0 is at the bottom.
    rebase : bool
        Let the first event be at 0 us.
    """
    from dvsprep.events import _kernels_dat as kernels

    notes: dict[str, int] = {}
    head, start = _data(raw, name)
    size = sensor_of(name, sensor, head.geometry)
    payload = whole_records(raw, RECORD, start, name, policy, notes)
    events = columns(payload.size // RECORD, size)
    drop = policy.out_of_range == "drop"
    bits = BITS[_version(head, version, name)]
    n, status, where = kernels.dat_decode(payload, *bits, *size, drop, *(events[k] for k in ("t", "x", "y", "p")))
    if status == kernels.OUTSIDE:
        raise outside(name, where, size)
    if status == kernels.POLARITY:
        raise FormatError(
            f"{name}: the record at byte {start + RECORD * where} has no polarity of 0 or 1",
            hint="is it DAT of another version, or another format?",
        )
    notes["dropped_outside_the_sensor"] = int(where)
    if flip_y:
        np.subtract(size[0] - 1, events["y"], out=events["y"])
    decoded = finish(select(events, slice(n)), name, policy, notes)
    decoded.events["t"] += _start(head, name)
    if rebase:
        decoded.events["t"] -= decoded.events["t"][0]
    return decoded


read_v1 = partial(read, version=1)
read_v2 = partial(read, version=2)
read_navgesture = partial(read, version=1, flip_y=True, rebase=True)


def geometry(path: Path) -> tuple[int, int] | None:
    """Return the sensor (H, W) that the header states."""
    with path.open("rb") as file:
        return header(file.read(LIMIT), str(path)).geometry


def _data(raw: Array, name: str) -> tuple[Header, int]:
    """Return the header and the byte where the records start: behind it stand the event type and its size."""
    if raw.size == 0:
        raise FormatError(f"{name}: the file is empty")
    head = header(raw[:LIMIT].tobytes(), name)
    if head.length == 0:
        return head, 0
    if raw.size < head.length + 2:
        raise FormatError(f"{name}: truncated: no event type and size at byte {head.length}, behind the header")
    size = int(raw[head.length + 1])
    if size != RECORD:
        raise FormatError(f"{name}: events of {size} bytes (stated at byte {head.length + 1}), expected {RECORD}")
    return head, head.length + 2


def _start(head: Header, name: str) -> int:
    """Return what faery's header line t0 says is to be added to every time, in microseconds."""
    said = head.fields.get("t0", "0")
    if not said.isdecimal() or int(said) >= TIME_LIMIT:
        raise FormatError(f"{name}: the header line t0 says {said[:20]!r}, expected microseconds")
    return int(said)


def _version(head: Header, asked: int | None, name: str) -> int:
    said = head.fields.get("version", str(asked or 2)).split(".")[0]
    if not said.isdigit() or int(said) not in BITS:
        raise FormatError(f"{name}: DAT version {said[:20]!r}, expected 1 or 2")
    return asked or int(said)
