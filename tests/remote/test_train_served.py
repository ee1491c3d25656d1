"""Training from an address ends where training from the file does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import serving

from dvsprep import cache
from dvsprep.pipeline import Job
from dvsprep.types import FrameSpec

pytest.importorskip("torch", reason="torch is an extra: pip install dvsprep[train]")


def run(out: Path, where: str, *more: str, within: float = 280) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Train; return the result and the epochs' log, without what differs from run to run: seconds and places."""
    command = [
        sys.executable, "-m", "train.dvsg", "--cache", where, "--out-dir", str(out), "--no-tensorboard", *more,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=within, check=False)
    assert done.returncode == 0, done.stderr
    (log,) = out.glob("*/log.jsonl")
    return timeless(json.loads(done.stdout.splitlines()[-1])), [
        timeless(json.loads(row)) for row in log.read_text().splitlines()
    ]


def timeless(facts: dict[str, Any]) -> dict[str, Any]:
    varies = ("second", "_per_s", "run", "out_dir", "bytes")
    return {key: value for key, value in facts.items() if not any(part in key for part in varies)}


def test_a_second_process_trains_to_the_same_numbers(
    service: str, frames_id: str, frames: cache.FrameCache, tmp_path: Path
) -> None:
    small = ("--epochs", "1", "--channels", "2", "--batch-size", "12")
    here = run(tmp_path / "here", str(frames.path), *small)
    there = run(tmp_path / "there", f"{service}/v1/caches/{frames_id}", *small, "-j", "2")
    assert here == there
    assert any("acc" in key for key in here[0])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_default_network_does_so_too(tmp_path: Path) -> None:
    root = tmp_path / "root"
    job = Job("sample", root, FrameSpec("number", T=20))
    job.run()
    path = job.frames_paths()["train"]
    with serving.running(root) as base:
        here = run(tmp_path / "here", str(path), "--epochs", "3", within=900)
        there = run(tmp_path / "there", f"{base}/v1/caches/sample.{path.stem}", "--epochs", "3", within=900)
    assert here == there
    assert [row["epoch"] for row in here[1]] == [1, 2, 3]
    assert all("train_loss" in row and "val_acc1" in row for row in here[1])
