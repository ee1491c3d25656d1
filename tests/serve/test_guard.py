"""Who may ask: Host, Origin, token, rate and size."""

from __future__ import annotations

import base64
import json
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import serving

from dvsprep.errors import DiskError, NotFoundError, UsageError
from dvsprep.serve import Settings, run
from dvsprep.serve.guard import MAX_BODY, Rate

TOKEN = "correct-horse-battery-staple"


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    return str(file)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST:1234", "localhost.", "[::1]:8765"])
def test_the_loopback_names_are_ours(service: str, name: str) -> None:
    assert serving.ask(service, "/v1/caches", Host=name).status == 200


@pytest.mark.parametrize(
    "name",
    [
        "evil.example",
        "",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "[::2]",
        "2130706433",
        "localhost:80@evil.example",
        "[::1]evil.example",
        "localhost:x",
        "localhost, evil.example",
        "localhost:123456",
    ],
)
def test_another_name_is_refused_for_a_page_could_have_pointed_it_here(service: str, name: str) -> None:
    answer = serving.ask(service, "/v1/caches", Host=name)
    assert answer.status in (400, 421)  # uvicorn itself refuses an empty one


@pytest.mark.parametrize("names", [("localhost", "evil.example"), ("evil.example", "localhost")])
def test_two_names_are_none(service: str, names: tuple[str, str]) -> None:
    parts = urlsplit(service)
    hosts = "".join(f"Host: {name}\r\n" for name in names)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
        connection.sendall(f"GET /v1/caches HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n".encode())
        assert connection.recv(1000).split()[1] in (b"400", b"421")


def test_a_name_that_was_allowed_is_ours(root: Path) -> None:
    with serving.running(root, hosts=("cache.example.org",)) as base:
        assert serving.ask(base, "/v1/caches", Host="cache.example.org").status == 200
        assert serving.ask(base, "/v1/caches", Host="other.example.org").status == 421


def test_no_foreign_page_reads_or_changes_anything(service: str, frames_id: str) -> None:
    body, batch = b'{"samples": [1]}', f"/v1/caches/{frames_id}/batch"
    read = serving.ask(service, "/v1/caches", Origin="https://evil.example")
    assert read.getheader("Access-Control-Allow-Origin") is None
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        answer = serving.ask(service, batch, "POST", body, Origin=origin, Content_Type="application/json")
        assert answer.status == 403
    assert serving.ask(service, batch, "POST", body, Origin=service, Content_Type="application/json").status == 200
    preflight = serving.ask(
        service, batch, "OPTIONS", Origin="https://evil.example", Access_Control_Request_Method="POST"
    )
    assert preflight.getheader("Access-Control-Allow-Origin") is None


def test_pages_of_an_allowed_origin_may(root: Path, frames_id: str, token_file: str) -> None:
    origin = "https://notebook.example.org"
    with serving.running(root, origins=(origin,), token_file=token_file) as base:
        batch = f"/v1/caches/{frames_id}/batch"
        preflight = serving.ask(base, batch, "OPTIONS", Origin=origin, Access_Control_Request_Method="POST")
        assert preflight.status == 204
        assert preflight.getheader("Access-Control-Allow-Origin") == origin
        assert "Authorization" in preflight.getheader("Access-Control-Allow-Headers")
        answer = serving.ask(base, "/v1/caches", Origin=origin, Authorization=f"Bearer {TOKEN}")
        assert answer.getheader("Access-Control-Allow-Origin") == origin
        assert "Origin" in answer.getheader("Vary")
        assert serving.ask(base, "/v1/caches", Origin=origin).status == 401


