"""What no honest client sends gets a 4xx in problem+json, and never a byte of another file."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import making
import pytest
import serving

from dvsprep.types import FrameSpec

SECRET = b"nobody may read this"


@pytest.fixture(scope="module")
def secret(root: Path) -> Path:
    """Put a file beside the root that no request may reach."""
    file = root.parent / "secret.h5"
    file.write_bytes(SECRET)
    return file


PATHS = [
    "/v1/caches/../../secret.h5",
    "/v1/caches/..%2f..%2fsecret.h5",
    "/v1/caches/..%2f..%2fsecret/file",
    "/v1/caches/%2e%2e%2f%2e%2e%2fsecret/file",
    "/v1/caches/..%252f..%252fsecret/file",
    "/v1/caches/....//secret/file",
    "/v1/caches/..%5c..%5csecret/file",
    "/v1/caches/%00/file",
    "/v1/caches/secret%00.h5/file",
    "/v1/caches/{root}/../secret.h5/file",
    "/v1/caches/%2fetc%2fpasswd/file",
    "/v1/caches/file:%2f%2f%2fetc%2fpasswd/file",
    "/v1/caches/~root/file",
    "/v1/caches/*/file",
    "/v1/caches/" + "a" * 4000 + "/file",
    "/v1/caches/%ff%fe/file",
    "/v1/caches/..%c0%af..%c0%afsecret/file",
    "/../secret.h5",
    "/..%2fsecret.h5",
    "/%2e%2e/%2e%2e/secret.h5",
    "//etc/passwd",
    "/page/../app.py",
    "/..%2fapp.py",
    "/app.py",
]


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_out_of_the_listing(service: str, root: Path, secret: Path, path: str) -> None:
    for method in ("GET", "HEAD", "POST", "DELETE", "PUT"):
        answer = serving.ask(service, path.replace("{root}", str(root)), method)
        assert 400 <= answer.status < 500, (method, answer.status)
        assert SECRET not in answer.body
        assert b"root:" not in answer.body
        if method == "GET":
            assert json.loads(answer.body)["status"] == answer.status


def test_links_that_lead_out_of_the_root_are_not_served(root: Path, tmp_path: Path, frames) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    (home / "sample" / "frames").mkdir(parents=True)
    other.mkdir()
    shutil.copy(frames.path, other / "mine-00000000.train.h5")
    os.symlink(other / "mine-00000000.train.h5", home / "sample" / "frames" / "link.h5")
    os.symlink(other, home / "whole")
    os.symlink(other / "mine-00000000.train.h5", home / "top.h5")
    shutil.copy(frames.path, home / "sample" / "frames" / "real.h5")
    os.symlink("real.h5", home / "sample" / "frames" / "inside.h5")
    shutil.copy(frames.path, home / "sample" / "frames" / ".hidden.h5")
    with serving.running(home) as base:
        told = json.loads(serving.ask(base, "/v1/caches").body)
        assert [facts["id"] for facts in told["caches"]] == ["sample.inside", "sample.real"]
        for id in ("sample.link", "top", "whole.mine-00000000.train", "sample..hidden"):
            assert serving.ask(base, f"/v1/caches/{id}/file").status == 404


def test_files_that_are_no_caches_are_told_and_not_served(tmp_path: Path, frames) -> None:
    (tmp_path / "text.h5").write_text("hello")
    (tmp_path / "cut.h5").write_bytes(frames.path.read_bytes()[:5000])
    with serving.running(tmp_path) as base:
        told = json.loads(serving.ask(base, "/v1/caches").body)
        assert told["caches"] == []
        assert [facts["id"] for facts in told["refused"]] == ["cut", "text"]
        answer = serving.ask(base, "/v1/caches/text/file")
        assert (answer.status, json.loads(answer.body)["code"]) == (500, "not-a-cache")
        assert b"hello" not in answer.body


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("samples/-1", 400), ("samples/1e3", 400), ("samples/72", 404), ("samples/99999999999999999999", 400),
        ("samples/%31", 200), ("samples/%d9%a3", 400), ("samples/1?format=exe", 400),
        ("samples/1?format=npy&format=npy", 400), ("samples/1?x=1", 400), ("samples?limit=0", 400),
        ("samples?limit=100000", 400), ("samples?offset=-1", 400), ("samples?class=nobody", 404),
        ("samples?class=11", 404), ("samples?limit=1&limit=2", 400), ("samples?i=1&limit=2", 400),
        ("batch?i=72", 404), ("samples?offset=1000000", 200), ("arrays/../labels", 404), ("arrays/frames", 404),
        ("labels?format=chunk", 400),
    ],
)  # fmt: skip
def test_odd_queries(service: str, frames_id: str, query: str, status: int) -> None:
    answer = serving.ask(service, f"/v1/caches/{frames_id}/{query}")
    assert answer.status == status, answer.body
    if status != 200:
        assert answer.getheader("Content-Type") == "application/problem+json"
        told = json.loads(answer.body)
        assert told["exit_code"] == {400: 2, 404: 3}[status]


BODIES = [
    (b"", 400),
    (b"null", 400),
    (b"[1, 2]", 400),
    (b'{"samples": 3}', 400),
    (b'{"samples": [true]}', 400),
    (b'{"samples": [1.5]}', 400),
    (b'{"samples": [-1]}', 400),
    (b'{"samples": ["1"]}', 400),
    (b'{"samples": [1], "x": 2}', 400),
    (b'{"samples": [99999999999999999999999999]}', 404),
    (b'{"samples": [72]}', 404),
    (b'{"samples": [NaN]}', 400),
    (b"{" * 100_000, 400),
    (b"[" * 500_000 + b"]" * 500_000, 400),
    (b'{"samples": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
    (b"\xff\xfe\x00", 400),
    (json.dumps({"samples": [0] * 5000}).encode(), 400),
    (b'{"samples": [' + b"9" * 100_000 + b"]}", 400),
]


@pytest.mark.parametrize(("body", "status"), BODIES, ids=[repr(body[:30]) for body, _ in BODIES])
def test_odd_bodies(service: str, frames_id: str, body: bytes, status: int) -> None:
    answer = serving.ask(service, f"/v1/caches/{frames_id}/batch", "POST", body, Content_Type="application/json")
    assert answer.status == status, answer.body[:300]
    assert len(answer.body) < 2000


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "", "application/x-www-form-urlencoded", "application/jsonx", "multipart/form-data; boundary=x"],
)
def test_a_body_that_does_not_say_it_is_json_is_refused(service: str, frames_id: str, kind: str) -> None:
    headers = {"Content_Type": kind} if kind else {}
    assert serving.ask(service, f"/v1/caches/{frames_id}/batch", "POST", b'{"samples": [1]}', **headers).status == 415


@pytest.mark.parametrize(
    "header",
    ["bytes=" + ",".join(f"{i}-{i}" for i in range(5000)), "bytes=0-" + "9" * 400, "bytes=" + "0-," * 9000, "bytes=-0"],
)
def test_huge_ranges_cost_nothing(service: str, frames_id: str, header: str) -> None:
    begun = time.monotonic()
    answer = serving.ask(service, f"/v1/caches/{frames_id}/file", Range=header)
    assert answer.status in (200, 416, 431, 400)
    assert time.monotonic() - begun < 2


HEAD = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
CHUNKS = HEAD.replace("GET /healthz", "POST /v1/builds") + (
    "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
)


@pytest.mark.parametrize("beginning", [HEAD + "X: ", "GET /", CHUNKS + "X: "], ids=["header", "line", "trailer"])
def test_a_request_without_end_is_not_kept_in_memory(service: str, beginning: str) -> None:
    parts = urlsplit(service)
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as connection:
        connection.sendall(beginning.encode())
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            connection.sendall(b"a" * (64 << 20))  # far more than the sockets' buffers hold
    assert serving.ask(service, "/healthz").status == 200


def test_a_head_of_common_size_is_read(service: str) -> None:
    assert serving.ask(service, "/healthz", X="a" * 30_000).status == 200


def test_wrong_methods_are_named(service: str, frames_id: str) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE"):
        answer = serving.ask(service, f"/v1/caches/{frames_id}", method)
        assert answer.status == 405
        assert json.loads(answer.body)["code"] == "method-not-allowed"


def test_connections_that_do_nothing_are_closed(root: Path, frames_id: str) -> None:
    post = f"POST /v1/caches/{frames_id}/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    beginnings = [b"", b"GET /v1/caches HTTP/1.1\r\nHost: local", post.encode() + b"Content-Length: 100\r\n\r\n{"]
    with serving.running(root, patience=0.3) as base:
        parts = urlsplit(base)
        open_ones = []
        for beginning in beginnings:
            connection = socket.create_connection((parts.hostname, parts.port), timeout=10)
            connection.sendall(beginning)
            open_ones.append(connection)
        for connection in open_ones:
            with suppress(ConnectionResetError):  # as good as an end
                assert connection.recv(10_000) == b""
            connection.close()
        assert serving.ask(base, "/healthz").status == 200


def test_a_reader_that_never_reads_is_dropped_and_a_slow_one_is_served(root: Path, tmp_path: Path) -> None:
    events = making.events_cache(tmp_path / "e.h5", [making.random_events(20_000, seed=i) for i in range(4)])
    large = making.frames_cache(tmp_path / "large.h5", events, FrameSpec("number", T=16_000), codec="none")
    size = large.path.stat().st_size
    assert size > 16 << 20  # far more than the sockets' buffers hold
    with serving.running(tmp_path, patience=1.5) as base:
        parts = urlsplit(base)
        request = b"GET /v1/caches/large/file HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        never = socket.create_connection((parts.hostname, parts.port), timeout=10)
        never.sendall(request)
        slow = socket.create_connection((parts.hostname, parts.port), timeout=10)
        slow.sendall(request)
        got, begun = 0, time.monotonic()
        while block := slow.recv(1 << 18):
            got += len(block)
            if time.monotonic() - begun < 4:
                time.sleep(0.1)
        assert got > size
        received = 0
        with suppress(ConnectionResetError):
            while block := never.recv(1 << 20):
                received += len(block)
        assert received < size
        never.close()
        slow.close()
