"""Training from an address ends where training from the file does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dvsprep import cache

pytest.importorskip("torch", reason="torch is an extra: pip install dvsprep[train]")


def run(out: Path, where: str, *more: str) -> dict[str, Any]:
    """Train for an epoch; return the result, without what differs from run to run."""
    command = [
        sys.executable, "-m", "train.dvsg", "--cache", where, "--out-dir", str(out), "--epochs", "1", "--channels", "2",
        "--batch-size", "12", "--no-tensorboard", *more,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def test_a_second_process_trains_to_the_same_numbers(
    service: str, frames_id: str, frames: cache.FrameCache, tmp_path: Path
) -> None:
    here = run(tmp_path / "here", str(frames.path))
    there = run(tmp_path / "there", f"{service}/v1/caches/{frames_id}", "-j", "2")
    same = [key for key, value in here.items() if isinstance(value, float | int) and "second" not in key]
    assert any("acc" in key for key in same), here
    assert {key: there[key] for key in same} == {key: here[key] for key in same}
