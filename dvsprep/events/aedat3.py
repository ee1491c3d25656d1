"""AEDAT 3.1, the format of DVS128 Gesture's recordings (inivation, "AEDAT 3.1 file format")."""

from __future__ import annotations

from dvsprep.errors import FormatError
from dvsprep.events.reading import Decoded, Policy, columns, finish, outside
from dvsprep.types import Array

VERSION = b"#!AER-DAT3.1"
END = b"#!END-HEADER\r\n"
HEADER_LIMIT = 1 << 20  # bytes; a real header has a few hundred


def read(raw: Array, name: str, sensor: tuple[int, int], policy: Policy) -> Decoded:
    """Decode a whole file.

    Reads eventNumber events of each polarity packet, leaves out those whose valid bit is 0, adds the timestamp overflow
    (``overflow << 31 | timestamp``) and skips every other packet type.

    Parameters
    ----------
    raw : uint8[B]
    name : str
        Named in errors.
    sensor : (H, W)
    """
    from dvsprep.events import _kernels

    body = raw[_header_length(raw, name) :]
    start = raw.size - body.size
    notes: dict[str, int] = {}
    slots, status, at = _kernels.aedat31_count(body)
    if status == _kernels.BAD_PACKET:
        raise FormatError(f"{name}: no AEDAT 3.1 packet header at byte {start + at}")
    if status == _kernels.TRUNCATED:
        if not policy.salvage:
            raise FormatError(
                f"{name}: truncated: the packet at byte {start + at} is longer than the {body.size - at} bytes left",
                hint="fetch and extract the file again, or --salvage keeps what is whole",
            )
        notes["salvaged_bytes_lost"] = int(body.size - at)
        body = body[:at]
    events = columns(slots, sensor)
    drop = policy.out_of_range == "drop"
    n, status, where = _kernels.aedat31_decode(body, *sensor, drop, events["t"], events["x"], events["y"], events["p"])
    if status == _kernels.OUTSIDE:
        raise outside(name, where, sensor)
    notes["dropped_outside_the_sensor"] = int(where)
    return finish(events, n, name, policy, notes)


def _header_length(raw: Array, name: str) -> int:
    head = raw[:HEADER_LIMIT].tobytes()
    if not head:
        raise FormatError(f"{name}: the file is empty")
    if not head.startswith(VERSION):
        first = head[:24].split(b"\n")[0].rstrip(b"\r").decode("ascii", "replace")
        raise FormatError(f"{name}: no AEDAT 3.1 file: starts with {first!r}, expected {VERSION.decode()!r}")
    end = head.find(END)
    if end < 0:
        raise FormatError(f"{name}: no line #!END-HEADER in the first {len(head)} bytes")
    return end + len(END)
