"""One server that does everything wrong that servers were seen to do; fetch ends right each time.

Right is: the published bytes under their name, from this source or the next one, or an error that says what came.
"""

from __future__ import annotations

import gzip
import hashlib
import time
import zipfile
from email.utils import formatdate
from io import BytesIO
from pathlib import Path

import pytest
from bad_server import file, hang, length, status

from dvsprep.errors import FetchError
from dvsprep.raw import Network, Resource, fetch


def small_zip() -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as pack:
        pack.writestr("a/1.aedat", bytes(range(256)) * 300)
    return out.getvalue()


ZIP = small_zip()
SIZE = len(ZIP)
NAME = "airplane.zip"
SHORT = Network(stall=0.8, connect=2, retries=2)


@pytest.fixture
def get(tmp_path):
    """Fetch from these URLs without waiting; get.pauses has the pauses asked for."""

    def call(*urls, network=SHORT, size=SIZE, verify=True) -> Path:
        what = Resource(NAME, hashlib.md5(ZIP).hexdigest(), size, urls=urls)
        path = fetch(what, tmp_path, network=network, verify=verify, warn=call.said.append, sleep=call.pauses.append)
        assert path == tmp_path / NAME
        assert not list(tmp_path.glob("*.part*")), "a finished download leaves no part"
        assert not list(tmp_path.glob(".*part*")), "nor a note of it"
        return path

    call.pauses, call.said = [], []
    return call


LOGIN = b"<!DOCTYPE html><html><form>User <input type=password></form>"
CAPTCHA = b"<html><body>Just a moment... enable JavaScript and solve the CAPTCHA"
ENCODED = gzip.compress(ZIP, mtime=0)

