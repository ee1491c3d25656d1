"""One cache is published while the next one is built; nothing is lost when either fails."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import making
import pytest

from dvsprep import cache
from dvsprep.cache import write

HEAD = making.header(3)
SAMPLES = [making.pack_events(i, making.random_events(50, i)) for i in range(3)]


def test_the_next_build_goes_on_while_the_one_before_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second_built, publish = threading.Event(), write.publish

    def when_second_is_built(*arguments: Any, **how: Any) -> None:
        assert second_built.wait(60)
        publish(*arguments, **how)

    def second(_: Any) -> Any:
        yield SAMPLES
        assert not (tmp_path / "a.h5").exists()
        second_built.set()

    monkeypatch.setattr(write, "publish", when_second_is_built)
    with cache.Publishing() as publishing:
        write.build(tmp_path / "a.h5", HEAD, lambda _: [SAMPLES], publishing=publishing)
        write.build(tmp_path / "b.h5", HEAD, second, publishing=publishing)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert making.leftovers(tmp_path) == []


def test_a_failed_publishing_is_raised_and_the_samples_stay_for_the_next_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    target, told = tmp_path / "a.h5", []
    with monkeypatch.context() as patch:
        patch.setattr(write, "_write", full)
        with pytest.raises(OSError, match="No space"), cache.Publishing() as publishing:
            write.build(target, HEAD, lambda _: [SAMPLES], publishing=publishing)
    assert making.leftovers(tmp_path) == [".a.h5.spool"]
    write.build(target, HEAD, lambda done: [[s for s in SAMPLES if not done[s.index]]], told.append)
    assert told == ["going on with 3 of 3 samples of an unfinished build"]
    assert cache.damaged(cache.EventCache(target)) == []
    assert making.leftovers(tmp_path) == []


def test_an_error_in_the_next_build_waits_for_the_one_before(tmp_path: Path) -> None:
    def broken(_: Any) -> Any:
        yield SAMPLES[:1]
        raise ValueError("the second one")

    def both() -> None:
        with cache.Publishing() as publishing:
            write.build(tmp_path / "a.h5", HEAD, lambda _: [SAMPLES], publishing=publishing)
            write.build(tmp_path / "b.h5", HEAD, broken, publishing=publishing)

    with pytest.raises(ValueError, match="the second one"):
        both()
    assert cache.damaged(cache.EventCache(tmp_path / "a.h5")) == []
    assert making.leftovers(tmp_path) == [".b.h5.spool"]
