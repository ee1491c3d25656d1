"""Packed samples on their way into a cache: an append-only file from which the build after a killed one goes on.

HDF5 has no journal: a file that was being written when its process died cannot be trusted. So samples are appended
here, each with its own checksum, and the HDF5 file is written in one go once all are there. A record cut short at the
end is noticed and dropped.
"""

from __future__ import annotations

import json
import os
import struct
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dvsprep.cache.codec import crc32
from dvsprep.cache.layout import Block, Packed

_FRAME = struct.Struct("<4sIIQI")  # magic, index, bytes of the JSON head, bytes of the chunks, crc32 of all else
_MAGIC = b"DVSr"


class Spool:
    """A file of packed samples.

    Parameters
    ----------
    path : Path
    tag : str
        What the samples depend on besides the cache's key (the codec); a spool of another tag is begun anew.
    """

    def __init__(self, path: Path, tag: str) -> None:
        self.path = path
        self.positions: dict[int, int] = {}
        self.heads: dict[int, dict[str, Any]] = {}
        self._tag = b"dvsprep spool 1 " + tag.encode() + b"\n"
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        end = self._recover()
        self._file.truncate(end)
        self._file.seek(end)

    def _recover(self) -> int:
        """Find the whole records; return where they end."""
        if self._file.readline() != self._tag:
            self._file.seek(0)
            self._file.truncate(0)
            self._file.write(self._tag)
            return len(self._tag)
        end, size_now = len(self._tag), os.fstat(self._file.fileno()).st_size
        while len(frame := self._file.read(_FRAME.size)) == _FRAME.size:
            magic, index, head_size, size, checksum = _FRAME.unpack(frame)
            if magic != _MAGIC or end + _FRAME.size + head_size + size > size_now:
                break  # cut short, or what a file system leaves of blocks that never reached the disk
            body = self._file.read(head_size + size)
            if crc32(body, crc32(frame[:-4])) != checksum:
                break
            self._remember(index, end, json.loads(body[:head_size]))
            end += _FRAME.size + len(body)
        return end

    def _remember(self, index: int, at: int, head: dict[str, Any]) -> None:
        self.positions[index] = at
        self.heads[index] = head

    def append(self, sample: Packed) -> None:
        """Append one sample."""
        blocks = {}
        for name, block in sample.blocks.items():
            blocks[name] = asdict(block) | {"packed": [len(chunk) for chunk in block.packed]}
        facts = sample.facts | {"crc32": sample.crc32}
        head = {"facts": facts, "blocks": blocks, "mended": sample.mended}
        head_bytes = json.dumps(head, separators=(",", ":")).encode()
        chunks = b"".join(chunk for block in sample.blocks.values() for chunk in block.packed)
        frame = _FRAME.pack(_MAGIC, sample.index, len(head_bytes), len(chunks), 0)[:-4]
        checksum = crc32(chunks, crc32(head_bytes, crc32(frame)))
        at = self._file.tell()
        self._file.write(frame + checksum.to_bytes(4, "little"))
        self._file.write(head_bytes)
        self._file.write(chunks)
        self._remember(sample.index, at, head)

    def read(self, index: int) -> Packed:
        """Return one sample."""
        self._file.flush()
        self._file.seek(self.positions[index])
        _, _, head_size, size, _ = _FRAME.unpack(self._file.read(_FRAME.size))
        self._file.seek(head_size, os.SEEK_CUR)
        data, at, blocks = self._file.read(size), 0, {}
        for name, block in self.heads[index]["blocks"].items():
            packed = []
            for length in block["packed"]:
                packed.append(data[at : at + length])
                at += length
            blocks[name] = Block(block["dtype"], tuple(block["row_shape"]), block["rows"], block["chunk"], packed)
        return Packed(index, dict(self.heads[index]["facts"]), blocks)

    def close(self) -> None:
        """Close the file; the samples stay."""
        self._file.close()

    def discard(self) -> None:
        """Close and remove the file."""
        self.close()
        self.path.unlink(missing_ok=True)
