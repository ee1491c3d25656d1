"""AEDAT 4.0 (DV software; tonic's CIFAR10-DVS), decoded by aedat. Its header is checked here first.

aedat trusts the header's text to be UTF-8 and aborts the interpreter where it is not, and it names no byte of a cut
file. So the header and the chain of packets are walked before aedat sees the file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

from dvsprep.errors import FormatError
from dvsprep.events.evt import joined
from dvsprep.events.foreign import from_arrays, guarded, library, sensor_of
from dvsprep.events.reading import Decoded, Policy, load
from dvsprep.types import Array

VERSION = b"#!AER-DAT4.0\r\n"
HEADER_LIMIT = 1 << 24  # bytes; a real header has a few thousand


class Header(NamedTuple):
    """What the header tells."""

    compression: int  # of packets: 0 none, 1 and 2 LZ4, 3 and 4 zstd
    table: int  # where the table of packets lies, behind them; -1 where there is none
    text: str  # the streams, in XML
    start: int  # of the first packet


@dataclass(frozen=True)
class Stream:
    """The events stream that is read: the lowest-numbered one, as tonic has it."""

    id: int
    sensor: tuple[int, int]


def read(path: Path, name: str, sensor: tuple[int, int] | None, policy: Policy) -> Decoded:
    """Decode the lowest-numbered events stream, all its packets; ``sensor`` None takes that stream's size."""
    raw = load(path)
    head = _header(raw, name)
    stream = _stream(head.text, name)
    notes: dict[str, int] = {}
    cut, why = _cut(raw, head)
    if cut >= 0:
        if not policy.salvage:
            raise FormatError(
                f"{name}: truncated: {why}", hint="fetch the file again, or --salvage keeps what is whole"
            )
        notes["salvaged_bytes_lost"] = int(raw.size - cut)
    aedat = library("aedat")
    parts: list[Any] = []
    try:
        with guarded(name, "aedat"):
            for packet in aedat.Decoder(str(path)):
                if packet["stream_id"] == stream.id and len(packet.get("events", ())):
                    parts.append(packet["events"])  # noqa: PERF401 - what came before an error is kept
    except FormatError:
        if cut < 0:
            raise
    return from_arrays(joined(parts), name, sensor_of(name, sensor, stream.sensor), policy, notes)


def geometry(path: Path) -> tuple[int, int] | None:
    """Return the sensor (H, W) of the stream that is read."""
    return _stream(_header(load(path), str(path)).text, str(path)).sensor


def _header(raw: Array, name: str) -> Header:
    """Check and take apart the header.

    It is a FlatBuffer: a root offset, a table whose first word leads back to its vtable, and there a 16-bit
    offset for each of the fields compression, data table position and description.
    """
    if raw.size == 0:
        raise FormatError(f"{name}: the file is empty")
    head = raw[: len(VERSION) + 4].tobytes()
    if not head.startswith(VERSION):
        raise FormatError(f"{name}: no AEDAT 4.0 file: starts with {head[:12]!r}, expected {VERSION[:12]!r}")
    at = len(VERSION)
    size = int.from_bytes(head[at : at + 4], "little")
    body = raw[at + 4 : at + 4 + min(size, HEADER_LIMIT)].tobytes()
    if len(head) < at + 4 or len(body) < size:
        raise FormatError(f"{name}: truncated: the header of {size} bytes at byte {at} has {len(body)}")
    try:
        table = _at("<I", body, 0)
        vtable = table - _at("<i", body, table)
        count = (_at("<H", body, vtable) - 4) // 2
        offsets = [_at("<H", body, vtable + 4 + 2 * k) if k < count else 0 for k in range(3)]
        compression = _at("<i", body, table + offsets[0]) if offsets[0] else 0
        position = _at("<q", body, table + offsets[1]) if offsets[1] else -1
        string = table + offsets[2] + _at("<I", body, table + offsets[2]) if offsets[2] else -1
        length = _at("<I", body, string)
        text = body[string + 4 : string + 4 + length].decode("utf-8")
        sound = string + 4 + length <= len(body) and position >= -1 and compression in range(5)
    except (struct.error, ValueError):
        sound = False
    if not sound:
        raise FormatError(f"{name}: the header at byte {at} is damaged") from None
    return Header(compression, position, text, at + 4 + size)


def _at(format: str, body: bytes, offset: int) -> int:
    if offset < 0:
        raise ValueError
    return int(struct.unpack_from(format, body, offset)[0])


def _stream(text: str, name: str) -> Stream:
    try:
        root = ET.fromstring(text)  # noqa: S314 - expat refuses entity bombs; nothing external is loaded
    except ET.ParseError as error:
        raise FormatError(f"{name}: the description in the header is no XML: {error}") from None
    found = []
    for node in root.iterfind("node[@name='outInfo']/node"):
        kind = node.findtext("attr[@key='typeIdentifier']", "")
        size = [node.findtext(f"node[@name='info']/attr[@key='{key}']", "") for key in ("sizeY", "sizeX")]
        number = node.get("name", "")
        if kind == "EVTS" and number.isdecimal() and all(text.isdecimal() and 0 < int(text) < 1 << 15 for text in size):
            found.append(Stream(int(number), (int(size[0]), int(size[1]))))
    if not found:
        raise FormatError(f"{name}: the header describes no stream of events")
    return min(found, key=lambda stream: stream.id)


def _cut(raw: Array, head: Header) -> tuple[int, str]:
    """Return the byte from which on the file is not whole, and what shows it; -1 where it is whole."""
    at, end = head.start, raw.size if head.table < 0 else head.table
    while at < min(end, raw.size):
        size = int.from_bytes(raw[at + 4 : at + 8].tobytes(), "little") if at + 8 <= raw.size else 0
        if at + 8 + size > raw.size:
            return at, f"the packet at byte {at} is longer than the {raw.size - at} bytes left"
        at += 8 + size
    if end > raw.size:
        return raw.size, f"the table of packets is to lie at byte {end}, and the file has {raw.size}"
    if head.table >= 0 and not _whole_frame(raw[head.table :], head.compression):
        return head.table, f"the table of packets at byte {end} is longer than the {raw.size - end} bytes left"
    return -1, ""


def _whole_frame(raw: Array, compression: int) -> bool:
    """Tell whether the bytes hold a packed object to its end, without unpacking it.

    Formats: LZ4 Frame Format 1.6; RFC 8878 for zstd; a size and as many bytes where nothing is packed.
    """
    body = raw.tobytes()
    try:
        if compression == 0:
            return 4 + _at("<I", body, 0) <= len(body)
        if compression in (1, 2):
            return _lz4_end(body) <= len(body)
        return _zstd_end(body) <= len(body)
    except struct.error:
        return False


def _lz4_end(body: bytes) -> int:
    flags = _at("<B", body, 4)
    at = 7 + (8 if flags & 8 else 0) + (4 if flags & 1 else 0)  # magic, flags and size of blocks, checksum
    while size := _at("<I", body, at):
        at += 4 + (size & 0x7FFFFFFF) + (4 if flags & 16 else 0)
    return at + 4 + (4 if flags & 4 else 0)


def _zstd_end(body: bytes) -> int:
    flags = _at("<B", body, 4)
    single = flags >> 5 & 1
    at = 5 + (1 - single) + (0, 1, 2, 4)[flags & 3] + (single, 2, 4, 8)[flags >> 6]
    last = 0
    while not last:
        block = _at("<H", body, at) | _at("<B", body, at + 2) << 16
        last = block & 1
        at += 3 + (1 if block >> 1 & 3 == 1 else block >> 3)
    return at + (4 if flags & 4 else 0)
