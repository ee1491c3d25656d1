"""Where files are looked for, in which order, with what expected hash, and what happens without a network."""

from __future__ import annotations

import hashlib
import os
import socket

import pytest
from bad_server import file, hang, status

from dvsprep.errors import FetchError, HashMismatchError, NotFoundError, UsageError
from dvsprep.raw import (
    Ledger,
    Network,
    Resource,
    check,
    expect,
    fetch,
    find_shared,
    network_allowed,
    probe,
    probe_all,
    read_md5sums,
    require,
    sources,
)

ZIP = b"PK\x03\x04" + bytes(range(256)) * 40
MD5 = hashlib.md5(ZIP).hexdigest()
ONE = Resource(
    "a b.zip", MD5, len(ZIP), urls=("https://figshare.com/ndownloader/files/12",), page="https://example.org"
)


def silent(text: str) -> None:
    raise AssertionError(f"unexpected warning: {text}")


# -- the order --


def test_mirrors_come_first_then_the_figshare_api_then_what_is_published():
    assert sources(ONE, "set", ["http://m/x/", "file:///data"]) == [
        "http://m/x/a%20b.zip", "http://m/x/set/a%20b.zip", "file:///data/a%20b.zip", "file:///data/set/a%20b.zip",
        "https://api.figshare.com/v2/file/download/12", "https://figshare.com/ndownloader/files/12",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "url",
    ["https://ndownloader.figshare.com/files/12", "https://www.figshare.com/ndownloader/files/12?private_link=x"],
)
def test_every_form_of_a_figshare_link_is_known_and_no_source_is_listed_twice(url):
    api = "https://api.figshare.com/v2/file/download/12"
    assert sources(Resource("x", None, urls=(url,))) == [api, url]
    assert sources(Resource("x", None, urls=(api, url))) == [api, url]


def test_mirrors_of_the_environment_hold_unless_others_are_given(monkeypatch):
    monkeypatch.setenv("DVSPREP_MIRRORS", " http://a  http://b/ ")
    bare = Resource("x", None)
    assert sources(bare) == ["http://a/x", "http://b/x"]
    assert sources(bare, mirrors=["http://c"]) == ["http://c/x"]


def test_a_folder_is_a_mirror_and_a_strange_scheme_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert sources(Resource("x", None), mirrors=["my files"]) == [(tmp_path / "my files" / "x").as_uri()]
    with pytest.raises(UsageError, match="ftp://h"):
        sources(Resource("x", None), mirrors=["ftp://h"])


def test_a_mirror_helps_where_only_a_person_could_fetch(server, tmp_path):
    server.at("/set/a.zip", file(ZIP))
    by_hand = Resource("a.zip", MD5, len(ZIP))
    path = fetch(by_hand, tmp_path, dataset="set", network=Network(mirrors=[server.url]), warn=silent)
    assert path.read_bytes() == ZIP
    assert [asked for asked, _ in server.log] == ["/a.zip", "/set/a.zip"]


# -- other MD5s --


