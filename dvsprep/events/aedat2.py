"""AEDAT 2.0 of a DVS128, the format of CIFAR10-DVS (jAER; the address layout is that of its DVS128 class)."""

from __future__ import annotations

from dvsprep.errors import FormatError
from dvsprep.events.reading import Decoded, Policy, columns, finish, outside, select, whole_records
from dvsprep.types import Array

VERSION = b"#!AER-DAT2.0"


def read(raw: Array, name: str, sensor: tuple[int, int], policy: Policy) -> Decoded:
    """Decode a whole file in SpikingJelly's orientation: x = 127 - y field, y = 127 - x field, p = 1 - bit.

    Published frame models of CIFAR10-DVS use it; the images come out upright. The authors' own reader has
    x = 127 - x field and y = y field with the origin at the lower left. See docs/datasets.md.
    """
    return _read(raw, name, sensor, policy, transposed=True)


def read_jaer(raw: Array, name: str, sensor: tuple[int, int], policy: Policy) -> Decoded:
    """Decode a whole file as jAER shows it: x = 127 - x field, y = 127 - y field (its origin is the lower left)."""
    return _read(raw, name, sensor, policy, transposed=False)


def _read(raw: Array, name: str, sensor: tuple[int, int], policy: Policy, *, transposed: bool) -> Decoded:
    from dvsprep.events import _kernels

    notes: dict[str, int] = {}
    payload = whole_records(raw, 8, _header_length(raw, name), name, policy, notes)
    events = columns(payload.size // 8, sensor)
    drop = policy.out_of_range == "drop"
    n, status, where, jumps = _kernels.aedat2_decode(
        payload, transposed, *sensor, drop, events["t"], events["x"], events["y"], events["p"]
    )
    if status == _kernels.OUTSIDE:
        raise outside(name, where, sensor)
    notes["dropped_outside_the_sensor"] = int(where)
    notes["clock_jumps_repaired"] = jumps
    return finish(select(events, slice(n)), name, policy, notes)


def _header_length(raw: Array, name: str) -> int:
    """Return where the data start: at the first line that does not begin with '#'. There is no end-of-header mark."""
    head = raw[: 1 << 20].tobytes()
    if not head:
        raise FormatError(f"{name}: the file is empty")
    if not head.startswith(VERSION):
        first = head[:24].split(b"\n")[0].rstrip(b"\r").decode("ascii", "replace")
        raise FormatError(f"{name}: no AEDAT 2.0 file: starts with {first!r}, expected {VERSION.decode()!r}")
    at = 0
    while head[at : at + 1] == b"#":
        end = head.find(b"\n", at)
        if end < 0:
            raise FormatError(f"{name}: the header line at byte {at} never ends")
        at = end + 1
    return at
