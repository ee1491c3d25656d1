"""The text header that Prophesee's DAT and EVT files share: lines that begin with %, then binary data."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from dvsprep.errors import FormatError

LIMIT = 1 << 16  # bytes; a real header has a few hundred


@dataclass
class Header:
    """What the lines say, by their lower-case first word, and the byte behind the last one."""

    fields: dict[str, str] = field(default_factory=dict)
    length: int = 0

    @property
    def geometry(self) -> tuple[int, int] | None:
        """Sensor (H, W), if stated and not zero."""
        text = " ".join(f"{key} {value}" for key, value in self.fields.items()).lower()
        size = re.search(r"geometry (\d{1,5})x(\d{1,5})", text)
        if size:
            H, W = int(size[2]), int(size[1])
        else:
            height, width = (re.search(rf"{word}[ =](\d{{1,5}})", text) for word in ("height", "width"))
            H, W = (int(height[1]), int(width[1])) if height and width else (0, 0)
        return (H, W) if H and W else None


def header(head: bytes, name: str) -> Header:
    """Parse the first bytes of a file; a file without header lines has an empty header.

    A line with control characters is data that happens to begin with %.
    """
    found, head = Header(), head[:LIMIT]
    while head[found.length : found.length + 1] == b"%":
        end = head.find(b"\n", found.length)
        line = head[found.length : end if end >= 0 else None].rstrip(b"\r")
        if any(byte < 0x20 and byte != 0x09 for byte in line):
            break
        if end < 0:
            raise FormatError(f"{name}: the header line at byte {found.length} never ends")
        key, _, value = line[1:].decode("latin-1").strip().partition(" ")
        found.fields[key.lower()] = value.strip()
        found.length = end + 1
        if key.lower() == "end":
            break
    return found
