"""Served caches are FrameSources like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import making
import numpy as np
import pytest
from contract import FrameSourceContract

import dvsprep
from dvsprep import cache, config
from dvsprep.errors import FetchError, IncompleteError, NotFoundError, UsageError
from dvsprep.types import FrameSpec


class TestServedFrames(FrameSourceContract):
    @pytest.fixture
    def source(self, service: str, frames_id: str) -> Any:
        return dvsprep.open(f"{service}/v1/caches/{frames_id}")


class TestServedFramesOfFixedDuration(FrameSourceContract):
    varies = True

    @pytest.fixture
    def source(self, service: str) -> Any:
        return dvsprep.open(f"{service}/v1/caches/made.duration-5000us-00000000.train")


class TestFramesOnTheFlyFromServedEvents(FrameSourceContract):
    @pytest.fixture
    def source(self, service: str) -> Any:
        return dvsprep.open(f"{service}/v1/caches/made.rows-00000000.train").frames(split_by="time", T=3)


def test_every_served_cache_equals_its_file(service: str, root: Path) -> None:
    import requests

    for facts in requests.get(f"{service}/v1/caches", timeout=30).json()["caches"]:
        name, _, stem = facts["id"].partition(".")
        path = next(p for p in root.rglob("*.h5") if (p.parts[-3], p.stem) == (name, stem) or p.stem == facts["id"])
        here, there = cache.open_cache(path), dvsprep.open(f"{service}/v1/caches/{facts['id']}")
        assert making.digests(there) == making.digests(here)
        indices = list(range(len(here)))
        assert [making.digest(*item) for item in there.__getitems__(indices)] == making.digests(here)
        for name in ("ids", "n_events", "t_start", "t_end", "crc32"):
            np.testing.assert_array_equal(there.small(name), here.small(name))
        assert (there.kind, there.dataset, there.split, there.key, there.sensor, there.classes) == (
            here.kind, here.dataset, here.split, here.key, here.sensor, here.classes,
        )  # fmt: skip
        assert there.provenance == here.provenance


def test_without_a_mirror_nothing_is_kept(
    service: str, frames_id: str, frames: cache.FrameCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVSPREP_REMOTE_GB", "0")
    source = dvsprep.open(f"{service}/v1/caches/{frames_id}")
    assert making.digests(source) == making.digests(frames)
    assert not config.root().exists()


def test_on_the_fly_equals_stored(service: str, frames_id: str, frames: cache.FrameCache) -> None:
    events = dvsprep.open(f"{service}/v1/caches/{frames_id}", events=True)
    assert events.kind == "events"
    made = events.frames(FrameSpec("number", T=4))
    assert [making.digest(*item) for item in made.__getitems__(range(len(frames)))] == making.digests(frames)


def test_a_batch_is_one_request(service: str, frames_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from dvsprep.remote.link import Link

    source = dvsprep.open(f"{service}/v1/caches/{frames_id}")
    events = dvsprep.open(f"{service}/v1/caches/{frames_id}", events=True).frames(split_by="number", T=4)
    events.ids, events.events.small("n_events")
    asked: list[str] = []
    once = Link._once
    monkeypatch.setattr(Link, "_once", lambda self, path, *rest: asked.append(path) or once(self, path, *rest))
    source.__getitems__([5, 2, 70, 2])
    assert asked == ["/batch"]
    source._mirror.flush()
    source.__getitems__([70, 5])
    assert asked == ["/batch"]
    source.__getitems__([5, 6])
    assert asked == ["/batch", "/batch"]
    asked.clear()
    events.__getitems__([11, 3, 7])
    assert asked == ["/batch"]


def test_large_batches_are_asked_for_in_parts(
    service: str, frames_id: str, frames: cache.FrameCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dvsprep.serve import content

    monkeypatch.setattr(content, "MAX_BYTES", 30_000)
    source = dvsprep.open(f"{service}/v1/caches/{frames_id}")
    indices = list(range(len(frames)))
    assert [making.digest(*item) for item in source.__getitems__(indices)] == making.digests(frames)


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("/v1/caches/nothing", NotFoundError), ("/v1/caches/../x", UsageError), ("/v1/caches/", UsageError),
        ("/nothing", UsageError), ("", UsageError),
    ],
)  # fmt: skip
def test_wrong_addresses_are_told(service: str, address: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        dvsprep.open(f"{service}{address}")


def test_nobody_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from dvsprep.remote import link

    monkeypatch.setattr(link, "PATIENCE", 0.5)
    with pytest.raises(FetchError, match="dvsprep serve"):
        dvsprep.open("http://127.0.0.1:9/v1/caches/x")


def test_a_certificate_that_nobody_vouches_for_is_told_at_once(
    tmp_path: Path, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import requests

    def refuse(*_: Any, **__: Any) -> None:
        raise requests.exceptions.SSLError("certificate verify failed")

    monkeypatch.setattr(requests.Session, "request", refuse)
    with pytest.raises(FetchError, match="REQUESTS_CA_BUNDLE"):
        dvsprep.open(f"{service}/v1/caches/x")


def test_offline_asks_nobody(service: str, frames_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVSPREP_OFFLINE", "1")
    with pytest.raises(FetchError, match="offline"):
        dvsprep.open(f"{service}/v1/caches/{frames_id}")


def test_a_served_cache_cannot_be_preloaded(service: str, frames_id: str) -> None:
    with pytest.raises(UsageError, match="pull"):
        dvsprep.open(f"{service}/v1/caches/{frames_id}", preload=True)


def test_a_token_comes_from_netrc(root: Path, frames_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import serving

    (tmp_path / "token").write_text("correct-horse-battery-staple")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login x password correct-horse-battery-staple\n")
    netrc.chmod(0o600)
    with serving.running(root, token_file=str(tmp_path / "token")) as base:
        address = f"{base}/v1/caches/{frames_id}"
        with pytest.raises(UsageError, match="netrc"):
            dvsprep.open(address)
        monkeypatch.setenv("NETRC", str(netrc))
        assert len(dvsprep.open(address)) == 72
        monkeypatch.delenv("NETRC")
        in_it = dvsprep.open(address.replace("//", "//x:correct-horse-battery-staple@"))
        assert in_it[0][1] == 0
        assert "correct" not in repr(in_it)


def test_a_replaced_cache_is_not_mixed_up(tmp_path: Path) -> None:
    import serving

    events = making.events_cache(tmp_path / "e.h5", [making.random_events(300, seed=i) for i in range(6)])
    target = tmp_path / "root" / "x.h5"
    target.parent.mkdir()
    making.frames_cache(target, events, FrameSpec("number", T=2))
    with serving.running(target.parent) as base:
        source = dvsprep.open(f"{base}/v1/caches/x")
        source[0]
        target.unlink()
        making.frames_cache(target, events, FrameSpec("number", T=3))
        with pytest.raises(IncompleteError, match="replaced"):
            source[1]
        assert dvsprep.open(f"{base}/v1/caches/x")[1][0].shape[0] == 3
        target.unlink()
        with pytest.raises(NotFoundError, match=r"deleted|no cache"):
            source[2]
