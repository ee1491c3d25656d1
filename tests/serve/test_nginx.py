"""The nginx configuration of docs/service.md, run by nginx before the service that the document starts behind it."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import making
import pytest
import requests

import dvsprep
from dvsprep import cache, cli

BLOCK = re.compile(r"^```nginx\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TEXT = (Path(__file__).parents[2] / "docs" / "service.md").read_text()
NAME = "cache.example.org"
TOKEN = "correct-horse-battery-staple"
# What Debian's nginx.conf says of all sites, and folders of our own.
AROUND = """{user}daemon off; worker_processes 2; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{}}
http {{
    sendfile on; tcp_nopush on; gzip on; access_log off; default_type application/octet-stream;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
{block}}}
"""


@dataclass(frozen=True)
class Site:
    """nginx and what lies behind it."""

    url: str
    certificate: str
    log: Path

    def ask(self, target: str, method: str = "GET", **how) -> requests.Response:
        """Send a request to the site by its name, with the token."""
        headers = {"Host": NAME, "Authorization": f"Bearer {TOKEN}"} | how.pop("headers", {})
        return requests.request(method, self.url + target, headers=headers, verify=self.certificate, timeout=60, **how)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a self-signed certificate and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl is installed, which makes the certificate")
    folder = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={NAME}",
         "-addext", f"subjectAltName=DNS:{NAME},DNS:localhost,IP:127.0.0.1",
         "-out", folder / "cache.pem", "-keyout", folder / "cache.key"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


def configured(folder: Path, certificate: Path, port: int, behind: str) -> Path:
    """Write the document's block with other ports and places; return the configuration."""
    (block,) = BLOCK.findall(TEXT)
    for there, here in (
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"), ("/etc/ssl/cache.pem", str(certificate / "cache.pem")),
        ("/etc/ssl/cache.key", str(certificate / "cache.key")), ("http://127.0.0.1:8765;", f"{behind};"),
    ):  # fmt: skip
        assert block.count(there) == 1, there
        block = block.replace(there, here)
    user = "user root;\n" if os.getuid() == 0 else ""  # its workers may then write to our folders
    config = folder / "nginx.conf"
    config.write_text(AROUND.format(user=user, folder=folder, block=block))
    return config


