"""Builds on request: one however many ask, told as it goes, cancelled, gone on with after a kill."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import making
import pytest
import requests
import serving

from dvsprep import cache, disk
from dvsprep.pipeline import Job
from dvsprep.serve.builds import Builds
from dvsprep.types import FrameSpec

SPEC = {"split_by": "number", "T": 3}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def ended(base: str, id: str, within: float = 120) -> dict[str, Any]:
    """Follow a build's events to its end."""
    with requests.get(f"{base}/v1/builds/{id}/events", stream=True, timeout=within) as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        told = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith(b"data: ")]
    assert told
    return told[-1] | {"history": told}


def test_a_build_is_told_as_it_goes_and_served_when_done(home: Path) -> None:
    with serving.running(home) as base:
        posted = requests.post(f"{base}/v1/builds", json={"dataset": "sample", "spec": SPEC}, timeout=60)
        assert posted.status_code == 202
        build = ended(base, posted.json()["id"])
        assert build["state"] == "done", build
        stages = {step["stage"] for step in build["history"]}
        assert {"events", "frames train"} & stages
        assert any("frames:" in line for line in build["says"])
        id = build["caches"]["train"]
        assert requests.get(f"{base}/v1/caches/{id}", timeout=30).json()["samples"] == 72
        alone = Job("sample", home / "alone", FrameSpec("number", T=3))
        alone.run()
        made = requests.get(f"{base}/v1/caches/{id}/file", timeout=30).content
        assert made == alone.frames_paths()["train"].read_bytes()
        assert requests.get(f"{base}{posted.headers['Location']}", timeout=30).json()["state"] == "done"
        assert 'dvsprep_builds_ended_total{state="done"} ' in requests.get(f"{base}/metrics", timeout=30).text