def test_md5sums_are_read_as_md5sum_writes_them(tmp_path):
    path = tmp_path / "MD5SUMS"
    path.write_text(f"# mine\n{MD5}  a.zip\n{MD5.upper()} *./sub/b.zip\n\nMD5 (c d.zip) = {MD5}\n{MD5}  a.zip\n")
    assert read_md5sums(path) == {"a.zip": MD5, "b.zip": MD5, "c d.zip": MD5}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"hello\n", "line 1: expected '<MD5>  <file name>', got 'hello'"),
        (f"{MD5}  a\n{'0' * 32}  a\n".encode(), "line 2: another MD5 of a"),
        (f"{MD5[:-1]}  a\n".encode(), "line 1"),
        (b"\xff\xfe", "byte 0 is no text"),
    ],
)
def test_a_broken_md5sums_file_is_refused_with_its_line(tmp_path, text, words):
    path = tmp_path / "MD5SUMS"
    path.write_bytes(text)
    with pytest.raises(UsageError) as caught:
        read_md5sums(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


def test_no_md5sums_file(tmp_path):
    with pytest.raises(NotFoundError):
        read_md5sums(tmp_path / "none")


def test_a_given_md5_stands_in_for_size_and_hashes_and_is_remembered_with_the_file(server, tmp_path):
    published = Resource("a.zip", "0" * 32, 12345, sha256="1" * 64, urls=(server.at("/a", file(ZIP)),))
    (wanted,) = expect([published], tmp_path, {"a.zip": MD5, "other": "2" * 32})
    assert (wanted.md5, wanted.size, wanted.sha256, wanted.published) == (MD5, None, None, False)
    fetch(wanted, tmp_path, warn=silent)
    entry = Ledger(tmp_path).get("a.zip")
    assert (entry.md5, entry.verified, entry.own) == (MD5, True, True)

    assert expect([published], tmp_path) == [wanted], "later commands need no --md5sums"
    assert check(wanted, tmp_path).state == "ok"
    assert require([wanted], tmp_path, warn=silent) == {"a.zip": MD5}
    assert Ledger(tmp_path).get("a.zip") == entry
    assert expect([published], tmp_path, {}) == [published], "the way back to what is published"
    assert "as given by --md5sums" in wanted.describe()


def test_a_given_md5_that_is_the_published_one_changes_nothing(tmp_path):
    assert expect([ONE], tmp_path, {"a b.zip": MD5}) == [ONE]


def test_a_wrong_given_md5_fails_like_a_wrong_published_one(server, tmp_path):
    (wanted,) = expect([Resource("a.zip", None, urls=(server.at("/a", file(ZIP)),))], tmp_path, {"a.zip": "0" * 32})
    with pytest.raises(FetchError, match=f"expected {'0' * 32}, got {MD5}"):
        fetch(wanted, tmp_path, warn=silent)
    assert expect([ONE], tmp_path) == [ONE]


def test_md5s_of_quite_other_files_are_a_mistake(tmp_path):
    with pytest.raises(UsageError, match=r"none of which is a file of the dataset: a b\.zip"):
        expect([ONE], tmp_path, {"c.zip": MD5})


# -- offline --


@pytest.fixture
def no_sockets(monkeypatch):
    """Record every socket, also one whose error somebody swallows."""
    opened = []

    def refuse(*args, **kwargs):
        opened.append(args)
        raise AssertionError("a socket was opened")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    yield
    assert opened == []


@pytest.mark.parametrize("value", ["1", "true", "yes", "ON", "anything"])
def test_the_environment_takes_the_network_away(monkeypatch, value):
    assert network_allowed()
    assert not network_allowed(offline=True)
    monkeypatch.setenv("DVSPREP_OFFLINE", value)
    assert not network_allowed()


@pytest.mark.parametrize("value", ["", "0", "false", "No", "off"])
def test_the_environment_can_say_no(monkeypatch, value):
    monkeypatch.setenv("DVSPREP_OFFLINE", value)
    assert network_allowed()


@pytest.mark.parametrize("by", ["flag", "environment"])
def test_offline_a_file_that_needs_the_network_is_named_and_no_socket_opened(tmp_path, monkeypatch, no_sockets, by):
    if by == "environment":
        monkeypatch.setenv("DVSPREP_OFFLINE", "1")
    network = Network(offline=by == "flag")
    for call in (lambda: fetch(ONE, tmp_path / "d", network=network, warn=silent), lambda: probe(ONE, network=network)):
        with pytest.raises(FetchError, match=r"offline, and only the network has a b\.zip"):
            call()
    assert not (tmp_path / "d").exists()


def test_offline_file_sources_still_work(tmp_path, no_sockets):
    (tmp_path / "mirror").mkdir()
    network = Network(mirrors=[str(tmp_path / "mirror")], offline=True)
    with pytest.raises(FetchError) as caught:
        fetch(ONE, tmp_path / "d", network=network, warn=silent)
    assert f"{ONE.urls[0]}: offline, not tried" in str(caught.value)
    (tmp_path / "mirror" / ONE.name).write_bytes(ZIP)
    assert fetch(ONE, tmp_path / "d", network=network, warn=silent).read_bytes() == ZIP
    assert fetch(ONE, tmp_path / "d", network=Network(offline=True), warn=silent).read_bytes() == ZIP


# -- probing --


def test_probing_tells_of_every_source_what_it_would_give(server, tmp_path):
    good, other = tmp_path / "good.zip", tmp_path / "other.zip"
    good.write_bytes(ZIP)
    other.write_bytes(b"text")
    urls = {
        server.at("/good", file(ZIP)): (True, 206, len(ZIP), True, ""),
        server.at("/no-range", file(ZIP, ignore_range=True)): (True, 200, len(ZIP), True, ""),
        server.at("/waf", status(202, x_amzn_waf_action="challenge")): (False, 202, None, None, "bot challenge"),
        server.at("/html", status(200, b"<html>please log in")): (False, 200, 19, False, "login page"),
        server.at("/other", file(ZIP + b"!")): (False, 206, len(ZIP) + 1, True, "announces"),
        server.at("/empty", status(200)): (False, 200, 0, True, "empty body"),
        server.at("/hang", hang(ZIP, 0)): (False, 200, None, None, "stalled"),
        "http://127.0.0.1:9/x": (False, None, None, None, "refused"),
        good.as_uri(): (True, None, len(ZIP), True, ""),
        other.as_uri(): (False, None, 4, False, "begins with b'text'"),
        (tmp_path / "none").as_uri(): (False, None, None, None, "No such file"),
    }
    what = Resource("x.zip", MD5, len(ZIP), urls=tuple(urls))
    reports = probe(what, network=Network(stall=0.6))
    assert [r.url for r in reports] == list(urls)
    for report, (ok, code, length, magic, why) in zip(reports, urls.values(), strict=True):
        assert (report.ok, report.status, report.length, report.magic) == (ok, code, length, magic), report
        assert why in report.why
        assert (report.why == "") is ok
        assert 0 <= report.seconds < 5
    assert server.served < 4 * len(ZIP), "16 bytes of each, where the server knows ranges"
    assert {headers["Range"] for _, headers in server.log} == {"bytes=0-15"}
    assert len(probe_all([what, what], network=Network(stall=0.6))) == 2 * len(urls)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good.zip", "other.zip"], "nothing is kept"


# -- shared roots --


def test_shared_roots_are_searched_in_order_and_only_looked_at(tmp_path, monkeypatch):
    assert find_shared("nmnist", "events/x.h5") is None
    for root in ("first", "second"):
        (tmp_path / root / "nmnist" / "events").mkdir(parents=True)
    monkeypatch.setenv("DVSPREP_SHARED_ROOTS", os.pathsep.join(["", str(tmp_path / "none"), *(
        str(tmp_path / root) for root in ("first", "second"))]))  # fmt: skip
    second = tmp_path / "second/nmnist/events/x.h5"
    second.touch()
    assert find_shared("nmnist", "events/x.h5") == second
    (tmp_path / "first/nmnist/events/x.h5").touch()
    assert find_shared("nmnist", "events/x.h5") == tmp_path / "first/nmnist/events/x.h5"
    for name, path in (("..", "x"), ("nmnist", "../x"), ("nmnist", "/etc/passwd"), ("/etc", "passwd")):
        with pytest.raises(UsageError, match="leaves the shared root"):
            find_shared(name, path)


def test_a_hash_nobody_published_is_still_refused_with_a_mirror(server, tmp_path):
    with pytest.raises(HashMismatchError, match="no published hash"):
        fetch(Resource("a.zip", None), tmp_path, network=Network(mirrors=[server.url]), warn=silent)
    assert server.log == []


def test_an_md5_that_the_file_failed_is_not_expected_later(server, tmp_path):
    published = Resource("a.zip", "0" * 32, urls=(server.at("/a", file(ZIP)),))
    (wanted,) = expect([published], tmp_path, {"a.zip": "1" * 32})
    fetch(wanted, tmp_path, verify=False, warn=lambda _: None)
    check(wanted, tmp_path, verify=False)
    entry = Ledger(tmp_path).get("a.zip")
    assert (entry.md5, entry.verified, entry.own) == (MD5, False, False)
    assert expect([published], tmp_path) == [published]
    with pytest.raises(HashMismatchError):
        require(expect([published], tmp_path), tmp_path, warn=silent)
