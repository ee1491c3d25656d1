"""Caches that many tests read and none changes."""

from __future__ import annotations

from pathlib import Path

import making
import pytest

from dvsprep.pipeline import Job
from dvsprep.types import FrameSpec


@pytest.fixture(scope="session")
def sample_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a root in which ``frames sample --split-by number -T 4`` has run."""
    root = tmp_path_factory.mktemp("sample")
    Job("sample", root, FrameSpec("number", T=4)).run()
    return root


@pytest.fixture(scope="session")
def sample_frames(sample_root: Path) -> Path:
    """Return the path of the training frames."""
    return Job("sample", sample_root, FrameSpec("number", T=4)).frames_paths()["train"]


@pytest.fixture(scope="session")
def sample_events(sample_root: Path) -> Path:
    """Return the path of the training events."""
    return Job("sample", sample_root).events_paths()["train"]


@pytest.fixture(scope="session")
def small_events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an event cache of ten samples on a 16 x 16 sensor that differ in length and duration."""
    path = tmp_path_factory.mktemp("small") / "small.h5"
    making.events_cache(path, [making.random_events(200 + 150 * i, seed=i, start=1000 * i) for i in range(10)])
    return path


@pytest.fixture
def look_alike_root(tmp_path: Path) -> Path:
    """Return a root with a small look-alike of DVS128 Gesture, adopted unverified."""
    return making.adopt(tmp_path / "root", making.archive(tmp_path / "archive", events_a_row=60))
