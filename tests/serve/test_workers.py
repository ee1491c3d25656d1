"""Several worker processes are one service: counted as one, stopped as one, and gone with the process they serve."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import making
import pytest
import requests


@contextmanager
def two_workers(root: Path, port: int = 0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = making.command("serve", "--root", root, "--port", port, "--workers", 2)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        assert "http://" in line, line
        yield process, line.split()[-1]
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def test_they_are_counted_and_stopped_as_one(home: Path) -> None:
    with two_workers(home) as (process, base):
        for _ in range(20):  # a new connection each, which either may take
            assert requests.get(f"{base}/healthz", timeout=60).status_code == 200
        line = 'dvsprep_requests_answered_total{route="/healthz",status="200"} 20.0'
        until = time.monotonic() + 60
        while line not in requests.get(f"{base}/metrics", timeout=60).text:  # an answer is counted when it has gone
            assert time.monotonic() < until
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=60)[1] == ""
        assert process.returncode == 0


def test_they_end_with_the_process_that_started_them_and_free_its_port(home: Path) -> None:
    asked = {"dataset": "sample", "spec": {"split_by": "time", "T": 3}}
    with two_workers(home) as (process, base):
        id = requests.post(f"{base}/v1/builds", json=asked, timeout=60).json()["id"]
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)  # at the end of a pipe that all of them write to
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{base}/healthz", timeout=60)
    with two_workers(home, int(base.rpartition(":")[2])) as (_, again):
        assert again == base
        with requests.get(f"{base}/v1/builds/{id}/events", stream=True, timeout=90) as answer:
            assert '"state": "done"' in answer.content.decode().splitlines()[-2]
