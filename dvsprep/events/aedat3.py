"""AEDAT 3.1, the format of DVS128 Gesture's recordings (inivation, "AEDAT 3.1 file format")."""

from __future__ import annotations

from dvsprep.errors import FormatError
from dvsprep.events.reading import Decoded, Policy, Span, columns, finish, outside, select
from dvsprep.types import Array, Events

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
    found, notes = spans(raw, name, policy, raw.size)
    events, mended = _decode(raw, found[0], name, sensor, policy)
    return finish(events, name, policy, notes | mended)


def read_span(raw: Array, span: Span, name: str, sensor: tuple[int, int], policy: Policy) -> Decoded:
    """Decode the packets of a span; there may be no event in it."""
    events, notes = _decode(raw, span, name, sensor, policy)
    return Decoded(events, notes)


def spans(raw: Array, name: str, policy: Policy, limit: int) -> tuple[list[Span], dict[str, int]]:
    """Walk all packet headers; return spans of whole packets, of about ``limit`` bytes, and what was mended."""
    from dvsprep.events import _kernels

    at, events, found, notes = _header_length(raw, name), 0, list[Span](), dict[str, int]()
    while at < raw.size or not found:
        slots, status, walked = _kernels.aedat31_count(raw[at:], limit)
        end = at + int(walked)
        if status == _kernels.BAD_PACKET:
            raise FormatError(f"{name}: no AEDAT 3.1 packet header at byte {end}")
        if status == _kernels.TRUNCATED and not policy.salvage:
            raise FormatError(
                f"{name}: truncated: the packet at byte {end} is longer than the {raw.size - end} bytes left",
                hint="fetch and extract the file again, or --salvage keeps what is whole",
            )
        found.append(Span(at, end, int(slots), events))
        if status == _kernels.TRUNCATED:
            notes["salvaged_bytes_lost"] = int(raw.size - end)
            break
        at, events = end, events + int(slots)
    return found, notes


def _decode(
    raw: Array, span: Span, name: str, sensor: tuple[int, int], policy: Policy
) -> tuple[Events, dict[str, int]]:
    from dvsprep.events import _kernels

    events = columns(span.slots, sensor)
    drop, body = policy.out_of_range == "drop", raw[span.start : span.end]
    n, status, where = _kernels.aedat31_decode(body, *sensor, drop, events["t"], events["x"], events["y"], events["p"])
    if status == _kernels.OUTSIDE:
        raise outside(name, span.before + where, sensor)
    return select(events, slice(n)), {"dropped_outside_the_sensor": int(where)}


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
