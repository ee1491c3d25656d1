"""A whole cache file as an answer: Range, If-Range, and blocks that a slow reader takes at its own pace."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import threading
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from dvsprep.disk import BLOCK
from dvsprep.errors import IntegrityError
from dvsprep.serve.content import Content, Signature
from dvsprep.serve.encode import CHUNK, check_version, unchanged
from dvsprep.serve.problems import RefusedError

_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))")
_hashes: dict[Signature, str] = {}
_hashing = threading.Lock()


def etag(content: Content) -> str:
    """Return the tag of the very file: two files with the same samples may differ in how HDF5 laid them out."""
    _, _, size, time = content.signature
    return f"{content.version}.{size:x}.{time:x}"


def span(header: str | None, size: int) -> tuple[int, int] | None:
    """Return (first byte, bytes) of a Range header; None for the whole file.

    One range is honoured. Several, or what is no range of bytes, are ignored, as RFC 9110 (14.2) allows: answers of
    many parts are how servers were brought down.

    Raises
    ------
    RefusedError
        416: it begins behind the end.
    """
    found = _RANGE.fullmatch(header.strip().lower()) if header else None
    if found is None:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        start, end = max(0, size - int(suffix)), size
    else:
        start, end = int(first), min(size, int(last) + 1 if last else size)
        if last and int(last) < int(first):
            return None
    if start >= size or end <= start:
        raise RefusedError(416, f"{header} of a file of {size:,} bytes", headers={"Content-Range": f"bytes */{size}"})
    return start, end - start


def file(request: Request, content: Content) -> Response:
    """Return the file, or the part of it that Range and If-Range ask for."""
    check_version(request, content)
    headers = {
        "ETag": f'"{etag(content)}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "no-cache",
        "Content-Disposition": f'attachment; filename="{content.id}.h5"',
    }
    if known := unchanged(request, headers):
        return known
    wanted = request.headers.get("range")
    # If-Range: a weak tag or a date never matches, and then the whole file is the answer (RFC 9110, 13.1.5).
    if request.headers.get("if-range", headers["ETag"]) != headers["ETag"]:
        wanted = None
    part = span(wanted, content.bytes)
    start, length = part or (0, content.bytes)
    headers["Content-Length"] = str(length)
    if part:
        headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{content.bytes}"
    status = 206 if part else 200
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=CHUNK)
    return StreamingResponse(_blocks(content, start, length), status, headers, CHUNK)


async def _blocks(content: Content, start: int, length: int) -> AsyncIterator[bytes]:
    end = start + length
    while start < end:
        block = await asyncio.to_thread(os.pread, content.fd, min(BLOCK, end - start), start)
        if not block:  # cut short on disk: the connection breaks, so that nobody takes it for whole
            raise IntegrityError(f"{content.path}: ends at byte {start:,}, expected {end:,}")
        yield block
        start += len(block)


def sha256(content: Content) -> str:
    """Return the SHA-256 of the file; it is computed once for a file, by one thread at a time."""
    with _hashing:
        if content.signature not in _hashes:
            total, at = hashlib.sha256(), 0
            while block := os.pread(content.fd, BLOCK, at):
                total.update(block)
                at += len(block)
            _hashes[content.signature] = total.hexdigest()
    return _hashes[content.signature]