def test_a_token_is_needed_for_everything_but_health_and_the_empty_page(
    root: Path, frames_id: str, token_file: str
) -> None:
    basic = base64.b64encode(f"anyone:{TOKEN}".encode()).decode()
    wrong = base64.b64encode(f"{TOKEN}:".encode()).decode()
    with serving.running(root, token_file=token_file) as base:
        for target in ("/healthz", "/", "/app.js", "/vendor/uPlot.esm.js"):
            assert serving.ask(base, target).status == 200, target
        for target in (
            "/guard.py",
            "/v1/caches",
            f"/v1/caches/{frames_id}/samples/0",
            "/metrics",
            "/openapi.json",
            "/nothing",
        ):
            answer = serving.ask(base, target)
            assert answer.status == 401, target
            assert answer.getheader("WWW-Authenticate").startswith("Basic")
            answer = serving.ask(base, target, X_Requested_With="dvsprep")
            assert answer.getheader("WWW-Authenticate").startswith("Bearer")
        for good in (f"Bearer {TOKEN}", f"bearer  {TOKEN}", f"Basic {basic}"):
            assert serving.ask(base, "/v1/caches", Authorization=good).status == 200, good
        for bad in (TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer", "Bearer \xff", f"Basic {wrong}",
                    "Basic ?", "Digest x", f"Bearer {TOKEN} x"):  # fmt: skip
            assert serving.ask(base, "/v1/caches", Authorization=bad).status == 401, bad
        assert TOKEN not in serving.ask(base, "/v1/caches").body.decode()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "cache.example.org"])
def test_other_machines_need_a_token_or_nothing_starts(root: Path, host: str) -> None:
    with pytest.raises(UsageError, match="token-file"):
        run.serve(Settings((str(root),), host=host))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_this_machine_needs_none(root: Path, host: str) -> None:
    assert Settings((str(root),), host=host).token() is None


@pytest.mark.parametrize("text", ["", "short", "has blanks in it, which no header carries", "täöken" * 5])
def test_a_poor_token_is_refused(root: Path, tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    with pytest.raises((UsageError, DiskError)):
        Settings((str(root),), token_file=str(file)).token()
    with pytest.raises(NotFoundError):
        Settings((str(root),), token_file=str(tmp_path / "none")).token()


def test_a_bucket_fills_at_its_rate() -> None:
    now = [0.0]
    rate = Rate(10, lambda: now[0])
    assert [rate.wait("a") for _ in range(40)] == [0] * 40  # four seconds' worth at once
    assert rate.wait("a") == pytest.approx(0.1)
    assert rate.wait("b") == 0
    now[0] += 0.2
    assert [rate.wait("a") > 0 for _ in range(3)] == [False, False, True]
    assert [Rate(0).wait("a") for _ in range(100)] == [0] * 100


def test_too_many_requests_are_told_when_to_come_back(root: Path) -> None:
    with serving.running(root, rate=1.0) as base:
        answers = [serving.ask(base, "/healthz") for _ in range(6)]
    assert [answer.status for answer in answers][:4] == [200] * 4
    assert answers[-1].status == 429
    assert int(answers[-1].getheader("Retry-After")) >= 1


def test_large_bodies_are_not_read(service: str, frames_id: str) -> None:
    target = f"/v1/caches/{frames_id}/batch"
    said = serving.ask(service, target, "POST", b"", Content_Type="application/json", Content_Length=str(MAX_BODY + 1))
    assert said.status == 413
    chunk = b"%x\r\n" % (MAX_BODY + 10) + b" " * (MAX_BODY + 10) + b"\r\n0\r\n\r\n"
    unsaid = serving.ask(service, target, "POST", chunk, Content_Type="application/json", Transfer_Encoding="chunked")
    assert unsaid.status == 413
    for answer in (said, unsaid):
        assert answer.getheader("Content-Type") == "application/problem+json"
        assert json.loads(answer.body)["exit_code"] == 2
        assert answer.getheader("X-Content-Type-Options") == "nosniff"


def test_every_answer_forbids_what_a_browser_might_do(service: str) -> None:
    for target in ("/", "/v1/caches", "/nothing"):
        answer = serving.ask(service, target)
        assert answer.getheader("X-Content-Type-Options") == "nosniff"
        assert "default-src 'self'" in answer.getheader("Content-Security-Policy")
