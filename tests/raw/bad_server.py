"""A web server on 127.0.0.1 that misbehaves as told, and counts the bytes of the bodies that it serves."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        owner: BadServer = self.server.owner  # type: ignore[attr-defined]
        owner.log.append((self.path, dict(self.headers)))
        queue = owner.routes.get(self.path) or [status(404)]
        answer = queue.pop(0) if len(queue) > 1 else queue[0]
        with suppress(BrokenPipeError, ConnectionResetError):  # the client has hung up
            answer(self)

    def head(self, code: int, **headers: object) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def body(self, data: bytes) -> None:
        self._count(len(data))  # before: who has got it all may ask at once
        try:
            self.wfile.write(data)
            self.wfile.flush()
        except OSError:
            self._count(-len(data))
            raise

    def _count(self, n: int) -> None:
        owner: BadServer = self.server.owner  # type: ignore[attr-defined]
        with owner.lock:
            owner.served += n

    def log_message(self, *args: object) -> None:
        pass


class BadServer:
    def __init__(self) -> None:
        self.routes: dict[str, list[Answer]] = {}
        self.log: list[tuple[str, dict[str, str]]] = []
        self.served, self.lock, self.gone = 0, threading.Lock(), threading.Event()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.owner = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def at(self, path: str, *answers: Answer) -> str:
        """Answer `path` with these in turn, the last one for ever; return the URL."""
        self.routes[path] = list(answers)
        return self.url + path

    def ranges(self, path: str) -> list[str | None]:
        return [headers.get("Range") for asked, headers in self.log if asked == path]


@contextmanager
def running() -> Iterator[BadServer]:
    server = BadServer()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.gone.set()
        server.http.shutdown()
        server.http.server_close()
        thread.join(5)


def status(code: int, data: bytes = b"", **headers: object) -> Answer:
    """A whole and honest answer."""

    def answer(h: Handler) -> None:
        h.head(code, Content_Length=len(data), **headers)
        h.body(data)

    return answer


def file(data: bytes, *, etag: str = "", ignore_range: bool = False, stop: int | None = None, **headers) -> Answer:
    """Serve a file as a good server does, with ranges and If-Range; hang up after `stop` bytes of the body."""

    def answer(h: Handler) -> None:
        start, code = 0, 200
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", h.headers.get("Range", ""))
        if asked and not ignore_range and h.headers.get("If-Range", etag) == etag:
            start, code = int(asked[1]), 206
            if start >= len(data):
                return status(416)(h)
        end = int(asked[2]) + 1 if asked and asked[2] and code == 206 else len(data)
        extra = {"Content_Range": f"bytes {start}-{end - 1}/{len(data)}"} if code == 206 else {}
        extra |= {"ETag": etag} if etag else {}
        h.head(code, **{"Content_Length": end - start, **extra, **headers})
        h.body(data[start:end][:stop])
        return None

    return answer


def length(data: bytes, announced: int | None) -> Answer:
    """Lie about the length, or say nothing of it."""

    def answer(h: Handler) -> None:
        h.head(200, **({} if announced is None else {"Content_Length": announced}))
        h.body(data)

    return answer


def hang(data: bytes, after: int) -> Answer:
    """Send the beginning, then nothing, and do not hang up."""

    def answer(h: Handler) -> None:
        h.head(200, Content_Length=len(data))
        h.body(data[:after])
        h.server.owner.gone.wait(10)

    return answer
