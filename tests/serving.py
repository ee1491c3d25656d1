"""A service in a thread of the test, on a port of its own; raw requests, as no client library sends; fixtures."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import making
import pytest
import uvicorn
from starlette.applications import Starlette

from dvsprep import cache
from dvsprep.pipeline import Job
from dvsprep.serve.app import create
from dvsprep.serve.protocol import Patient
from dvsprep.serve.settings import Settings
from dvsprep.types import FrameSpec


@contextmanager
def running(*roots: Path, port: int = 0, patience: float = 30.0, **how: Any) -> Iterator[str]:
    """Serve some roots; yield the service's address."""
    with serving(create(Settings(tuple(map(str, roots)), **how)), port, patience) as base:
        yield base


@contextmanager
def serving(app: Starlette, port: int = 0, patience: float = 30.0) -> Iterator[str]:
    """Serve an application; yield its address."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    protocol = type("Patient", (Patient,), {"patience": patience})
    config = uvicorn.Config(
        app, http=protocol, log_config=None, access_log=False, timeout_graceful_shutdown=1, ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    until = time.monotonic() + 30
    while not server.started and thread.is_alive() and time.monotonic() < until:
        time.sleep(0.005)
    assert server.started, "the service did not start"
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        listening.close()
        assert not thread.is_alive(), "the service did not stop"


def ask(
    base: str, target: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> http.client.HTTPResponse:
    """Send a request whose target is taken as it is, and read its answer: ``.status``, ``.body``, ``.getheader()``."""
    parts = urlsplit(base)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    try:
        connection.putrequest(method, target, skip_host="Host" in headers, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        if body is not None and "Content_Length" not in headers and "Transfer_Encoding" not in headers:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer: Any = connection.getresponse()
        answer.body = answer.read()
        return answer
    finally:
        connection.close()


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a root with the sample's caches, frames whose T varies, and wide and empty ones beside them."""
    folder = tmp_path_factory.mktemp("served")
    Job("sample", folder, FrameSpec("number", T=4)).run()
    events = folder / "made" / "events" / "rows-00000000.train.h5"
    events.parent.mkdir(parents=True)
    source = making.events_cache(
        events, [making.random_events(200 + 150 * i, seed=i, start=1000 * i) for i in range(10)], chunk=256
    )
    frames = folder / "made" / "frames"
    frames.mkdir()
    making.frames_cache(frames / "duration-5000us-00000000.train.h5", source, FrameSpec("duration", duration=5000))
    wide = [making.at(*range(70_000)), making.at(*range(300), p=0)]
    many = making.events_cache(folder / "wide-events.h5", wide)
    making.frames_cache(folder / "wide.h5", many, FrameSpec("number", T=1))
    return folder


@pytest.fixture(scope="session")
def service(root: Path) -> Iterator[str]:
    """Serve the root; return the address."""
    with running(root, rate=0) as base:
        yield base


@pytest.fixture(scope="session")
def frames_id(root: Path) -> str:
    """Return the id of the sample's training frames."""
    return f"sample.{Job('sample', root, FrameSpec('number', T=4)).frames_paths()['train'].stem}"


@pytest.fixture(scope="session")
def frames(root: Path) -> cache.FrameCache:
    """Return the sample's training frames, opened as a file."""
    return cache.FrameCache(Job("sample", root, FrameSpec("number", T=4)).frames_paths()["train"])
