"""The addresses of the service: each opens its content, encodes it, answers. openapi.json describes them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from dvsprep import wire
from dvsprep.errors import UsageError
from dvsprep.serve import encode, files, metrics, openapi
from dvsprep.serve.content import Content
from dvsprep.serve.library import Library
from dvsprep.serve.problems import RefusedError
from dvsprep.version import __version__

PAGE = 1000  # most sample facts in one answer

Handler = Callable[[Request, Content], Response]


def _library(request: Request) -> Library:
    library: Library = request.app.state.library
    return library


def _content(request: Request) -> Content:
    content = _library(request).get(request.path_params["id"])
    encode.check_version(request, content)
    return content


def _i(request: Request) -> int:
    return encode.whole(request.path_params["i"], "the sample's number")


def health(request: Request) -> Response:
    """GET /healthz."""
    encode.parameters(request)
    return JSONResponse({"status": "ok", "version": __version__}, headers={"Cache-Control": "no-store"})


def metrics_text(request: Request) -> Response:
    """GET /metrics."""
    encode.parameters(request)
    metrics.CACHES.set(len(_library(request).look()))
    return Response(metrics.text(), media_type=metrics.CONTENT_TYPE_LATEST)


def description(request: Request) -> Response:
    """GET /openapi.json."""
    encode.parameters(request)
    return JSONResponse(openapi.document(builds=request.app.state.builds is not None))


def caches(request: Request) -> Response:
    """GET /v1/caches."""
    encode.parameters(request)
    found, refused = _library(request).list()
    builds = request.app.state.builds
    told = {
        "service": "dvsprep",
        "version": __version__,
        "builds": builds is not None,
        "plugins": [] if builds is None else list(builds.plugins),
        "caches": found,
        "refused": refused,
    }
    return JSONResponse(told, headers={"Cache-Control": "no-cache"})


def cache(request: Request) -> Response:
    """GET /v1/caches/{id}."""
    encode.parameters(request)
    content = _content(request)
    return encode.as_json(request, content, "facts", content.facts)


def labels(request: Request) -> Response:
    """GET /v1/caches/{id}/labels."""
    content = _content(request)
    return encode.array(request, content, "labels", content.labels)


def array(request: Request) -> Response:
    """GET /v1/caches/{id}/arrays/{name}."""
    content, name = _content(request), request.path_params["name"]
    return encode.array(request, content, name, content.array(name))


def samples(request: Request) -> Response:
    """GET /v1/caches/{id}/samples: facts, page by page."""
    query = encode.parameters(request, "class", "split", "offset", "limit")
    offset = encode.number(query, "offset", 0)
    limit = encode.number(query, "limit", 100, 1, PAGE)
    splits = query.get("split", [])
    if len(splits) > 1:
        raise UsageError(f"split is given {len(splits)} times")
    content = _content(request)
    chosen = content.select(query.get("class", []), splits[0] if splits else None)
    told = {
        "total": len(chosen),
        "offset": offset,
        "limit": limit,
        "samples": [content.sample_facts(int(i)) for i in chosen[offset : offset + limit]],
    }
    return JSONResponse(told, headers={"Cache-Control": "no-cache", "X-Dvsprep-Version": content.version})


def sample(request: Request) -> Response:
    """GET /v1/caches/{id}/samples/{i}."""
    answer = encode.sample(request, _content(request), _i(request))
    if answer.status_code == 200 and request.method == "GET":
        metrics.SAMPLES.inc()
    return answer


def facts(request: Request) -> Response:
    """GET /v1/caches/{id}/samples/{i}/facts."""
    encode.parameters(request)
    content = _content(request)
    return encode.as_json(request, content, f"facts.{_i(request)}", content.sample_facts(_i(request)))


def _message(content: Content, indices: list[int]) -> Response:
    headers = {"Cache-Control": "no-store", "X-Dvsprep-Version": content.version}
    answer = Response(content.message(indices), headers=headers, media_type=wire.MEDIA_TYPE)
    metrics.SAMPLES.inc(len(indices))
    return answer


def few(request: Request) -> Response:
    """GET /v1/caches/{id}/batch?i=3&i=1: as many as an address holds."""
    query = encode.parameters(request, "i")
    return _message(_content(request), [encode.whole(text, "i") for text in query.get("i", [])])


async def batch(request: Request) -> Response:
    """POST /v1/caches/{id}/batch: ``{"samples": [3, 1, 4]}``."""
    encode.parameters(request)
    indices = _numbers(await json_body(request))
    return await asyncio.to_thread(lambda: _message(_content(request), indices))


def _numbers(body: Any) -> list[int]:
    if not isinstance(body, dict) or set(body) != {"samples"} or not isinstance(body["samples"], list):
        raise UsageError('expected {"samples": [NUMBER, ...]} and nothing else')
    # JSON Schema counts 3.0 among the whole numbers.
    indices = [int(i) if type(i) is float and i.is_integer() else i for i in body["samples"]]
    if not all(type(i) is int and i >= 0 for i in indices):
        raise UsageError("samples are whole numbers from 0 on")
    return indices


async def json_body(request: Request) -> Any:
    """Return what a request's body says; it has to say that it is JSON, which no form of a foreign page can."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RefusedError(415, f"a body of {kind[:80] or 'no type'}", hint="send Content-Type: application/json")
    try:
        return json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the body is no JSON: {type(error).__name__}") from None


def file(request: Request) -> Response:
    """GET /v1/caches/{id}/file."""
    encode.parameters(request)
    return files.file(request, _content(request))


def digest(request: Request) -> Response:
    """GET /v1/caches/{id}/digest: the file's SHA-256, which takes the time to read it once."""
    encode.parameters(request)
    content = _content(request)
    told = {"file": content.path.name, "bytes": content.bytes, "sha256": files.sha256(content)}
    return JSONResponse(told | {"etag": files.etag(content)}, headers={"Cache-Control": "no-cache"})


def routes() -> list[BaseRoute]:
    """Return all addresses but the page's."""
    one = "/v1/caches/{id}"
    return [
        Route("/healthz", health),
        Route("/metrics", metrics_text),
        Route("/openapi.json", description),
        Route("/v1/caches", caches),
        Route(one, cache),
        Route(f"{one}/labels", labels),
        Route(f"{one}/arrays/{{name}}", array),
        Route(f"{one}/samples", samples),
        Route(f"{one}/samples/{{i}}", sample),
        Route(f"{one}/samples/{{i}}/facts", facts),
        Route(f"{one}/batch", few),
        Route(f"{one}/batch", batch, methods=["POST"]),
        Route(f"{one}/file", file),
        Route(f"{one}/digest", digest),
    ]
