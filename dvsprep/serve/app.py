"""The service as an ASGI application."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from dvsprep.errors import DvsprepError
from dvsprep.serve import build_routes, builds, problems
from dvsprep.serve.guard import MAX_BODY, PAGE, Guard
from dvsprep.serve.library import Library
from dvsprep.serve.routes import routes
from dvsprep.serve.settings import Settings


def create(settings: Settings) -> Starlette:
    """Return the application."""
    handlers: dict[Any, Any] = dict.fromkeys((DvsprepError, HTTPException, OSError, Exception), problems.handle)
    roots = [Path(root) for root in settings.roots]
    queue = builds.writable(roots, settings.plugins) if settings.build else None

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        if queue is not None:
            queue.start()
        yield
        if queue is not None:
            await asyncio.to_thread(queue.stop)

    app = Starlette(
        routes=[*routes(), *build_routes.routes(), Mount("/", StaticFiles(directory=PAGE, html=True))],
        # The limit within the guard, whose words it would hide: it is left the bodies that do not tell their length.
        middleware=[
            Middleware(Guard, settings=settings),
            Middleware(RequestBodyLimitMiddleware, max_body_size=MAX_BODY),
        ],
        exception_handlers=handlers,
        lifespan=lifespan,
    )
    app.state.settings = settings
    app.state.library = Library(roots)
    app.state.builds = queue
    return app


def _end_after(parent: BaseProcess) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def from_environment() -> Starlette:
    """Return the application of a worker process, which ends when the one that started it is gone."""
    parent = multiprocessing.parent_process()
    if parent is not None:  # one of several: killed, their parent tells them nothing, and they would keep its port
        threading.Thread(target=_end_after, args=(parent,), name="dvsprep-parent", daemon=True).start()
    return create(Settings.from_environment())
