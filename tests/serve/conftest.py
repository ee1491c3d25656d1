"""A root with caches of every kind, and a service of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import making
import pytest
import serving

from dvsprep import cache
from dvsprep.pipeline import Job
from dvsprep.types import FrameSpec


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a root with the sample's caches, frames whose T varies, and wide and empty ones beside them."""
    folder = tmp_path_factory.mktemp("served")
    Job("sample", folder, FrameSpec("number", T=4)).run()
    events = folder / "made" / "events" / "rows-00000000.train.h5"
    events.parent.mkdir(parents=True)
    source = making.events_cache(
        events, [making.random_events(200 + 150 * i, seed=i, start=1000 * i) for i in range(10)], chunk=256
    )
    frames = folder / "made" / "frames"
    frames.mkdir()
    making.frames_cache(frames / "duration-5000us-00000000.train.h5", source, FrameSpec("duration", duration=5000))
    wide = [making.at(*range(70_000)), making.at(*range(300), p=0)]
    many = making.events_cache(folder / "wide-events.h5", wide)
    making.frames_cache(folder / "wide.h5", many, FrameSpec("number", T=1))
    return folder


@pytest.fixture(scope="session")
def service(root: Path) -> Iterator[str]:
    """Serve the root; return the address."""
    with serving.running(root, rate=0) as base:
        yield base


@pytest.fixture(scope="session")
def frames_id(root: Path) -> str:
    """Return the id of the sample's training frames."""
    return f"sample.{Job('sample', root, FrameSpec('number', T=4)).frames_paths()['train'].stem}"


@pytest.fixture(scope="session")
def frames(root: Path) -> cache.FrameCache:
    """Return the sample's training frames, opened as a file."""
    return cache.FrameCache(Job("sample", root, FrameSpec("number", T=4)).frames_paths()["train"])
