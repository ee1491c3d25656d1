"""What arrived once is not fetched again, unless it is of another version: bytes served are counted."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import subprocess
import sys

import pytest
from bad_server import file, status

from dvsprep.errors import FetchError
from dvsprep.raw import Network, Resource, fetch

RANDOM = random.Random(7)
DATA = gzip.compress(RANDOM.randbytes(300_000), mtime=0)
OTHER = gzip.compress(RANDOM.randbytes(300_000), mtime=0)[: len(DATA)].ljust(len(DATA), b"\0")
MD5 = hashlib.md5(DATA).hexdigest()
NAME = "a.tar.gz"
PART, NOTE = f"{NAME}.part-0", f".{NAME}.part-0.json"


def silent(text: str) -> None:
    raise AssertionError(f"unexpected warning: {text}")


@pytest.fixture
def get(tmp_path):
    def call(*urls, retries=3, **changes):
        what = Resource(NAME, **({"md5": MD5, "size": len(DATA), "urls": urls} | changes))
        return fetch(what, tmp_path, network=Network(retries=retries), warn=silent, sleep=lambda _: None)

    return call


def cut(get, url, **changes) -> None:
    with pytest.raises(FetchError):
        get(url, retries=0, **changes)


@pytest.mark.parametrize("etag", ['"v1"', ""])
def test_interrupted_at_20_random_bytes_in_one_call_only_the_rest_is_fetched(server, get, etag):
    pieces = [RANDOM.randrange(1, 12_000) for _ in range(20)]
    url = server.at("/x", *(file(DATA, etag=etag, stop=size) for size in pieces), file(DATA, etag=etag))
    assert get(url).read_bytes() == DATA
    assert server.served == len(DATA), "not one byte came twice"
    starts = [f"bytes={sum(pieces[:i])}-" for i in range(1, 21)]
    assert server.ranges("/x") == [None, *starts]


def test_interrupted_at_20_random_bytes_in_20_calls_only_the_rest_is_fetched(server, get, tmp_path):
    held = 0
    for _ in range(20):
        size = RANDOM.randrange(1, 12_000)
        cut(get, server.at("/x", file(DATA, etag='"v1"', stop=size)))
        held += size
        assert sorted(path.name for path in tmp_path.iterdir()) == [NOTE, PART]
        assert (tmp_path / PART).stat().st_size == held == server.served
    assert get(server.at("/x", file(DATA, etag='"v1"'))).read_bytes() == DATA
    assert server.served == len(DATA)
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".lock") == [".dvsprep.json", NAME]


def test_the_version_is_asked_for_by_a_strong_etag_or_by_the_date(server, get, tmp_path):
    date = "Tue, 01 Jul 2025 10:00:00 GMT"
    for etag, modified, asked in (('"v1"', date, '"v1"'), ('W/"v1"', date, date), ("", date, date), ("", "", None)):
        headers = ({"ETag": etag} if etag else {}) | ({"Last_Modified": modified} if modified else {})
        url = server.at("/x", file(DATA, stop=5000, **headers))
        cut(get, url)
        server.log.clear()
        cut(get, url)
        assert server.log[0][1].get("If-Range") == asked
        assert server.log[0][1].get("Range") == "bytes=5000-"
        (tmp_path / PART).unlink()


def test_a_file_that_changed_between_the_parts_is_fetched_anew_and_not_spliced(server, get):
    """If-Range makes an honest server send all of the new version."""
    url = server.at("/x", file(OTHER, etag='"old"', stop=100_000), file(DATA, etag='"new"'))
    assert get(url).read_bytes() == DATA
    assert server.served == 100_000 + len(DATA)


def test_a_server_that_ignores_if_range_is_found_out_by_its_etag(server, get):
    def spliced(h):
        h.headers.replace_header("If-Range", '"new"')
        file(DATA, etag='"new"')(h)

    url = server.at("/x", file(OTHER, etag='"old"', stop=100_000), spliced, file(DATA, etag='"new"'))
    assert get(url).read_bytes() == DATA
    assert server.ranges("/x") == [None, "bytes=100000-", None]


def test_another_source_resumes_too_for_the_hash_decides(server, get):
    first = server.at("/a", file(DATA, etag='"a"', stop=100_000), status(404))
    assert get(first, server.at("/b", file(DATA, etag='"b"'))).read_bytes() == DATA
    assert server.served == len(DATA)
    assert "If-Range" not in server.log[-1][1], "the version of one source means nothing to another"


def test_a_wrong_beginning_is_dropped_when_the_hash_says_so(server, get, tmp_path):
    cut(get, server.at("/wrong", file(OTHER, stop=100_000)))
    assert get(server.at("/right", file(DATA))).read_bytes() == DATA
    assert server.ranges("/right") == ["bytes=100000-", None]
    assert not list(tmp_path.glob("*.bad")), "a splice is nobody's file"


def test_a_web_page_does_not_cost_what_is_already_here(server, get, tmp_path):
    cut(get, server.at("/x", file(DATA, stop=100_000)))
    for answer in (status(200, b"<html>log in"), status(200), status(200, DATA[:50]), status(403), status(416)):
        cut(get, server.at("/x", answer))
        assert (tmp_path / PART).stat().st_size == 100_000
    missing = (tmp_path / "none").as_uri()
    assert get(missing, server.at("/y", file(DATA))).read_bytes() == DATA
    assert server.ranges("/y") == ["bytes=100000-"]


def test_a_part_of_a_file_that_has_another_hash_now_is_not_used(server, get):
    cut(get, server.at("/x", file(OTHER, stop=1000)), md5="0" * 32)
    assert get(server.at("/y", file(DATA))).read_bytes() == DATA
    assert server.ranges("/y") == [None]


@pytest.mark.parametrize("note", [b"", b"[]", b'{"url": 3}', b"\xff"])
def test_a_broken_note_beside_a_part_is_no_note(server, get, tmp_path, note):
    (tmp_path / PART).write_bytes(DATA[:1000])
    (tmp_path / NOTE).write_bytes(note)
    assert get(server.at("/x", file(DATA))).read_bytes() == DATA
    assert server.ranges("/x") == ["bytes=1000-"]
    assert not (tmp_path / NOTE).exists()


def test_the_part_of_a_killed_fetch_that_its_parent_never_reaped_is_taken_over(server, get, tmp_path):
    code = "import time; from dvsprep.disk import tag; print(tag(), flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        part = tmp_path / f"{NAME}.part-{process.stdout.readline().strip()}"
        part.write_bytes(DATA[:5000])
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet reaped
        assert get(server.at("/x", file(DATA))).read_bytes() == DATA
    assert server.ranges("/x") == ["bytes=5000-"]
    assert not part.exists()


def test_the_longest_of_several_parts_is_taken_and_one_of_a_living_process_is_not(server, get, tmp_path):
    from dvsprep.disk import tag

    living = tmp_path / f"{NAME}.part-{tag()}"
    for path, size in ((living, 200_000), (tmp_path / PART, 3000), (tmp_path / f"{NAME}.part-0-ab-cd", 9000)):
        path.write_bytes(DATA[:size])
    machine = living.name.split("-")[-3]
    dead = tmp_path / f"{NAME}.part-4194305-{machine}-00"  # above the highest pid of Linux
    dead.write_bytes(DATA[:7000])
    assert get(server.at("/x", file(DATA))).read_bytes() == DATA
    assert server.ranges("/x") == ["bytes=7000-"]
    assert living.stat().st_size == 200_000


def test_two_threads_after_one_part_have_one_winner(server, tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    (tmp_path / PART).write_bytes(DATA[:100_000])
    what = Resource(NAME, MD5, len(DATA), urls=(server.at("/x", file(DATA)),))
    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(lambda _: fetch(what, tmp_path, warn=silent), range(2)))
    assert {path.read_bytes() for path in paths} == {DATA}
    assert server.ranges("/x").count("bytes=100000-") <= 1
    assert not list(tmp_path.glob("*.part*"))


def test_the_note_says_of_which_version_the_part_is(server, get, tmp_path):
    url = server.at("/x", file(DATA, etag='"v1"', stop=5000))
    cut(get, url)
    assert json.loads((tmp_path / NOTE).read_bytes()) == {"url": url, "validator": '"v1"', "expects": MD5}
