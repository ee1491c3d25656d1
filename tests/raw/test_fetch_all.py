"""Several files at once: in order, each for itself, stopped together only by what concerns them all."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from bad_server import file, hang, status

from dvsprep.errors import DvsprepError, FetchError, ManualDownloadError
from dvsprep.raw import Network, Resource, _part, fetch_all

FILES = {f"f{i}.zip": b"PK\x03\x04" + bytes([i]) * (20_000 + i) for i in range(6)}


def wanted(server, *names: str, answers=()) -> list[Resource]:
    answers = dict(answers)
    return [
        Resource(name, hashlib.md5(FILES[name]).hexdigest(), len(FILES[name]),
                 urls=(server.at(f"/{name}", answers.get(name, file(FILES[name]))),))
        for name in names or FILES
    ]  # fmt: skip


def silent(text: str) -> None:
    raise AssertionError(f"unexpected warning: {text}")


FAST = Network(retries=0, stall=5)


def test_all_come_in_order_and_no_more_than_allowed_at_once(server, tmp_path):
    lock, now, most = threading.Lock(), [0], [0]

    def slow(name):
        def answer(h):
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            time.sleep(0.1)
            with lock:
                now[0] -= 1
            file(FILES[name])(h)

        return answer

    resources = wanted(server, answers={name: slow(name) for name in FILES})
    paths = fetch_all(resources, tmp_path / "new", jobs=3, warn=silent)
    assert [path.name for path in paths] == list(FILES)
    assert {path.name: path.read_bytes() for path in paths} == FILES
    assert most[0] == 3
    server.log.clear()
    assert fetch_all(resources, tmp_path / "new", warn=silent) == paths
    assert server.log == [], "what is there is not fetched again"


def test_a_file_that_fails_does_not_stop_the_others_and_all_failures_are_told(server, tmp_path):
    resources = wanted(server, answers={"f1.zip": status(403), "f4.zip": status(202)})
    with pytest.raises(FetchError) as caught:
        fetch_all(resources, tmp_path, network=FAST, warn=silent)
    assert "2 of 6 files" in str(caught.value)
    for words in ("/f1.zip: Forbidden (HTTP 403", "/f4.zip: bot challenge (an empty answer) (HTTP 202"):
        assert words in str(caught.value)
    assert sorted(path.name for path in tmp_path.glob("*.zip")) == ["f0.zip", "f2.zip", "f3.zip", "f5.zip"]


def test_one_failure_is_raised_as_it_is(server, tmp_path):
    with pytest.raises(FetchError, match=r"^no source gave f1\.zip"):
        fetch_all(wanted(server, answers={"f1.zip": status(403)}), tmp_path, network=FAST, warn=silent)


def test_a_full_disk_stops_all_and_keeps_what_arrived(server, tmp_path, monkeypatch):
    """f0 has half of its bytes when f1 meets the full disk."""
    halfway = threading.Event()

    def half(h):
        h.head(200, Content_Length=len(FILES["f0.zip"]))
        h.body(FILES["f0.zip"][:10_000])
        while not list(tmp_path.glob("f0.zip.part-*")) or next(tmp_path.glob("f0.zip.part-*")).stat().st_size < 10_000:
            time.sleep(0.01)
        halfway.set()
        for i in range(10_000, 10_500):  # more comes, one byte at a time
            h.body(FILES["f0.zip"][i : i + 1])
            if h.server.owner.gone.wait(0.01):
                return

    def late(h):
        halfway.wait(5)
        file(FILES["f1.zip"])(h)

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(_part, "publish", full)
    resources = wanted(server, "f0.zip", "f1.zip", "f2.zip", answers={"f0.zip": half, "f1.zip": late})
    with pytest.raises(OSError, match="No space") as caught:
        fetch_all(resources, tmp_path, network=FAST, jobs=2, warn=silent)
    assert not isinstance(caught.value, DvsprepError)
    assert (tmp_path / "f0.zip.part-0").stat().st_size >= 10_000
    assert (tmp_path / "f1.zip.part-0").stat().st_size == len(FILES["f1.zip"])
    assert "/f2.zip" not in [path for path, _ in server.log], "nothing new is begun"


def test_what_only_a_person_or_the_network_has_is_named_before_a_byte_is_fetched(server, tmp_path):
    by_hand = [Resource(f"h{i}.zip", "0" * 32, page="https://example.org/page") for i in range(2)]
    with pytest.raises(ManualDownloadError) as caught:
        fetch_all([*wanted(server), *by_hand], tmp_path, dataset="some", warn=silent)
    for word in ("h0.zip", "h1.zip", "https://example.org/page", str(tmp_path), "dvsprep verify some"):
        assert word in str(caught.value)
    with pytest.raises(FetchError, match=r"only the network has f0\.zip, f1\.zip"):
        fetch_all(wanted(server, "f0.zip", "f1.zip"), tmp_path, network=Network(offline=True), warn=silent)
    assert server.log == []


def test_the_budget_is_for_all_together(server, tmp_path):
    begin = time.monotonic()
    answers = {name: hang(FILES[name], 5000) for name in FILES}
    with pytest.raises(FetchError, match=r"out of time, 1 s"):
        fetch_all(wanted(server, answers=answers), tmp_path, network=Network(budget=1), warn=silent)
    assert time.monotonic() - begin < 6
    assert (tmp_path / "f0.zip.part-0").stat().st_size == 5000


def test_nothing_to_do_and_an_error_of_the_caller(server, tmp_path):
    assert fetch_all([], tmp_path, warn=silent) == []
    bare = Resource("f0.zip", None, urls=(server.at("/f0.zip", file(FILES["f0.zip"])),))
    with pytest.raises(AssertionError, match="unexpected warning"):
        fetch_all([bare], tmp_path, verify=False, warn=silent)


CHILD = """
import sys
from pathlib import Path
from dvsprep.raw import Resource, fetch_all
url, folder = sys.argv[1:]
fetch_all([Resource(f"f{i}.zip", "0" * 32, urls=(f"{url}/f{i}.zip",)) for i in range(3)], Path(folder), warn=print)
"""


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to a child there")
def test_ctrl_c_ends_it_although_servers_hang_and_the_next_run_goes_on(server, tmp_path):
    wanted(server, answers={name: hang(FILES[name], 9000) for name in FILES})
    child = subprocess.Popen([sys.executable, "-c", CHILD, server.url, tmp_path], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 20
    while sum(path.stat().st_size for path in tmp_path.glob("*.part-*")) < 27_000:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=15)
    assert b"KeyboardInterrupt" in err
    server.log.clear()
    names = ("f0.zip", "f1.zip", "f2.zip")
    for path in tmp_path.glob(".*.json"):  # the child expected another hash
        path.unlink()
    fetch_all(wanted(server, *names), tmp_path, warn=silent)
    assert [headers.get("Range") for _, headers in server.log] == ["bytes=9000-"] * 3


def test_bars_are_quiet_without_a_terminal_and_one_a_file_with_one(server, tmp_path, capsys):
    fetch_all(wanted(server), tmp_path / "a", warn=silent)
    assert capsys.readouterr() == ("", "")
    fetch_all(wanted(server), tmp_path / "b", progress=True, warn=silent)
    out, err = capsys.readouterr()
    assert out == ""
    assert [name for name in FILES if name not in err] == []
