"""Every kind of FrameSource passes the one contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import making
import numpy as np
import pytest
from contract import FrameSourceContract

from dvsprep import cache
from dvsprep.cache import loading
from dvsprep.types import FrameSpec


@pytest.fixture(scope="module")
def frames_of_5_ms(small_events: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("duration") / "duration.h5"
    return making.frames_cache(target, cache.EventCache(small_events), FrameSpec("duration", duration=5000)).path


@pytest.fixture(scope="module")
def frames_of_a_plugin(small_events: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugin")
    body = "return np.full((1 + len(events['t']) % 4, 3, H, W), len(events['t']) / 8, np.float32)"
    spec = FrameSpec("plugin", plugin=making.plugin(folder, body))
    return making.frames_cache(folder / "plugin.h5", cache.EventCache(small_events), spec).path


class TestStoredFramesOfFixedT(FrameSourceContract):
    @pytest.fixture
    def source(self, sample_frames: Path) -> Any:
        return cache.FrameCache(sample_frames)


class TestStoredFramesOfFixedDuration(FrameSourceContract):
    varies = True

    @pytest.fixture
    def source(self, frames_of_5_ms: Path) -> Any:
        return cache.FrameCache(frames_of_5_ms)


class TestStoredFramesOfAPluginWithVaryingT(FrameSourceContract):
    varies = True

    @pytest.fixture
    def source(self, frames_of_a_plugin: Path) -> Any:
        return cache.FrameCache(frames_of_a_plugin)


class TestPreloadedFrames(FrameSourceContract):
    @pytest.fixture
    def source(self, sample_frames: Path) -> Any:
        return cache.FrameCache(sample_frames).preload()


class TestPreloadedFramesOfFixedDuration(FrameSourceContract):
    varies = True

    @pytest.fixture
    def source(self, frames_of_5_ms: Path) -> Any:
        return cache.FrameCache(frames_of_5_ms).preload()


class TestFramesOnTheFly(FrameSourceContract):
    @pytest.fixture
    def source(self, sample_events: Path) -> Any:
        return cache.EventCache(sample_events).frames(split_by="time", T=3)


class TestFramesOnTheFlyOfFixedDuration(FrameSourceContract):
    varies = True

    @pytest.fixture
    def source(self, small_events: Path) -> Any:
        return cache.EventCache(small_events).frames(split_by="duration", duration=4000)


class ListSource:
    """The least a FrameSource can be: what a test of `train` would hand over."""

    def __init__(self, items: list[tuple[np.ndarray, int]]) -> None:
        self.items = items
        self.labels = np.array([label for _, label in items], np.int64)
        self.classes = ("zero", "one", "two")
        self.spec = FrameSpec("number", T=2)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        frames, label = self.items[index]
        return frames.copy(), label

    def __getitems__(self, indices: list[int]) -> list[tuple[np.ndarray, int]]:
        return [self[i] for i in indices]


class TestAListOfArrays(FrameSourceContract):
    @pytest.fixture
    def source(self) -> Any:
        rng = np.random.default_rng(0)
        return ListSource([(rng.integers(0, 9, (2, 2, 4, 4), np.uint8), i % 3) for i in range(10)])


def test_on_the_fly_equals_stored(sample_events: Path, sample_frames: Path) -> None:
    stored, events = cache.FrameCache(sample_frames), cache.EventCache(sample_events)
    assert making.digests(events.frames(stored.spec)) == making.digests(stored)


def test_jitter_is_applied_before_integration(small_events: Path) -> None:
    def only_on(events: Any) -> Any:
        return {k: v[events["p"] == 1] for k, v in events.items()}

    source = cache.EventCache(small_events)
    jittered = source.frames(split_by="number", T=2, jitter=only_on)
    for i in range(len(source)):
        frames = jittered[i][0]
        assert frames[:, 0].sum() == 0
        assert frames[:, 1].sum() == source[i][0]["p"].sum() > 0


def test_preloaded_frames_equal_the_stored_ones(sample_frames: Path, frames_of_5_ms: Path) -> None:
    for path in (sample_frames, frames_of_5_ms):
        stored = cache.FrameCache(path)
        assert making.digests(stored.preload()) == making.digests(stored)


def test_a_batch_of_large_samples_is_the_same_from_threads(sample_frames: Path, monkeypatch) -> None:
    stored = cache.FrameCache(sample_frames)
    wanted = [5, 0, 71, 5, -1]
    alone = [making.digest(*stored[i]) for i in wanted]
    for workers in (1, 3):
        monkeypatch.setattr(loading, "threads", lambda workers=workers: workers)
        monkeypatch.setattr(loading, "WORTH_A_THREAD", 1)
        monkeypatch.setattr(loading, "_pools", {})
        assert [making.digest(*item) for item in stored.__getitems__(wanted)] == alone
        assert len(loading._pools) == (workers > 1)
    with pytest.raises(IndexError):
        stored.__getitems__([0, 72])