def test_many_who_ask_are_told_of_one_build(home: Path) -> None:
    with serving.running(home) as one, serving.running(home) as other:
        answers: list[requests.Response] = []
        asked = {"dataset": "sample", "spec": SPEC}

        def ask(base: str) -> None:
            answers.append(requests.post(f"{base}/v1/builds", json=asked, timeout=60))

        threads = [threading.Thread(target=ask, args=((one, other)[i % 2],)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert [answer.status_code for answer in answers].count(202) == 1
        build = ended(other, answers[0].json()["id"])
        assert build["state"] == "done"
        assert len(requests.get(f"{one}/v1/builds", timeout=30).json()["builds"]) == 1


class Slow:
    """A plugin whose build lasts until it is ended, or until a file says go."""

    def __init__(self, folder: Path) -> None:
        self.go = folder / "go"
        body = (
            f"import time, pathlib\n    for _ in range(2000):\n"
            f"        if pathlib.Path({str(self.go)!r}).exists():\n            break\n"
            f"        time.sleep(0.05)\n    return np.zeros((2, 2, H, W), np.uint8)"
        )
        self.name = making.plugin(folder, body, "slow")
        self.asked = {"dataset": "sample", "spec": {"split_by": "plugin", "plugin": self.name}}


@pytest.fixture
def slow(tmp_path: Path) -> Slow:
    return Slow(tmp_path)


def wait_for(base: str, id: str, state: str) -> dict[str, Any]:
    until = time.monotonic() + 90
    while time.monotonic() < until:
        build: dict[str, Any] = requests.get(f"{base}/v1/builds/{id}", timeout=30).json()
        if build["state"] == state and (state != "running" or "frames" in str(build["stage"])):
            return build
        time.sleep(0.1)
    raise AssertionError(f"the build is {build['state']} at {build['stage']}, not {state}")


def test_a_build_can_be_cancelled_waiting_or_running(home: Path, slow: Slow) -> None:
    with serving.running(home, plugins=(slow.name,)) as base:
        first = requests.post(f"{base}/v1/builds", json=slow.asked, timeout=60).json()["id"]
        second = requests.post(f"{base}/v1/builds", json={"dataset": "sample", "spec": SPEC}, timeout=60).json()["id"]
        wait_for(base, first, "running")
        assert requests.delete(f"{base}/v1/builds/{second}", timeout=30).json()["state"] == "cancelled"
        requests.delete(f"{base}/v1/builds/{first}", timeout=30)
        assert ended(base, first)["state"] == "cancelled"
        assert requests.delete(f"{base}/v1/builds/{first}", timeout=30).json()["state"] == "cancelled"
        again = requests.post(f"{base}/v1/builds", json={"dataset": "sample", "spec": SPEC}, timeout=60)
        assert (again.status_code, again.json()["id"]) == (202, second)
        assert ended(base, second)["state"] == "done"


def serve(home: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a service in a process of its own."""
    command = making.command("serve", "--root", home, "--port", 0, *more)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = process.stderr.readline()
    yield process, line.split()[-1]
    process.kill()
    process.wait(30)
    process.stderr.close()


def test_a_killed_service_leaves_its_queue_to_the_next(home: Path, slow: Slow) -> None:
    first = serve(home, "--allow-plugins", slow.name)
    process, base = next(first)
    running = requests.post(f"{base}/v1/builds", json=slow.asked, timeout=60).json()["id"]
    waiting = requests.post(f"{base}/v1/builds", json={"dataset": "sample", "spec": SPEC}, timeout=60).json()["id"]
    wait_for(base, running, "running")
    os.kill(process.pid, signal.SIGKILL)
    assert next(first, None) is None
    assert Builds(home).get(running)["state"] == "running"  # nobody was there to say otherwise
    (home / ".builds" / f".{running}.json.tmp-{disk.NOBODY}").touch()  # as if it had been writing
    slow.go.touch()
    with serving.running(home, plugins=(slow.name,)) as base:
        assert ended(base, running)["state"] == "done"
        assert ended(base, waiting)["state"] == "done"
    assert [p for p in making.leftovers(home) if "spool" in p or "tmp" in p] == []


def test_a_root_whose_disk_is_full_or_has_no_locks_builds_when_it_can(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    def full(path: Path, data: bytes) -> None:
        if json.loads(data)["state"] == "running" and json.loads(data)["says"] and len(refused) < 2:
            refused.append(path)
            raise disk.explain(OSError(errno.ENOSPC, "full"), path)
        write_whole(path, data)

    refused: list[Path] = []
    write_whole = disk.write_whole
    monkeypatch.setattr("fcntl.flock", no_locks)
    monkeypatch.setattr("dvsprep.disk.write_whole", full)
    with serving.running(home) as base, caplog.at_level("WARNING", "dvsprep.serve"):
        id = requests.post(f"{base}/v1/builds", json={"dataset": "sample", "spec": SPEC}, timeout=60).json()["id"]
        assert ended(base, id)["state"] == "done"
    assert len(refused) == 2
    why = f"{refused[0]}: No space left on device (free some space, or choose another folder; "
    assert [record.getMessage() for record in caplog.records] == [f"builds wait: {why}what is done so far is kept)"]


def test_a_service_that_stops_leaves_the_running_build_to_the_next(home: Path, slow: Slow) -> None:
    with serving.running(home, plugins=(slow.name,)) as base:
        id = requests.post(f"{base}/v1/builds", json=slow.asked, timeout=60).json()["id"]
        wait_for(base, id, "running")
    assert Builds(home).get(id)["state"] == "queued"
    slow.go.touch()
    with serving.running(home, plugins=(slow.name,)) as base:
        assert ended(base, id)["state"] == "done"


def test_a_build_whose_process_is_killed_fails_in_a_line_and_is_built_when_asked_again(
    home: Path, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    children = []

    def watched(command: list[str], **how: Any) -> subprocess.Popen[str]:
        children.append(started(command, **how))
        return children[-1]

    started = subprocess.Popen
    monkeypatch.setattr("dvsprep.serve.builds.subprocess.Popen", watched)
    with serving.running(home, plugins=(slow.name,)) as base:
        id = requests.post(f"{base}/v1/builds", json=slow.asked, timeout=60).json()["id"]
        wait_for(base, id, "running")
        (child,) = children
        os.kill(child.pid, signal.SIGKILL)
        build = ended(base, id)
        assert build["state"] == "failed"
        error = build["error"]
        assert error["message"] == "the build's process was ended by SIGKILL"
        assert "memory" in error["hint"]
        assert build["caches"] == {}
        slow.go.touch()
        again = requests.post(f"{base}/v1/builds", json=slow.asked, timeout=60)
        assert (again.status_code, again.json()["id"], again.json()["error"]) == (202, id, None)
        build = ended(base, id)
        assert build["state"] == "done", build
        assert requests.get(f"{base}/v1/caches/{build['caches']['train']}", timeout=30).json()["samples"] == 72
    assert [p for p in making.leftovers(home) if "spool" in p or "tmp" in p] == []


def test_plugins_are_listed_and_found_from_where_the_service_was_started(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    making.plugin(tmp_path, "return np.full((params['T'], 2, H, W), 7, np.uint8)", "mine")
    monkeypatch.chdir(tmp_path)
    asked = {"split_by": "plugin", "plugin": "mine.py:made", "params": {"T": 2}}
    with serving.running(home, plugins=("mine.py:made", "other:f")) as base:
        assert requests.get(f"{base}/v1/caches", timeout=30).json()["plugins"] == ["mine.py:made", "other:f"]
        answer = requests.post(f"{base}/v1/builds", json={"dataset": "sample", "spec": asked}, timeout=60)
        build = ended(base, answer.json()["id"])
        assert build["state"] == "done", build
        sample = requests.get(f"{base}/v1/caches/{build['caches']['train']}/samples/3", timeout=30)
        assert sample.content == b"\7" * (2 * 2 * 128 * 128)
    for how in ({"plugins": ("mine.py:made",), "build": False}, {}):
        with serving.running(home, **how) as base:
            assert requests.get(f"{base}/v1/caches", timeout=30).json()["plugins"] == []


def test_a_service_runs_no_plugin_that_only_another_one_allows(home: Path, slow: Slow) -> None:
    slow.go.touch()
    queue = Builds(home, (slow.name,))  # of a service that was stopped before it came to this
    spec = FrameSpec(**slow.asked["spec"]).to_dict()
    id = queue.submit({"dataset": "sample", "spec": spec, "options": {}})[0]["id"]
    with serving.running(home) as base:
        other = requests.post(f"{base}/v1/builds", json={"dataset": "sample", "spec": SPEC}, timeout=60).json()["id"]
        assert ended(base, other)["state"] == "done"
        assert queue.get(id)["state"] == "queued"  # though it is the older one
    with serving.running(home, plugins=(slow.name,)) as base:
        assert ended(base, id)["state"] == "done"


def test_a_build_that_fails_says_why_in_the_words_of_the_command_line(home: Path, tmp_path: Path) -> None:
    plugin = making.plugin(tmp_path, "raise RuntimeError('no luck')", "unlucky")
    asked = {"dataset": "sample", "spec": {"split_by": "plugin", "plugin": plugin}}
    with serving.running(home, plugins=(plugin,)) as base:
        build = ended(base, requests.post(f"{base}/v1/builds", json=asked, timeout=60).json()["id"])
        assert build["state"] == "failed"
        assert build["error"]["exit_code"] == 2
        assert "no luck" in build["error"]["message"]
        by_hand = {"dataset": "dvs128", "spec": SPEC}
        build = ended(base, requests.post(f"{base}/v1/builds", json=by_hand, timeout=60).json()["id"])
        assert (build["state"], build["error"]["exit_code"]) == ("failed", 3)


WRONG: list[tuple[Any, int]] = [
    ({"dataset": "nothing", "spec": SPEC}, 404),
    ({"dataset": "../sample", "spec": SPEC}, 404),
    ({"dataset": "sample"}, 400),
    ({"dataset": "sample", "spec": {}}, 400),
    ({"dataset": "sample", "spec": SPEC, "root": "/tmp"}, 400),
    ({"dataset": "sample", "spec": SPEC | {"T": 0}}, 400),
    ({"dataset": "sample", "spec": SPEC | {"T": 100_000}}, 400),
    ({"dataset": "sample", "spec": SPEC | {"T": True}}, 400),
    ({"dataset": "sample", "spec": SPEC | {"x": 1}}, 400),
    ({"dataset": "sample", "spec": {"split_by": "duration", "duration": 1}}, 400),
    ({"dataset": "sample", "spec": {"split_by": "plugin", "plugin": "os:system"}}, 400),
    ({"dataset": "sample", "spec": SPEC | {"plugin": "os:system"}}, 400),
    ({"dataset": "sample", "spec": SPEC, "split": "/etc/passwd"}, 400),
    ({"dataset": "sample", "spec": SPEC, "split": "../../x.json"}, 400),
    ({"dataset": "sample", "spec": SPEC, "split": 2.5}, 400),
    ({"dataset": "sample", "spec": SPEC, "seed": "x"}, 400),
    ({"dataset": "sample", "spec": SPEC, "instances": "all"}, 400),
    ({"dataset": 3, "spec": SPEC}, 400),
    ([], 400),
    (None, 400),
]


@pytest.mark.parametrize(("asked", "status"), WRONG, ids=[json.dumps(asked)[:70] for asked, _ in WRONG])
def test_what_may_not_be_built_is_refused(service: str, root: Path, asked: Any, status: int) -> None:
    answer = requests.post(
        f"{service}/v1/builds", data=json.dumps(asked), headers={"Content-Type": "application/json"}, timeout=60
    )
    assert answer.status_code == status, answer.text
    assert answer.json()["exit_code"] == {400: 2, 404: 3}[status]
    assert requests.get(f"{service}/v1/builds", timeout=30).json()["builds"] == []


@pytest.mark.parametrize("id", ["0123456789abcdef", "..", "%2e%2e%2fx", "x" * 300, "change"])
def test_no_build_is_found_by_a_path(service: str, id: str) -> None:
    for method in ("GET", "DELETE"):
        assert serving.ask(service, f"/v1/builds/{id}", method).status in (404, 405)
    assert serving.ask(service, f"/v1/builds/{id}/events").status == 404


def test_a_service_without_builds_says_so(home: Path, frames: cache.FrameCache) -> None:
    (home / frames.path.name).write_bytes(frames.path.read_bytes())
    with serving.running(home, build=False) as base:
        assert requests.get(f"{base}/v1/caches", timeout=30).json()["builds"] is False
        answer = requests.post(f"{base}/v1/builds", json={"dataset": "sample", "spec": SPEC}, timeout=30)
        assert answer.status_code == 403
        assert not any("/builds" in path for path in requests.get(f"{base}/openapi.json", timeout=30).json()["paths"])


@pytest.mark.skipif(os.name != "posix", reason="file modes mean something else there")
def test_a_read_only_root_is_served_without_builds(home: Path, frames: cache.FrameCache) -> None:
    (home / frames.path.name).write_bytes(frames.path.read_bytes())
    before = making.tree(home)
    # Root may write everywhere unless the capability for it is taken away.
    bound = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.getuid() == 0 else []
    if bound and shutil.which("setpriv") is None:
        pytest.skip("run as root, and setpriv of util-linux is not installed: nothing is read-only to root")
    home.chmod(0o555)
    (home / frames.path.name).chmod(0o444)
    process = subprocess.Popen(
        [*bound, sys.executable, "-m", "dvsprep", "serve", "--root", str(home), "--port", "0"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    line = process.stderr.readline()
    try:
        assert "http://" in line, line + process.communicate(timeout=30)[1]
        base = line.split()[-1]
        told = requests.get(f"{base}/v1/caches", timeout=30).json()
        assert told["builds"] is False
        (facts,) = told["caches"]
        assert requests.get(f"{base}/v1/caches/{facts['id']}/samples/3", timeout=30).content == frames[3][0].tobytes()
        assert (
            requests.post(f"{base}/v1/builds", json={"dataset": "sample", "spec": SPEC}, timeout=30).status_code == 403
        )
    finally:
        process.terminate()
        process.wait(30)
        process.stderr.close()
    after = making.tree(home)
    assert {k: v[2] for k, v in after.items()} == {k: v[2] for k, v in before.items()}
