"""The addresses of builds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from dvsprep.serve import builds, encode
from dvsprep.serve.builds import ENDED, Builds
from dvsprep.serve.problems import RefusedError
from dvsprep.serve.routes import json_body

ALIVE = 15.0  # seconds after which a silent stream says that it lives


def _queue(request: Request) -> Builds:
    queue: Builds | None = request.app.state.builds
    if queue is None:
        why = "none of its roots can be written to" if request.app.state.settings.build else "it was started so"
        raise RefusedError(403, f"this service builds nothing: {why}")
    return queue


async def submit(request: Request) -> Response:
    """POST /v1/builds: ``{"dataset": NAME, "spec": {...}}``."""
    encode.parameters(request)
    queue = _queue(request)
    body = await json_body(request)
    build, new = await asyncio.to_thread(lambda: queue.submit(builds.checked(body, queue.plugins, queue.root)))
    return JSONResponse(
        build, 202 if new else 200, {"Location": f"/v1/builds/{build['id']}", "Cache-Control": "no-store"}
    )


def all_builds(request: Request) -> Response:
    """GET /v1/builds."""
    encode.parameters(request)
    return JSONResponse({"builds": _queue(request).list()}, headers={"Cache-Control": "no-store"})


def build(request: Request) -> Response:
    """GET /v1/builds/{id}."""
    encode.parameters(request)
    return JSONResponse(_queue(request).get(request.path_params["id"]), headers={"Cache-Control": "no-store"})


def cancel(request: Request) -> Response:
    """DELETE /v1/builds/{id}."""
    encode.parameters(request)
    return JSONResponse(_queue(request).cancel(request.path_params["id"]), headers={"Cache-Control": "no-store"})


def events(request: Request) -> Response:
    """GET /v1/builds/{id}/events: the build as it is now and whenever it changed, until it ends."""
    encode.parameters(request)
    queue, id = _queue(request), request.path_params["id"]
    queue.get(id)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_changes(queue, id), headers=headers, media_type="text/event-stream")


async def _changes(queue: Builds, id: str) -> AsyncIterator[bytes]:
    last, silent = None, 0.0
    while True:
        now = await asyncio.to_thread(queue.get, id)
        if now != last:
            last, silent = now, 0.0
            yield f"event: build\ndata: {json.dumps(now)}\n\n".encode()
            if now["state"] in ENDED:
                return
        elif silent > ALIVE:
            silent = 0.0
            yield b": alive\n\n"
        await asyncio.sleep(builds.LOOK)
        silent += builds.LOOK


def routes() -> list[BaseRoute]:
    """Return the addresses of builds."""
    return [
        Route("/v1/builds", all_builds),
        Route("/v1/builds", submit, methods=["POST"]),
        Route("/v1/builds/{id}", build),
        Route("/v1/builds/{id}", cancel, methods=["DELETE"]),
        Route("/v1/builds/{id}/events", events),
    ]
