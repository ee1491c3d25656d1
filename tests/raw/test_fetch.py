import errno
import gzip
import hashlib
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from werkzeug.wrappers import Response

from dvsprep.errors import FetchError, HashMismatchError, ManualDownloadError
from dvsprep.raw import Ledger, Network, Resource, _http, _part, fetch

DATA = gzip.compress(bytes(range(256)) * 20, mtime=0) + bytes(3_000_000)
MD5 = hashlib.md5(DATA).hexdigest()
NAME = "a.tar.gz"
fetch_module = sys.modules["dvsprep.raw.fetch"]
PART, NOTE = f"{NAME}.part-0", f".{NAME}.part-0.json"


def resource(*urls: str, **changes) -> Resource:
    facts = {"md5": MD5, "size": len(DATA), "page": "https://example.org/page"} | changes
    return Resource(NAME, urls=urls, **facts)


def silent(text: str) -> None:
    raise AssertionError(f"unexpected warning: {text}")


@pytest.fixture
def get(tmp_path):
    """Fetch into tmp_path without waiting; the pauses asked for are in get.pauses."""

    def call(what: Resource, retries: int = 3, **options) -> Path:
        defaults = {"warn": silent, "sleep": call.pauses.append, "network": Network(retries=retries)}
        return fetch(what, tmp_path, **(defaults | options))

    call.pauses = []
    return call


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def failure(get, what: Resource, **options) -> str:
    with pytest.raises(FetchError) as caught:
        get(what, **options)
    return str(caught.value)


def serve(server, path: str, *responses) -> str:
    """Answer `path` with these in turn, the last one for ever."""
    queue = list(responses)

    def handler(request):
        answer = queue.pop(0) if len(queue) > 1 else queue[0]
        return answer(request) if callable(answer) and not isinstance(answer, Response) else answer

    server.expect_request(path).respond_with_handler(handler)
    return server.url_for(path)


def cut(request) -> Response:
    """Announce everything, send a part: what is lost on the way."""
    return Response(iter([DATA[:1_000_000]]), headers={"Content-Length": str(len(DATA))})


def ranged(request) -> Response:
    start = int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))
    span = f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"
    return Response(DATA[start:], status=206, headers={"Content-Range": span})


def test_a_good_source(tmp_path, httpserver, get, monkeypatch):
    url = serve(httpserver, "/good", Response(DATA))
    path = get(resource(url))
    assert path == tmp_path / NAME
    assert path.read_bytes() == DATA
    assert names(tmp_path) == [".dvsprep.json", NAME]
    entry = Ledger(tmp_path).get(NAME)
    assert entry is not None
    assert (entry.md5, entry.verified) == (MD5, True)
    httpserver.clear()
    assert get(resource(url)) == path, "what is there is not fetched again"


def test_sha256_alone_is_enough(httpserver, get):
    good = resource(serve(httpserver, "/good", Response(DATA)), md5=None, sha256=hashlib.sha256(DATA).hexdigest())
    assert get(good).read_bytes() == DATA
    bad = resource(serve(httpserver, "/bad", Response(DATA)), sha256="0" * 64)
    assert "SHA-256: expected 000" in failure(get, bad), "an MD5 that is right does not make up for it"


def test_every_source_is_tried_and_named(tmp_path, httpserver, get):
    urls = [
        serve(httpserver, "/waf", Response(b"", status=202, headers={"x-amzn-waf-action": "challenge"})),
        serve(httpserver, "/403", Response(b"no", status=403)),
        serve(httpserver, "/html", Response(b"<!DOCTYPE html><p>log in", content_type="text/html")),
        serve(httpserver, "/good", Response(DATA)),
    ]
    assert get(resource(*urls)).read_bytes() == DATA
    assert get.pauses == []
    (tmp_path / NAME).unlink()
    text = failure(get, resource(*urls[:3]))
    reasons = (
        "bot challenge (x-amzn-waf-action: challenge) (HTTP 202, 0 bytes)",
        "FORBIDDEN (HTTP 403, 2 bytes)",
        "login page, in HTML (HTTP 200, 24 bytes)",
    )
    for url, reason in zip(urls[:3], reasons, strict=True):
        assert f"{url}: {reason}" in text
    for word in (
        NAME,
        f"{len(DATA):,} bytes",
        MD5,
        "https://example.org/page",
        str(tmp_path),
        "dvsprep adopt",
    ):
        assert word in text
    assert names(tmp_path) == [".dvsprep.json"]


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (Response(b""), "empty body"),
        (Response(b"x" * len(DATA)), "not a .gz file"),
        (Response(DATA[:-9]), f"announces {len(DATA) - 9:,} bytes, expected {len(DATA):,}"),
        (Response(b"come later", status=202), "HTTP 202"),
        (Response(DATA, status=206), "HTTP 206"),
        (Response(status=302, headers={"Location": "file:///etc/passwd"}), "redirects from http to file"),
        (Response(status=302, headers={"Location": "/x"}), "more than 10 redirects"),
    ],
)
def test_answers_that_are_not_the_file(tmp_path, httpserver, get, response, reason):
    url = serve(httpserver, "/x", response)
    assert reason in failure(get, resource(url))
    assert get.pauses == []
    assert names(tmp_path) == []


