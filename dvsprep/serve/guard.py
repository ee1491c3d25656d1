"""What every request passes first: Host, Origin and token; limits of body and rate; then it is counted and logged.

Rules, in this order:

- Host must name this service (``Settings.hosts``), or an attacker's name that points to 127.0.0.1 would reach it: 421.
- One address sends ``Settings.rate`` requests a second: 429 with Retry-After.
- A request that changes something and comes from a page (Origin) must come from our own or an allowed one: 403. No
  other page may read an answer: CORS headers are sent for ``Settings.origins`` only.
- Where there is a token, ``Authorization: Bearer TOKEN``, or Basic with it as the password (browsers, ~/.netrc): 401.
  Our own page (X-Requested-With) asks for it itself, so its requests are told Bearer, for which no browser asks.
- Bodies are small: 413.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dvsprep.serve import metrics
from dvsprep.serve.problems import RefusedError, answer
from dvsprep.serve.settings import LOOPBACK, Settings

MAX_BODY = 1 << 20
BURST = 4.0  # seconds of the rate that may come at once
PAGE = Path(__file__).with_name("page")
# For whoever watches over the service, and the page's own files, which hold nothing and ask for the token themselves.
OPEN_TO_ALL = {"/healthz", "/", *(f"/{path.relative_to(PAGE).as_posix()}" for path in PAGE.rglob("*.*"))}
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match, If-None-Match, Range, If-Range",
    "Access-Control-Max-Age": "600",
}
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # The page loads nothing from elsewhere, and nobody may frame it.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
}
SAFE = ("GET", "HEAD", "OPTIONS")
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\s:,/@\[\]]+))(?::\d{1,5})?")
log = logging.getLogger("dvsprep.serve")


class Rate:
    """A bucket a client address, filled at a rate."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.clock = rate, clock
        self._left: dict[str, tuple[float, float]] = {}

    def wait(self, address: str) -> float:
        """Count a request; return 0, or the seconds to wait if it is one too many."""
        if self.rate <= 0:
            return 0.0
        now, most = self.clock(), max(1.0, BURST * self.rate)
        left, then = self._left.get(address, (most, now))
        left = min(most, left + (now - then) * self.rate)
        if len(self._left) > 10_000:  # full buckets need not be remembered
            self._left = {k: v for k, v in self._left.items() if v[0] + (now - v[1]) * self.rate < most}
        self._left[address] = (left - 1 if left >= 1 else left, now)
        return 0.0 if left >= 1 else (1 - left) / self.rate


class Guard:
    """The outermost layer of the service."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings
        token = settings.token()
        self._token = token.encode() if token is not None else None
        self._rate = Rate(settings.rate)
        names = {*settings.hosts, *LOOPBACK, settings.host}
        self._hosts = {n.lower() for n in names} if settings.is_local or settings.hosts else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await self.app(scope, receive, send)
            return
        told = _Told(scope, send, self._allowed_origin(scope))
        try:
            refused = self._refusal(scope)
            if refused is not None:
                await answer(refused)(scope, receive, told.send)
            elif told.origin and scope["method"] == "OPTIONS":
                await Response(status_code=204, headers=PREFLIGHT)(scope, receive, told.send)
            else:
                await self.app(scope, receive, told.send)
        finally:
            told.end()

    def _allowed_origin(self, scope: Scope) -> str | None:
        origin = Headers(scope=scope).get("origin")
        return origin if origin in self.settings.origins else None

    def _refusal(self, scope: Scope) -> RefusedError | None:
        headers = Headers(scope=scope)
        host = ",".join(headers.getlist("host"))  # of two, which is no name
        name = _host(host)
        if self._hosts is not None and name not in self._hosts:
            return RefusedError(
                421, f"this service is not called {name[:100] or 'nothing'!r}",
                hint="`dvsprep serve --allow-host NAME` lets it be",
            )  # fmt: skip
        wait = self._rate.wait((scope.get("client") or ("", 0))[0])
        if wait:
            retry = {"Retry-After": str(max(1, round(wait)))}
            return RefusedError(429, f"more than {self.settings.rate:g} requests a second", headers=retry)
        origin = headers.get("origin")
        ours = origin is None or origin in self.settings.origins or urlsplit(origin).netloc.lower() == host.lower()
        if not ours and scope["method"] not in SAFE:
            return RefusedError(403, f"a page of {str(origin)[:100]} may not ask for this")
        if not self._knows_token(scope, headers):
            scheme = "Bearer" if "x-requested-with" in headers else "Basic"
            return RefusedError(
                401, "this service needs its token",
                hint="Authorization: Bearer TOKEN; for dvsprep, `machine HOST password TOKEN` in ~/.netrc",
                headers={"WWW-Authenticate": f'{scheme} realm="dvsprep", charset="UTF-8"'},
            )  # fmt: skip
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY:
            return RefusedError(413, f"a body of {length[:20]} bytes, at most {MAX_BODY:,} are read")
        return None

    def _knows_token(self, scope: Scope, headers: Headers) -> bool:
        if self._token is None or scope["path"] in OPEN_TO_ALL or scope["method"] == "OPTIONS":
            return True
        return hmac.compare_digest(_credential(headers.get("authorization", "")), self._token)


def _host(header: str) -> str:
    """Return the name in a Host header without its port; all of what is not NAME or NAME:PORT."""
    text = header.lower().strip()
    found = _HOST.fullmatch(text)
    return (found[1] or found[2]).rstrip(".") if found else text


def _credential(header: str) -> bytes:
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode("utf-8", "replace")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return b""
    return b""


class _Told:
    """One answer on its way: what is added to its head, and what is told of it afterwards."""

    def __init__(self, scope: Scope, send: Send, origin: str | None) -> None:
        self.scope, self._send, self.origin = scope, send, origin
        self.begun, self.status, self.bytes = time.perf_counter(), 0, 0

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers.update(HEADERS)
            if self.origin:
                headers["Access-Control-Allow-Origin"] = self.origin
                headers["Access-Control-Expose-Headers"] = "ETag, X-Dvsprep-Dtype, X-Dvsprep-Shape, X-Dvsprep-Shuffled"
                headers.add_vary_header("Origin")
        else:
            self.bytes += len(message.get("body", b""))
        await self._send(message)

    def end(self) -> None:
        """Count the answer and log it."""
        seconds = time.perf_counter() - self.begun
        route = getattr(self.scope.get("route"), "path", "none")
        metrics.REQUESTS.labels(route, str(self.status)).inc()
        metrics.SECONDS.labels(route).observe(seconds)
        metrics.BYTES.labels(route).inc(self.bytes)
        if log.isEnabledFor(logging.INFO):
            facts = {
                "client": (self.scope.get("client") or ("", 0))[0],
                "method": self.scope["method"],
                "path": self.scope["path"],
                "status": self.status,
                "bytes": self.bytes,
                "seconds": round(seconds, 6),
            }
            log.info(json.dumps(facts), extra={"request": facts})