REFUSALS = {
    "challenge": (status(202, x_amzn_waf_action="challenge"), "bot challenge (x-amzn-waf-action: challenge)", 202, 0),
    "200 with a challenge header": (status(200, CAPTCHA, x_amzn_waf_action="captcha"), "bot challenge", 200, None),
    "Cloudflare": (status(403, CAPTCHA, cf_mitigated="challenge"), "bot challenge (cf-mitigated", 403, None),
    "202 without a body": (status(202), "bot challenge (an empty answer)", 202, 0),
    "202 with a body": (status(202, b"preparing"), "not the file yet", 202, 9),
    "403": (status(403, b"no"), "Forbidden", 403, 2),
    "403 page with a captcha": (status(403, CAPTCHA), "bot challenge, an HTML page", 403, len(CAPTCHA)),
    "404": (status(404), "Not Found", 404, 0),
    "410": (status(410), "Gone", 410, 0),
    "HTML 200": (status(200, b"<html>moved to our new site"), "an HTML page, not the file", 200, None),
    "login page": (status(200, LOGIN), "login page, in HTML", 200, len(LOGIN)),
    "captcha page": (status(200, CAPTCHA), "bot challenge, an HTML page", 200, len(CAPTCHA)),
    "empty 200": (status(200), "empty body", 200, 0),
    "no answer with content": (status(204), "No Content", 204, 0),
    "a range nobody asked for": (status(206, ZIP, Content_Range=f"bytes 0-9/{len(ZIP)}"), "Partial Content", 206, None),
    "another kind of file": (status(200, b"x" * len(ZIP)), "not a .zip file, it begins with b'xxxxxxxx'", 200, None),
    "longer than published": (status(200, ZIP + b"!"), f"announces {len(ZIP) + 1:,} bytes", 200, None),
    "shorter than published": (status(200, ZIP[:-1]), f"announces {len(ZIP) - 1:,} bytes", 200, None),
    "longer, unannounced": (length(ZIP + b"!" * 99, None), "sends more than the", 200, None),
    "encoded as gzip": (status(200, ENCODED, Content_Encoding="gzip"), "not a .zip file, it begins with", 200, None),
    "to nowhere": (status(302, Location="http://[::1"), "redirects to 'http://[::1'", 302, 0),
    "to a file": (status(302, Location="file:///etc/passwd"), "redirects from http to file", 302, 0),
    "in a circle": (status(302, Location="/bad"), "more than 10 redirects", 302, 0),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_lasting_refusal_is_named_at_once_and_the_next_source_used(server, get, tmp_path, kind):
    answer, reason, code, size = REFUSALS[kind]
    bad = server.at("/bad", answer)
    with pytest.raises(FetchError) as caught:
        get(bad)
    assert f"{bad}: {reason}" in str(caught.value)
    assert f"(HTTP {code}, " in str(caught.value)
    assert size is None or f"(HTTP {code}, {size:,} bytes)" in str(caught.value)
    assert get.pauses == [], "waiting would not help"
    assert [path.name for path in tmp_path.iterdir()] == []
    assert get(bad, server.at("/good", file(ZIP))).read_bytes() == ZIP


PASSING = {
    "busy": [status(503)],
    "too many requests": [status(429, Retry_After="2")],
    "cut": [file(ZIP, stop=10_000)],
    "cut before the first byte": [file(ZIP, stop=0)],
    "cut within the magic bytes": [file(ZIP, stop=1)],
    "cut, and no length said": [length(ZIP[:10_000], None)],
    "cut, then ignores Range": [file(ZIP, stop=10_000), file(ZIP, ignore_range=True)],
    "cut, then 416": [file(ZIP, stop=10_000), status(416), file(ZIP)],
    "cut, then a range from elsewhere": [
        file(ZIP, stop=10_000), status(206, ZIP, Content_Range=f"bytes 0-{len(ZIP) - 1}/{len(ZIP)}"), file(ZIP),
    ],
    "cut, then a range without a place": [file(ZIP, stop=10_000), status(206, ZIP[10_000:]), file(ZIP)],
    "cut, then a part of the range": [
        file(ZIP, stop=10_000),
        status(206, ZIP[10_000:20_000], Content_Range=f"bytes 10000-19999/{len(ZIP)}"), file(ZIP),
    ],
    "hangs": [hang(ZIP, 10_000), file(ZIP)],
    "hangs before the first byte": [hang(ZIP, 0), file(ZIP)],
    "redirects": [status(301, Location="/elsewhere")],
    "calls it gzip-encoded, which it is not": [status(200, ZIP, Content_Encoding="gzip")],
}  # fmt: skip


@pytest.mark.parametrize("kind", PASSING)
def test_what_passes_is_waited_for_at_the_same_source(server, get, kind):
    server.at("/elsewhere", file(ZIP))
    url = server.at("/x", *PASSING[kind], file(ZIP))
    assert get(url).read_bytes() == ZIP
    assert get.said == []


@pytest.mark.parametrize("announced", [len(ZIP) + 1000, len(ZIP) - 1000, None])
@pytest.mark.parametrize("size", [len(ZIP), None])
def test_a_lie_about_the_length_is_noticed_with_and_without_a_published_one(server, get, announced, size):
    """With no published length the hash decides: what is all there is taken, whatever was announced."""
    bad, good = server.at("/bad", length(ZIP, announced)), server.at("/good", file(ZIP))
    assert get(bad, good, size=size).read_bytes() == ZIP
    asked = any(path == "/good" for path, _ in server.log)
    assert asked is (announced is not None and (announced < len(ZIP) or size is not None))


def test_a_redirect_to_another_host_is_followed(server, get):
    import bad_server

    with bad_server.running() as other:
        target = other.at("/file", file(ZIP))
        assert get(server.at("/x", status(302, Location=target))).read_bytes() == ZIP
        assert other.served == len(ZIP)


def test_retry_after_is_obeyed_as_seconds_and_as_a_date_but_not_for_ever(server, get):
    for asked, low in (("3", 3), (formatdate(time.time() + 20, usegmt=True), 15), ("nonsense", 0.5)):
        get.pauses.clear()
        get(server.at("/x", status(429, Retry_After=asked), file(ZIP))).unlink()
        assert low <= get.pauses[0] <= max(1.5, 25)
    with pytest.raises(FetchError, match=r"next attempt would be in [0-9,]+ s") as caught:
        get(server.at("/x", status(429, Retry_After="86400"), file(ZIP)))
    assert "Too Many Requests" in str(caught.value)


def test_a_stall_ends_in_the_time_allowed_and_says_so(server, get, tmp_path):
    begin = time.monotonic()
    with pytest.raises(FetchError, match="stalled: no byte in time"):
        get(server.at("/x", hang(ZIP, 10_000)), network=Network(stall=0.2, retries=0))
    assert time.monotonic() - begin < 2
    assert (tmp_path / f"{NAME}.part-0").stat().st_size == 10_000, "what arrived before the stall is kept"


def test_the_budget_ends_everything_and_every_source_is_told(server, get):
    urls = [server.at(f"/{i}", hang(ZIP, 5000)) for i in range(3)]
    begin = time.monotonic()
    with pytest.raises(FetchError) as caught:
        get(*urls, network=Network(stall=30, retries=9, budget=0.5))
    assert time.monotonic() - begin < 3
    for url in urls:
        assert url in str(caught.value)
    assert "out of time, 0.5 s were allowed" in str(caught.value)


def test_a_trickle_that_never_stalls_ends_with_the_budget(server, get):
    def trickle(h):
        h.head(200, Content_Length=len(ZIP))
        for i in range(200):
            h.body(ZIP[i : i + 1])
            if h.server.owner.gone.wait(0.02):
                return

    with pytest.raises(FetchError, match=r"out of time, 0\.4 s"):
        get(server.at("/x", trickle), network=Network(stall=5, retries=0, budget=0.4))


def test_a_host_that_is_down_is_not_waited_for_twice(get, server):
    with pytest.raises(FetchError) as caught:
        get("http://127.0.0.1:9/a", "http://127.0.0.1:9/b", network=Network(retries=2))
    assert "refused, 3 attempts (no answer, 0 bytes)" in str(caught.value)
    assert "refused, 1 attempt (no answer, 0 bytes)" in str(caught.value)
    assert len(get.pauses) == 2


def test_passwords_in_urls_are_not_printed(get):
    with pytest.raises(FetchError) as caught:
        get("http://me:secret@127.0.0.1:9/a", network=Network(retries=0))
    assert "secret" not in str(caught.value)