def test_a_wrong_file_is_kept_as_bad_and_the_next_source_tried(tmp_path, httpserver, get):
    wrong = b"\x1f\x8b" + bytes(len(DATA) - 2)
    bad, good = serve(httpserver, "/bad", Response(wrong)), serve(httpserver, "/good", Response(DATA))
    assert get(resource(bad, good)).read_bytes() == DATA
    assert (tmp_path / f"{NAME}.bad").read_bytes() == wrong
    (tmp_path / NAME).unlink()
    text = failure(get, resource(bad))
    assert f"expected {MD5}, got {hashlib.md5(wrong).hexdigest()}" in text
    assert "kept as a.tar.gz.bad2" in text


def test_retries_back_off_and_obey_the_server(httpserver, get):
    busy = Response(b"", status=503)
    later = Response(b"", status=429, headers={"Retry-After": "7"})
    assert get(resource(serve(httpserver, "/x", busy, busy, later, Response(DATA)))).read_bytes() == DATA
    for pause, (low, high) in zip(get.pauses, [(0.5, 1.5), (1, 3), (7, 7.7)], strict=True):
        assert low <= pause <= high, "1, 2, 4, ... give or take half; never less than the server asks for"


def test_retries_end(tmp_path, httpserver, get):
    text = failure(get, resource(serve(httpserver, "/x", Response(b"", status=500))), retries=2)
    assert "HTTP 500" in text
    assert "3 attempts" in text
    assert len(get.pauses) == 2
    assert "ConnectionError" in failure(get, resource("http://127.0.0.1:9/x"), retries=0)
    assert "InvalidSchema" in failure(get, resource("gopher://127.0.0.1/x"))
    assert names(tmp_path) == []


def test_a_cut_connection_is_resumed(httpserver, get):
    url = serve(httpserver, "/x", cut, Response(b"", status=503), ranged)
    assert get(resource(url)).read_bytes() == DATA
    assert [request.headers.get("Range") for request, _ in httpserver.log] == [
        None, "bytes=1000000-", "bytes=1000000-",
    ]  # fmt: skip


def test_a_server_that_ignores_or_garbles_ranges(tmp_path, httpserver, get):
    assert get(resource(serve(httpserver, "/ignores", cut, Response(DATA)))).read_bytes() == DATA
    other = Response(DATA, status=206, headers={"Content-Range": f"bytes 0-{len(DATA) - 1}/{len(DATA)}"})
    for number, answer in enumerate((other, Response(b"", status=416))):
        (tmp_path / NAME).unlink()
        url = serve(httpserver, f"/garbles{number}", cut, answer, Response(DATA))
        assert get(resource(url)).read_bytes() == DATA


def test_a_splice_of_two_versions_is_noticed_and_fetched_afresh(tmp_path, httpserver, get):
    def other_version(request):
        span = f"bytes 1000000-{len(DATA) - 1}/{len(DATA)}"
        return Response(b"?" * (len(DATA) - 1_000_000), status=206, headers={"Content-Range": span})

    assert get(resource(serve(httpserver, "/x", cut, other_version, Response(DATA)))).read_bytes() == DATA
    assert names(tmp_path) == [".dvsprep.json", NAME]


def test_the_next_call_goes_on_where_one_failed_or_died(tmp_path, httpserver, get):
    assert "1000000 bytes read" in failure(get, resource(serve(httpserver, "/cut", cut)), retries=0)
    assert names(tmp_path) == [NOTE, PART]
    assert get(resource(serve(httpserver, "/rest", ranged))).read_bytes() == DATA
    assert names(tmp_path) == [".dvsprep.json", NAME]


