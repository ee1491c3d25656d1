"""Ctrl-C and SIGTERM in the middle of a build: one line, exit code 130, and the next run goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends signals of Unix")
LINE = "dvsprep: interrupted; the same command goes on where this one stopped\n"
SLOW = """
import pathlib, time
import numpy as np

def slow(events, H, W, mark=""):
    pathlib.Path(mark).touch()
    time.sleep(60)
    return np.zeros((2, 2, H, W), np.uint8)
"""


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dvsprep", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("stage", ["extract", "events", "frames"])
def test_in_any_stage_it_is_one_line_and_130(tmp_path, run, number, stage):
    keep = ["--keep-extracted"] if stage == "extract" else []
    build = start("frames", "sample", "--split-by", "number", "-T", "40", "--root", tmp_path, *keep)
    for line in build.stderr:
        if line.startswith(f"{stage}: missing"):
            break
    build.send_signal(number)
    out, err = build.communicate(timeout=10)
    assert (build.returncode, out, err) == (130, "", LINE)
    assert run("frames", "sample", "--split-by", "number", "-T", "40", "--root", tmp_path).code == 0


@pytest.mark.parametrize("times", [1, 3])
def test_nobody_waits_for_the_function_of_a_plugin(tmp_path, built, times):
    (tmp_path / "slow.py").write_text(SLOW)
    mark = tmp_path / "mark"
    plugin = ["--plugin", f"{tmp_path / 'slow.py'}:slow", "--param", f"mark={mark}"]
    build = start("frames", "sample", "--root", built.root, *plugin)
    deadline = time.monotonic() + 30
    while not mark.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    for _ in range(times):
        build.send_signal(signal.SIGINT)
        time.sleep(0.02)
    begin = time.monotonic()
    out, err = build.communicate(timeout=50)
    assert time.monotonic() - begin < 10  # not the minute that each sample takes
    assert (build.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert err.endswith(LINE) or times > 1  # a second Ctrl-C may come before the line


def test_with_json_the_error_is_an_object(tmp_path):
    import json

    build = start("events", "sample", "--root", tmp_path, "--json")
    for line in build.stderr:
        if line.startswith("events: missing"):
            break
    build.send_signal(signal.SIGINT)
    out, _ = build.communicate(timeout=10)
    assert json.loads(out)["error"]["exit_code"] == 130
