"""A recording decoded in spans gives the very bytes of one that is decoded whole; its errors are the same too."""

from __future__ import annotations

from pathlib import Path

import formats
import making
import numpy as np
import pytest

import dvsprep.events as ev
from dvsprep import cache
from dvsprep.cache import cutting
from dvsprep.errors import FormatError, LabelError
from dvsprep.events.labels import Sample

N = 9_000
EVENTS = formats.events(N, 16, 16, seed=3, start=1_000, step=40)
LASTS = int(EVENTS["t"][-1])
ROWS = {
    "rows, one behind the other": [((1_000, 50_000),), ((50_000, 90_000),), ((90_000, LASTS + 1),)],
    "rows that overlap": [((1_000, 70_000),), ((20_000, 90_000),), ((60_000, LASTS + 1),)],
    "a row in which nothing happens": [((1_000, 50_000),), ((int(EVENTS["t"][5]) + 1,) * 2,), ((90_000, 120_000),)],
    "rows of several windows": [((1_000, 5_000), (60_000, 100_000)), ((5_000, 60_000), (100_000, 110_000))],
    "the whole recording": [None],
    "the whole recording and a row": [None, ((40_000, 41_000),)],
}


def recording(folder: Path, windows: list, events: dict = EVENTS, packet: int = 300) -> ev.Recording:
    path = folder / "long.aedat"
    path.write_bytes(formats.aedat31(events, packet=packet))
    samples = tuple(Sample(f"made_{k:03d}", k % 3, w, line=k + 2) for k, w in enumerate(windows))
    return ev.Recording(path, "aedat3.1", "train", samples, labels=folder / "long_labels.csv")


def built(target: Path, one: ev.Recording, policy: ev.Policy | None = None, jobs: int = 2) -> bytes:
    told: list[str] = []
    head = making.header(len(one.samples))
    cache.events_cache(target, head, [one], policy or ev.Policy(), jobs=jobs, say=told.append)
    return target.read_bytes()


@pytest.fixture
def in_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "SPAN_BYTES", 6_000)  # about two packets
    monkeypatch.setattr(cutting.Splicer, "HOLD", 1_500)  # events, so that samples come in several pieces
    monkeypatch.setattr("dvsprep.cache.build.chunk_size", lambda *_: 1024)


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("rows", ROWS)
def test_spans_give_the_bytes_of_the_whole(tmp_path: Path, monkeypatch, rows: str, jobs: int) -> None:
    one = recording(tmp_path, ROWS[rows])
    monkeypatch.setattr("dvsprep.cache.build.chunk_size", lambda *_: 1024)
    whole = built(tmp_path / "whole.h5", one)
    monkeypatch.setattr(cutting, "SPAN_BYTES", 6_000)
    monkeypatch.setattr(cutting.Splicer, "HOLD", 1_500)
    spans, _, _ = ev.spans_of(one, ev.Policy(), 6_000)
    assert len(spans) > 8
    assert sum(span.slots for span in spans) == N
    assert built(tmp_path / "spans.h5", one, jobs=jobs) == whole
    source = cache.EventCache(tmp_path / "whole.h5")
    for k, windows in enumerate(ROWS[rows]):
        t = EVENTS["t"]
        inside = [(t >= a) & (t < b) for a, b in windows or ((0, LASTS + 1),)]
        np.testing.assert_array_equal(source[k][0]["t"], t[np.any(inside, axis=0)])


def test_a_long_step_between_pieces_widens_the_whole_sample(tmp_path: Path, in_spans: None) -> None:
    events = {k: v.copy() for k, v in EVENTS.items()}
    events["t"][7_000:] += 1 << 20
    built(tmp_path / "e.h5", recording(tmp_path, [None], events))
    source = cache.EventCache(tmp_path / "e.h5")
    np.testing.assert_array_equal(source[0][0]["t"], events["t"])
    assert source.column("dt").dtype == np.uint32


def test_time_that_runs_backward_is_named_within_a_span_and_between_two(tmp_path: Path, in_spans: None) -> None:
    for at in (4_000, 4_500):  # the packets begin at multiples of 300
        events = {k: v.copy() for k, v in EVENTS.items()}
        events["t"][at] = events["t"][at - 1] - 5
        with pytest.raises(FormatError, match=f"time runs backward at event {at}: ") as caught:
            built(tmp_path / "e.h5", recording(tmp_path, [None], events))
        assert "--unsorted sort" in str(caught.value)
        built(tmp_path / f"{at}.h5", recording(tmp_path, [None], events), ev.Policy(unsorted="sort"))
        assert (np.diff(cache.EventCache(tmp_path / f"{at}.h5")[0][0]["t"]) >= 0).all()


def test_an_event_off_the_sensor_is_named_by_its_number_in_the_recording(tmp_path: Path, in_spans: None) -> None:
    events = {k: v.copy() for k, v in EVENTS.items()}
    events["x"][7_777] = 99
    with pytest.raises(FormatError, match="event 7777 lies outside the sensor"):
        built(tmp_path / "e.h5", recording(tmp_path, [None], events))
    built(tmp_path / "e.h5", recording(tmp_path, [None], events), ev.Policy(out_of_range="drop"))
    source = cache.EventCache(tmp_path / "e.h5")
    assert source.small("n_events").tolist() == [N - 1]
    assert source.provenance["mended"] == {"dropped_outside_the_sensor": 1}


def test_a_window_outside_and_a_cut_end_are_told_as_of_a_whole_recording(tmp_path: Path, in_spans: None) -> None:
    windows = [((1_000, 50_000),), ((LASTS + 10, LASTS + 20),)]
    with pytest.raises(LabelError, match=f"long_labels.csv:3: the window {LASTS + 10} to {LASTS + 20} us lies outside"):
        built(tmp_path / "e.h5", recording(tmp_path, windows))
    one = recording(tmp_path, [((1_000, 50_000),), ((LASTS - 10, LASTS),)])
    one.path.write_bytes(one.path.read_bytes()[:-100])
    with pytest.raises(FormatError, match="truncated: the packet at byte"):
        built(tmp_path / "e.h5", one)
    built(tmp_path / "e.h5", one, ev.Policy(salvage=True))
    mended = cache.EventCache(tmp_path / "e.h5").provenance["mended"]
    assert mended["windows_lost"] == 1
    assert mended["salvaged_bytes_lost"] > 0
