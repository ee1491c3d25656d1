"""The service as an ASGI application."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from dvsprep.errors import DvsprepError
from dvsprep.serve import problems
from dvsprep.serve.guard import MAX_BODY, Guard
from dvsprep.serve.library import Library
from dvsprep.serve.routes import routes
from dvsprep.serve.settings import Settings

PAGE = Path(__file__).with_name("page")


def create(settings: Settings) -> Starlette:
    """Return the application."""
    handlers: dict[Any, Any] = dict.fromkeys((DvsprepError, HTTPException, OSError, Exception), problems.handle)
    app = Starlette(
        routes=[*routes(), Mount("/", StaticFiles(directory=PAGE, html=True))],
        middleware=[Middleware(Guard, settings=settings)],
        exception_handlers=handlers,
        max_body_size=MAX_BODY,
    )
    app.state.settings = settings
    app.state.library = Library([Path(root) for root in settings.roots])
    app.state.builds = None
    return app


def from_environment() -> Starlette:
    """Return the application of a worker process."""
    return create(Settings.from_environment())
