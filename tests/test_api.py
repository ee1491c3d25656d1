"""``dvsprep.open`` and ``dvsprep.frames``: the Python face."""

from __future__ import annotations

from pathlib import Path

import making
import numpy as np
import pytest

import dvsprep
from dvsprep import cache
from dvsprep.errors import NotFoundError, UsageError
from dvsprep.types import FrameSource, FrameSpec


@pytest.fixture(scope="session")
def api_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a root with a look-alike of DVS128 Gesture, adopted unverified."""
    folder = tmp_path_factory.mktemp("api")
    return making.adopt(folder / "root", making.archive(folder / "archive", events_a_row=40))


@pytest.fixture
def sources(api_root: Path) -> dict[str, cache.FrameCache]:
    return dvsprep.frames("dvs128", root=api_root, split_by="number", T=4, verify=False)


def test_frames_gives_a_source_a_split(sources: dict[str, cache.FrameCache]) -> None:
    assert {split: len(source) for split, source in sources.items()} == {"train": 24, "test": 12}
    for source in sources.values():
        assert isinstance(source, FrameSource)
        assert source.spec == FrameSpec("number", T=4)
        assert source.spec is not None
        frames, label = source[0]
        assert frames.shape == (4, 2, 128, 128)
        assert source.classes[label] == "hand clapping"


def test_frames_says_what_duration_and_plugin_mean_alone(api_root: Path, tmp_path: Path) -> None:
    by_duration = dvsprep.frames("dvs128", root=api_root, duration=1000, verify=False)["test"]
    assert by_duration.spec == FrameSpec("duration", duration=1000)
    reference = making.plugin(tmp_path, "return np.full((1, 1, H, W), params['k'], np.int8)")
    by_plugin = dvsprep.frames("dvs128", root=api_root, plugin=reference, params={"k": -3}, verify=False)["test"]
    assert by_plugin.spec == FrameSpec("plugin", plugin=reference, params={"k": -3})
    assert by_plugin[0][0].min() == by_plugin[0][0].max() == -3


def test_frames_needs_to_know_how_to_cut(api_root: Path) -> None:
    with pytest.raises(UsageError, match="split_by with T, a duration or a plugin"):
        dvsprep.frames("dvs128", root=api_root, T=4)


def test_the_root_is_the_environments_unless_told(
    api_root: Path, sources: dict[str, cache.FrameCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVSPREP_ROOT", str(api_root))
    again = dvsprep.frames("dvs128", split_by="number", T=4, verify=False)
    assert again["train"].path == sources["train"].path


def test_open_takes_text_and_paths_of_either_kind(sources: dict[str, cache.FrameCache]) -> None:
    path = sources["train"].path
    for opened in (dvsprep.open(path), dvsprep.open(str(path))):
        assert isinstance(opened, cache.FrameCache)
        assert making.digests(opened) == making.digests(sources["train"])
    events = path.parents[1] / "events" / sources["train"].provenance["events"]
    assert isinstance(dvsprep.open(events), cache.EventCache)


def test_the_events_behind_frames_are_numbered_alike(sources: dict[str, cache.FrameCache]) -> None:
    frames = sources["train"]
    events = dvsprep.open(frames.path, events=True)
    assert isinstance(events, cache.EventCache)
    assert events.ids.tolist() == frames.ids.tolist()
    for i in range(len(frames)):
        counts, label = frames[i]
        columns, same = events[i]
        assert (counts.sum(), label) == (len(columns["t"]), same)
        assert all(columns[k].dtype == np.int64 for k in "txyp")


def test_the_events_of_an_event_cache_are_itself(sources: dict[str, cache.FrameCache]) -> None:
    events = dvsprep.open(sources["train"].path, events=True)
    assert dvsprep.open(events.path, events=True).path == events.path


def test_events_that_are_gone_are_named(sources: dict[str, cache.FrameCache], tmp_path: Path) -> None:
    alone = tmp_path / "far" / "away" / "frames.h5"
    alone.parent.mkdir(parents=True)
    alone.write_bytes(sources["train"].path.read_bytes())
    assert len(dvsprep.open(alone)) == 24
    with pytest.raises(NotFoundError, match=r"rows-.*\.train\.h5") as caught:
        dvsprep.open(alone, events=True)
    assert "dvsprep events dvs128" in str(caught.value)


def test_a_part_of_a_cache_does_not_pretend_to_be_numbered_as_the_whole(
    sources: dict[str, cache.FrameCache],
) -> None:
    path = sources["train"].path.with_name("part.h5")
    cache.copy_samples(sources["train"], [5, 3], path)
    with pytest.raises(UsageError, match="not numbered alike"):
        dvsprep.open(path, events=True)
    path.unlink()


def test_names_that_are_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        dvsprep.opne  # noqa: B018
    assert {"frames", "open", "FrameSpec"} <= {*dvsprep.__all__}


def test_preloaded_frames_are_the_same_and_events_cannot_be(sources: dict[str, cache.FrameCache]) -> None:
    train = sources["train"]
    preloaded = dvsprep.open(train.path, preload=True)
    assert isinstance(preloaded, cache.PreloadedFrames)
    assert making.digests(preloaded) == making.digests(train)
    events = dvsprep.open(train.path, events=True)
    with pytest.raises(UsageError, match="only frames can be preloaded"):
        dvsprep.open(events.path, preload=True)


def test_frames_larger_than_memory_are_not_preloaded(
    sources: dict[str, cache.FrameCache], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 100 kB\nMemAvailable:   1 kB\n")
    monkeypatch.setattr("dvsprep.cache.preload.MEMORY", tmp_path / "meminfo")
    with pytest.raises(UsageError, match=r"the frames are .* GB, and 0.0 GB of memory are free"):
        dvsprep.open(sources["train"].path, preload=True)