CHILD = """
import sys
from pathlib import Path
from dvsprep.raw import Resource, fetch
url, md5, size, folder = sys.argv[1:]
fetch(Resource("a.tar.gz", md5, int(size), urls=(url,)), Path(folder), warn=print)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_killed_while_downloading_the_next_run_completes(tmp_path, httpserver, get):
    def slow(request):
        start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        span = {"Content-Range": f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"} if start else {}

        def drip():
            yield DATA[start : start + 1_200_000]  # more than a block, so that some reaches the disk
            gone.wait(30)

        body = Response(drip(), status=206 if start else 200, headers=span)
        body.headers["Content-Length"] = str(len(DATA) - start)
        return body

    url = serve(httpserver, "/slow", slow)
    for number in range(2):
        gone = threading.Event()
        child = subprocess.Popen([sys.executable, "-c", CHILD, url, MD5, str(len(DATA)), tmp_path])
        while sum(path.stat().st_size for path in tmp_path.glob("*.part-*")) < 1_000_000 * (number + 1):
            assert child.poll() is None
            time.sleep(0.01)
        child.kill()
        child.wait()
        gone.set()
        assert not (tmp_path / NAME).exists()
    assert get(resource(serve(httpserver, "/rest", ranged))).read_bytes() == DATA
    assert names(tmp_path) == [".dvsprep.json", NAME]


def test_a_short_answer_that_the_client_library_lets_pass(tmp_path, httpserver, get, monkeypatch):
    whole = _http.body

    def short(response):
        yield b"".join(whole(response))[:1_048_576]

    monkeypatch.setattr(fetch_module, "body", short)
    text = failure(get, resource(serve(httpserver, "/x", Response(DATA))), retries=0)
    assert f"1,048,576 of {len(DATA):,} bytes received" in text
    assert names(tmp_path) == [NOTE, PART]


def test_without_verification_nothing_is_resumed(tmp_path, httpserver, get):
    failure(get, resource(serve(httpserver, "/cut", cut)), retries=0, verify=False)
    assert names(tmp_path) == []


def test_no_verify_accepts_with_a_warning(tmp_path, httpserver, get):
    told = []
    other = b"\x1f\x8b other"
    what = resource(serve(httpserver, "/x", Response(other)))
    for _ in range(2):  # fetched, then found there
        assert get(what, verify=False, warn=told.append).read_bytes() == other
        assert MD5 in told[-1]
        assert hashlib.md5(other).hexdigest() in told[-1]
    assert len(told) == 2
    entry = Ledger(tmp_path).get(NAME)
    assert entry is not None
    assert not entry.verified


def test_no_published_hash(httpserver, get):
    what = resource(serve(httpserver, "/x", Response(DATA)), md5=None, size=None)
    with pytest.raises(HashMismatchError, match="no published hash"):
        get(what)
    assert httpserver.log == []
    told = []
    assert get(what, verify=False, warn=told.append).read_bytes() == DATA
    assert "no published hash" in told[0]


def test_a_wrong_file_in_the_place_is_set_aside(tmp_path, httpserver, get):
    (tmp_path / NAME).write_bytes(b"mine")
    assert get(resource(serve(httpserver, "/x", Response(DATA)))).read_bytes() == DATA
    assert (tmp_path / f"{NAME}.bad").read_bytes() == b"mine"


def test_a_process_that_was_first(tmp_path, httpserver, get):
    def meanwhile(request):
        (tmp_path / NAME).write_bytes(DATA)
        return Response(DATA)

    assert get(resource(serve(httpserver, "/x", meanwhile))).read_bytes() == DATA
    assert names(tmp_path) == [".dvsprep.json", NAME]


def test_gzip_encoding_is_not_undone(httpserver, get):
    url = serve(httpserver, "/x", Response(DATA, headers={"Content-Encoding": "gzip"}))
    assert get(resource(url)).read_bytes() == DATA


def test_redirects_are_followed_but_never_down_to_http(httpserver, get):
    serve(httpserver, "/good", Response(DATA))
    url = serve(httpserver, "/moved", Response(status=302, headers={"Location": "/good"}))
    assert get(resource(url)).read_bytes() == DATA
    assert _http.redirect_target("http://a/x", "https://b/y") == "https://b/y"
    assert _http.redirect_target("https://a/x", "/y") == "https://a/y"
    for location in ("http://a/y", "http://evil/", "ftp://a/y", "HTTP://a/y"):
        with pytest.raises(Exception, match="not followed"):
            _http.redirect_target("https://a/x", location)


def test_file_urls(tmp_path, get):
    (tmp_path / "mirror é").mkdir()
    source = tmp_path / "mirror é" / "x"
    source.write_bytes(DATA)
    none = (tmp_path / "none").as_uri()
    assert get(resource(none, source.as_uri())).read_bytes() == DATA
    (tmp_path / NAME).unlink()
    assert f"{none}: No such file" in failure(get, resource(none))
    assert get.pauses == []


def test_a_full_disk_is_no_fault_of_the_source(tmp_path, httpserver, get, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_part, "publish", full)
    with pytest.raises(OSError, match="No space left") as caught:
        get(resource(serve(httpserver, "/x", Response(DATA))))
    assert not isinstance(caught.value, FetchError)
    assert not (tmp_path / NAME).exists()


def test_by_hand_only(tmp_path, get):
    with pytest.raises(ManualDownloadError) as caught:
        get(resource())
    for word in (
        NAME,
        f"{len(DATA):,} bytes",
        MD5,
        "https://example.org/page",
        str(tmp_path),
        "dvsprep adopt",
    ):
        assert word in str(caught.value)
    assert names(tmp_path) == []


def test_the_bar_is_quiet_unless_asked(httpserver, get, tmp_path, capsys):
    url = serve(httpserver, "/x", Response(DATA))
    get(resource(url))
    assert capsys.readouterr() == ("", "")
    (tmp_path / NAME).unlink()
    get(resource(url), progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert NAME in err
    (tmp_path / NAME).unlink()
    get(resource(url), progress=False)
    assert capsys.readouterr() == ("", "")
