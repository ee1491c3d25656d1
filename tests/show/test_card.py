"""A data card tells what is in the cache, in one file that asks for nothing else."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import making
import numpy as np
import pytest
from PIL import Image

from dvsprep import cache, cli
from dvsprep.cache.write import build
from dvsprep.datasets import splits
from dvsprep.errors import UsageError
from dvsprep.show import card
from dvsprep.types import FrameSpec


@pytest.fixture
def frames(tmp_path: Path) -> cache.FrameCache:
    events = making.events_cache(tmp_path / "e.h5", [making.random_events(100 + 50 * i, seed=i) for i in range(7)])
    return making.frames_cache(tmp_path / "f.h5", events, FrameSpec("number", T=4))


def kind(path: Path) -> str | None:
    with Image.open(path) as image:
        return image.format


def test_its_numbers_are_the_caches(frames: cache.FrameCache) -> None:
    facts = card.facts(frames)
    whole = np.concatenate([frames[i][0] for i in range(7)])
    np.testing.assert_allclose(facts.mean, whole.mean(0))
    np.testing.assert_allclose(facts.polarity, whole.sum((0, 2, 3)) / whole.sum())
    assert facts.classes == {"zero": 3, "one": 2, "two": 2}
    assert facts.events.tolist() == [100 + 50 * i for i in range(7)]
    assert facts.read == 7
    assert set(facts.examples) == {"zero", "one", "two"}
    rows = dict(facts.rows)
    assert rows["split hash"] == splits.ids_hash({"train": frames.ids.tolist()})
    assert rows["cache key"] == frames.key


def test_of_many_samples_some_are_read(frames: cache.FrameCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card, "MOST", 3)
    facts = card.facts(frames)
    assert facts.read == 3
    np.testing.assert_allclose(facts.mean, np.concatenate([frames[i][0] for i in (0, 3, 6)]).mean(0))


def test_a_page_is_one_file_with_everything_escaped(frames: cache.FrameCache, tmp_path: Path) -> None:
    facts = card.facts(frames)._replace(files={"<script>.zip": "0123", "b": None}, title="<b>")
    text = card.save(facts, tmp_path / "card.html").read_text()
    assert "<script" not in text
    assert "&lt;script&gt;.zip" in text
    assert re.findall(r'(?:src|href)="(?!data:)', text) == []
    picture = base64.b64decode(re.search(r"base64,([^\"]+)", text)[1])
    assert Image.open(io.BytesIO(picture)).size[0] > 1000
    for _, value in facts.rows:
        assert value.replace("&", "&amp;") in text


def test_the_command_writes_both_and_replaces_nothing(
    frames: cache.FrameCache, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    html, png = tmp_path / "card.html", tmp_path / "card.png"
    assert cli.main(["card", str(frames.path), "-o", str(html)]) == 0
    assert capsys.readouterr().out.strip() == str(html)
    png.write_bytes(b"mine")
    assert cli.main(["card", str(frames.path), "-o", str(png)]) == 2
    assert png.read_bytes() == b"mine"
    capsys.readouterr()
    assert cli.main(["card", str(frames.path), "-o", str(png), "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(png)}
    assert kind(png) == "PNG"
    assert cli.main(["card", str(frames.path), "-o", str(tmp_path / "card.pdf")]) == 2


@pytest.mark.parametrize("shape", [(2, 1, 1, 700), (2, 3, 16, 16)])
def test_other_channels_and_sensors_of_one_row(tmp_path: Path, shape: tuple[int, ...]) -> None:
    header = making.header(3, "frames", spec=FrameSpec("number", T=2), sensor=shape[2:], channels=min(shape[1], 2))
    packed = [making.packed_frames(i, np.full(shape, i + 1, np.uint8)) for i in range(3)]
    build(tmp_path / "f.h5", header, lambda done: [packed])
    facts = card.facts(cache.FrameCache(tmp_path / "f.h5"))
    assert facts.mean.shape == shape[1:]
    assert (facts.mean == 2).all()
    assert kind(card.save(facts, tmp_path / "card.png")) == "PNG"


def test_events_are_integrated_for_it(tmp_path: Path) -> None:
    events = making.events_cache(tmp_path / "e.h5", [making.random_events(100, seed=i) for i in range(3)])
    facts = card.facts(events, T=5)
    assert facts.mean.sum() == pytest.approx(100 / 5)
    assert dict(facts.rows)["frames"] == "events, not integrated"


def test_a_cache_without_samples_has_no_card(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no sample"):
        card.facts(making.events_cache(tmp_path / "e.h5", []))
