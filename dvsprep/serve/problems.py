"""Errors as problem+json (RFC 9457), with the exit codes and the words that the command line has for them."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dvsprep.disk import explain
from dvsprep.errors import (
    BackendError,
    DiskError,
    DvsprepError,
    FetchError,
    IncompleteError,
    IntegrityError,
    NotFoundError,
    UsageError,
)
from dvsprep.serve.content import TooMuchError

MEDIA_TYPE = "application/problem+json"
# The most special first: what a class is not here, its nearest ancestor is.
STATUS: dict[type[DvsprepError], int] = {
    TooMuchError: 413,
    UsageError: 400,
    NotFoundError: 404,
    FetchError: 502,
    IntegrityError: 500,
    DiskError: 507,
    IncompleteError: 409,
    BackendError: 501,
    DvsprepError: 500,
}
EXIT_CODE = {400: 2, 401: 2, 403: 2, 404: 3, 405: 2, 408: 4, 412: 7, 413: 2, 415: 2, 416: 2, 421: 2, 429: 4, 503: 4}


class RefusedError(UsageError):
    """A request that is not answered, with the status that says so."""

    def __init__(
        self, status: int, message: str, *, hint: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.status, self.headers = status, headers or {}


def problem(
    status: int,
    message: str,
    *,
    code: str,
    exit_code: int,
    hint: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """Return a problem+json answer.

    Parameters
    ----------
    code : str
        Stays the same from version to version, as ``not-found``.
    """
    told: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": message,
        "hint": hint,
        "code": code,
        "exit_code": exit_code,
    }
    return JSONResponse(told, status, {"Cache-Control": "no-store"} | (headers or {}), MEDIA_TYPE)


def code_of(error: BaseException) -> str:
    """Return the name of an error's class in the way of ``hash-mismatch``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__.removesuffix("Error")).lower()


def answer(error: Exception) -> Response:
    """Return what an error is over HTTP."""
    if isinstance(error, OSError) and not isinstance(error, DvsprepError):
        error = explain(error)
    if isinstance(error, RefusedError):
        return problem(
            error.status, error.message, code=code_of(error), exit_code=EXIT_CODE.get(error.status, 1),
            hint=error.hint, headers=error.headers,
        )  # fmt: skip
    if isinstance(error, DvsprepError):
        status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
        return problem(status, error.message, code=code_of(error), exit_code=error.exit_code, hint=error.hint)
    if isinstance(error, HTTPException):
        phrase = HTTPStatus(error.status_code).phrase
        return problem(
            error.status_code, str(error.detail), code=phrase.lower().replace(" ", "-"),
            exit_code=EXIT_CODE.get(error.status_code, 1), headers=dict(error.headers or {}),
        )  # fmt: skip
    return problem(
        500, f"this is a bug of dvsprep: {type(error).__name__}: {error}", code="bug", exit_code=1,
        hint="please report it with what the service's log says",
    )  # fmt: skip


async def handle(_request: Request, error: Exception) -> Response:
    """Answer an error, as Starlette asks for it."""
    return answer(error)
