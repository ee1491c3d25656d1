"""Content in, HTTP answers out: which representation a request asks for, its ETag, and whether it has it already."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dvsprep import wire
from dvsprep.cache.codec import Chunk
from dvsprep.errors import UsageError
from dvsprep.serve.content import Content, npy
from dvsprep.serve.problems import RefusedError
from dvsprep.types import Array

NPY = "application/x-npy"
CHUNK = "application/octet-stream"
FORMATS = {"chunk": CHUNK, "npy": NPY, "framed": wire.MEDIA_TYPE}
_KEYED = re.compile(r"-[0-9a-f]{8}\.[^.]+$")  # an id that holds the key of what is in the cache
_TAG = re.compile(r'(?:W/)?"([^"]*)"')


def parameters(request: Request, *known: str) -> Mapping[str, list[str]]:
    """Return the query, by name; one that is not known is an error rather than ignored."""
    found: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            raise UsageError(f"unknown parameter {name[:80]!r}", hint=f"known: {', '.join(known) or 'none'}")
        found.setdefault(name, []).append(value)
    return found


def whole(text: str, what: str, least: int = 0, most: int = 1 << 40) -> int:
    """Return a number of a path or query."""
    if not (text.isascii() and text.isdecimal() and len(text) < 16 and least <= int(text) <= most):
        raise UsageError(f"{what} is {text[:80]!r}, expected a whole number, {least} to {most}")
    return int(text)


def number(query: Mapping[str, list[str]], name: str, default: int, least: int = 0, most: int = 1 << 40) -> int:
    """Return a number of the query."""
    values = query.get(name, [str(default)])
    if len(values) != 1:
        raise UsageError(f"{name} is given {len(values)} times")
    return whole(values[0], name, least, most)


def tags(header: str) -> set[str]:
    """Return the entity tags that a header lists."""
    return {"*"} if header.strip() == "*" else set(_TAG.findall(header))


def caching(content: Content, etag: str) -> dict[str, str]:
    """Return the headers that tell how long an answer holds: for ever, if its address names what is in it."""
    keyed = _KEYED.search(content.id)
    return {
        "ETag": f'"{etag}"',
        "Cache-Control": "public, max-age=31536000, immutable" if keyed else "no-cache",
        "X-Dvsprep-Version": content.version,
    }


def check_version(request: Request, content: Content) -> None:
    """Refuse a request that is meant for another version of a cache (If-Match)."""
    wanted = request.headers.get("if-match")
    if wanted is not None and not tags(wanted) & {"*", content.version}:
        raise RefusedError(
            412, f"{content.id}: the cache was replaced by another one of this name", hint="open it again"
        )


def unchanged(request: Request, headers: Mapping[str, str]) -> Response | None:
    """Return 304 if the client has what it asks for (If-None-Match)."""
    known = tags(request.headers.get("if-none-match", ""))
    if known & {"*", headers["ETag"].strip('"')}:
        return Response(status_code=304, headers=dict(headers))
    return None


def as_json(request: Request, content: Content, what: str, value: Any) -> Response:
    """Return facts of a cache as JSON."""
    headers = caching(content, f"{content.version}.{what}") | {"Vary": "Accept"}
    return unchanged(request, headers) or JSONResponse(value, headers=headers)


def wants(request: Request, query: Mapping[str, list[str]], formats: Sequence[str]) -> str:
    """Return the format asked for, by ``format=`` or else by the Accept header; the first one if any will do."""
    if asked := query.get("format"):
        if len(asked) != 1 or asked[0] not in formats:
            raise UsageError(f"format is {asked[-1][:80]!r}, expected one of {', '.join(formats)}")
        return asked[0]
    accepted = request.headers.get("accept", "*/*")
    return next((name for name in formats if FORMATS.get(name, "application/json") in accepted), formats[0])


def array(request: Request, content: Content, name: str, value: Array) -> Response:
    """Return an array of one value a sample as JSON, or as .npy."""
    format = wants(request, parameters(request, "format"), ("json", "npy"))
    headers = caching(content, f"{content.version}.{name}.{format}") | {"Vary": "Accept"}
    if known := unchanged(request, headers):
        return known
    if format == "npy":
        return Response(npy(value), headers=headers, media_type=NPY)
    return JSONResponse({"name": name, "values": value.tolist()}, headers=headers)


def sample(request: Request, content: Content, i: int) -> Response:
    """Return one sample: its stored chunk, or all of its chunks framed where it has several, or .npy."""
    format = wants(request, parameters(request, "format"), ("chunk", "npy", "framed"))
    extent = content.extent(i)
    column = content.columns[0] if content.columns else None
    if format == "chunk" and len(extent.chunks) != 1:
        format = "framed"
    # A chunk that deflate was done for is a zlib stream, which is just what HTTP calls deflate.
    deflated = column is not None and column.deflates != "no" and bool(extent.chunks) and extent.chunks[0][2] == 0
    inflate = format == "chunk" and deflated and not accepts(request.headers.get("accept-encoding"), "deflate")
    crc32, label = int(content.arrays["crc32"][i]), int(content.labels[i])
    headers = caching(content, f"{content.version}.{i}.{crc32:08x}.{'raw' if inflate else format}") | {
        "Vary": "Accept, Accept-Encoding",
        "X-Dvsprep-Label": str(label),
        "X-Dvsprep-Crc32": f"{crc32:08x}",
    }
    if known := unchanged(request, headers):
        return known
    if format == "npy":
        return Response(content.npy(i), headers=headers, media_type=NPY)
    if format == "framed" or column is None:
        return Response(content.message([i]), headers=headers, media_type=wire.MEDIA_TYPE)
    headers |= {
        "X-Dvsprep-Dtype": column.dtype,
        "X-Dvsprep-Shape": ",".join(map(str, column.row_shape if not content.varies else (1, *column.row_shape))),
        "X-Dvsprep-Shuffled": "1" if column.shuffles and int(column.dtype[2:]) > 1 else "0",
    }
    if inflate:
        (chunk,) = content.sample(i).chunks
        raw = column.packing.inflate(Chunk(0, bytes(chunk.data)), column.chunk * _bytes_of(column))
        return Response(bytes(raw), headers=headers, media_type=CHUNK)
    view = memoryview(bytearray(extent.bytes))
    content.read(extent, view)
    if deflated:
        headers["Content-Encoding"] = "deflate"
    return Response(view, headers=headers, media_type=CHUNK)


def _bytes_of(column: wire.Column) -> int:
    size = int(column.dtype[2:])
    for n in column.row_shape:
        size *= n
    return size


def accepts(header: str | None, coding: str) -> bool:
    """Tell whether an Accept-Encoding header allows a coding; one that is not sent allows all (RFC 9110, 12.5.3)."""
    if header is None:
        return True
    weights: dict[str, bool] = {}
    for part in header.lower().split(","):
        name, _, rest = part.partition(";")
        weights[name.strip()] = not re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", rest)
    return weights.get(coding, weights.get("*", False))