@pytest.fixture(scope="module")
def site(root: Path, certificate: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("no nginx is installed")
    folder = tmp_path_factory.mktemp("nginx")
    home = shutil.copytree(root, folder / "root")
    (folder / "token").write_text(TOKEN)
    log = folder / "service.log"
    (asked,) = re.findall(r"^and `dvsprep (serve [^`]*)`", TEXT, re.MULTILINE)
    assert asked.split() == ["serve", "--allow-host", NAME, "--token-file", "token"]
    with log.open("w") as out:
        service = subprocess.Popen(
            making.command(*asked.split(), "--root", home, "--port", 0, "--json-log"), cwd=folder, stderr=out
        )
    until, port = time.monotonic() + 60, free_port()
    while not (found := re.search(r"http://\S+", log.read_text())) and service.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert found is not None, log.read_text()
    config = configured(folder, certificate, port, found[0])
    nginx = subprocess.Popen(
        [program, "-e", folder / "error.log", "-p", folder, "-c", config], stderr=subprocess.PIPE, text=True
    )
    try:
        one = Site(f"https://localhost:{port}", str(certificate / "cache.pem"), log)
        while nginx.poll() is None and time.monotonic() < until:
            try:
                if one.ask("/healthz").ok:
                    break
            except requests.ConnectionError:
                time.sleep(0.05)
        else:
            raise AssertionError(nginx.communicate(timeout=10)[1] + (folder / "error.log").read_text())
        yield one
    finally:
        for process in (nginx, service):
            process.terminate()
            process.wait(30)
        if nginx.stderr is not None:
            nginx.stderr.close()


def test_who_has_no_token_is_told_by_the_service(site: Site, frames_id: str) -> None:
    answer = site.ask(f"/v1/caches/{frames_id}", headers={"Authorization": "Bearer wrong"})
    assert answer.status_code == 401
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert "Basic" in answer.headers["WWW-Authenticate"]
    assert site.ask(f"/v1/caches/{frames_id}").json()["samples"] == 72
    assert site.ask("/v1/caches", headers={"Host": "other.example.org"}).status_code == 421


def test_a_client_trains_through_it(
    site: Site, frames_id: str, frames: cache.FrameCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine localhost login x password {TOKEN}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", site.certificate)
    address = f"{site.url}/v1/caches/{frames_id}"
    source = dvsprep.open(address)
    found = [item for start in range(0, 72, 24) for item in source.__getitems__(range(start, start + 24))]
    assert [making.digest(*item) for item in found] == making.digests(frames)
    source._mirror.flush()
    assert cli.main(["pull", address, "-o", str(tmp_path / "copy.h5")]) == 0
    assert (tmp_path / "copy.h5").read_bytes() == frames.path.read_bytes()


def test_parts_of_a_file(site: Site, frames_id: str, frames: cache.FrameCache) -> None:
    target, whole = f"/v1/caches/{frames_id}/file", frames.path.read_bytes()
    head = site.ask(target, "HEAD")
    assert (head.headers["Accept-Ranges"], head.headers["Content-Length"]) == ("bytes", str(len(whole)))
    tag = head.headers["ETag"]
    assert tag.startswith('"')  # strong: nginx packed nothing on the way
    part = site.ask(target, headers={"Range": "bytes=1000-60000", "If-Range": tag})
    assert (part.status_code, part.content) == (206, whole[1000:60001])
    assert part.headers["Content-Range"] == f"bytes 1000-60000/{len(whole)}"
    changed = site.ask(target, headers={"Range": "bytes=1000-", "If-Range": '"another"'})
    assert (changed.status_code, changed.content) == (200, whole)
    assert site.ask(target, headers={"Range": f"bytes={len(whole)}-"}).status_code == 416
    assert site.ask(target, headers={"If-None-Match": tag}).status_code == 304


def test_a_sample_comes_as_it_lies(site: Site, frames_id: str, frames: cache.FrameCache) -> None:
    answer = site.ask(f"/v1/caches/{frames_id}/samples/3")
    assert answer.headers["Content-Encoding"] == "deflate"
    assert answer.content == frames[3][0].tobytes()


def test_bodies_are_bounded_in_the_words_of_the_service(site: Site, frames_id: str) -> None:
    def batch(bytes: int) -> requests.Response:
        return site.ask(
            f"/v1/caches/{frames_id}/batch", "POST", data=b'{"samples": [1]}'.ljust(bytes),
            headers={"Content-Type": "application/json"},
        )  # fmt: skip

    assert batch(1 << 20).status_code == 200  # more than nginx holds in memory
    refused = batch((1 << 20) + 1)
    assert refused.status_code == 413
    assert refused.json()["exit_code"] == 2


def test_pages_of_its_own_name_may_change_things_and_no_others(site: Site, frames_id: str) -> None:
    port = site.url.rpartition(":")[2]
    for host in (NAME, f"{NAME}:{port}"):  # a browser names the port unless it is 443
        for origin, status in ((f"https://{host}", 200), ("https://evil.example", 403)):
            answer = site.ask(
                f"/v1/caches/{frames_id}/batch", "POST", json={"samples": [1]},
                headers={"Host": host, "Origin": origin},
            )  # fmt: skip
            assert answer.status_code == status, (host, origin)


def test_progress_comes_as_it_happens(site: Site) -> None:
    asked = {"dataset": "sample", "spec": {"split_by": "number", "T": 7}}
    posted = site.ask("/v1/builds", "POST", json=asked)
    assert posted.status_code == 202
    told = []
    with site.ask(f"/v1/builds/{posted.json()['id']}/events", stream=True) as stream:
        for line in stream.iter_lines(chunk_size=1):
            if line.startswith(b"data: "):
                told.append(json.loads(line[6:])["state"])
                if len(told) == 1:  # kept back to the end, it would come when there is nothing to cancel
                    site.ask(f"/v1/builds/{posted.json()['id']}", "DELETE")
    assert told[0] in ("queued", "running")
    assert told[-1] == "cancelled"


def test_the_address_that_counts_is_the_one_nginx_saw(site: Site) -> None:
    site.ask("/v1/caches?seen", headers={"X-Forwarded-For": "192.0.2.7"})
    until = time.monotonic() + 30
    while '"status"' not in site.log.read_text() and time.monotonic() < until:
        time.sleep(0.05)
    clients = {json.loads(line)["client"] for line in site.log.read_text().splitlines() if '"client"' in line}
    assert clients == {"127.0.0.1"}
