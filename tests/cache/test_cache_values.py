"""Whatever the samples are, a cache gives back exactly the numbers that went in."""

from __future__ import annotations

import zlib
from pathlib import Path

import h5py
import making
import naive
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from making import H, W, at, random_events

from dvsprep import cache
from dvsprep.cache import build, sparse, write
from dvsprep.cache.build import FrameTask, pack_frames
from dvsprep.cache.codec import Chunk, Packing
from dvsprep.cache.packing import Piece
from dvsprep.cache.times import load_sparse
from dvsprep.errors import ConservationError, FormatError, PluginError, UsageError
from dvsprep.integrate import identity
from dvsprep.types import FrameSpec

NONE = at()


def read_events(source: cache.EventCache) -> list[dict[str, np.ndarray]]:
    return [dict(source[i][0]) for i in range(len(source))]


def assert_same_events(found: list[dict[str, np.ndarray]], expected: list[making.Columns]) -> None:
    assert len(found) == len(expected)
    for got, want in zip(found, expected, strict=True):
        for k in "txyp":
            assert got[k].dtype == np.int64
            np.testing.assert_array_equal(got[k], want[k])


def built(folder: Path, samples: list[making.Columns], spec: FrameSpec) -> cache.FrameCache:
    return making.frames_cache(folder / "frames.h5", making.events_cache(folder / "events.h5", samples), spec)


# -- events --


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(0, 1 << 34), st.integers(0, W - 1), st.integers(0, H - 1), st.integers(0, 1)),
            max_size=20,
        ),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([1, 3, 1024]),
    st.sampled_from(["packed", "deflate", "none"]),
)
def test_any_events_come_back_exactly(tmp_path: Path, rows: list, chunk: int, codec: str) -> None:
    samples = []
    for row in rows:
        t, x, y, p = np.array(sorted(row), np.int64).reshape(-1, 4).T
        samples.append({"t": t, "x": x.astype(np.uint8), "y": y.astype(np.uint8), "p": p.astype(np.uint8)})
    path = tmp_path / "events.h5"
    path.unlink(missing_ok=True)
    assert_same_events(read_events(making.events_cache(path, samples, chunk=chunk, codec=codec)), samples)


@pytest.mark.parametrize(
    ("longest", "kept_as"), [(65535, np.uint16), (65536, np.uint32), ((1 << 32) - 1, np.uint32), (1 << 32, np.uint64)]
)
def test_times_are_kept_in_the_smallest_type_that_holds_the_longest_gap(
    tmp_path: Path, longest: int, kept_as: type
) -> None:
    samples = [random_events(50, 1), at(5, 5 + longest, 7 + longest), NONE, random_events(2000, 2)]
    source = making.events_cache(tmp_path / "e.h5", samples)
    assert source.column("dt").dtype == kept_as
    assert_same_events(read_events(source), samples)


def test_times_beyond_2_to_the_40_and_before_zero(tmp_path: Path) -> None:
    samples = [at(1 << 40, (1 << 40) + 3), at(-5, 0, 5)]
    assert_same_events(read_events(making.events_cache(tmp_path / "e.h5", samples)), samples)


def test_samples_without_events(tmp_path: Path) -> None:
    samples = [NONE, random_events(30, 1), NONE]
    source = making.events_cache(tmp_path / "e.h5", samples)
    assert_same_events(read_events(source), samples)
    for spec in (FrameSpec("number", T=3), FrameSpec("time", T=3), FrameSpec("duration", duration=100_000)):
        for i in (0, 2):
            frames, _ = source.frames(spec)[i]
            assert frames.shape == (spec.T or 1, 2, H, W)
            assert not frames.any()


@pytest.mark.parametrize("codec", ["packed", "deflate", "none"])
def test_a_cache_in_which_no_sample_has_events(tmp_path: Path, codec: str) -> None:
    source = making.events_cache(tmp_path / "e.h5", [NONE] * 3, codec=codec)
    assert_same_events(read_events(source), [NONE] * 3)
    frames = making.frames_cache(tmp_path / "f.h5", source, FrameSpec("time", T=2), codec=codec)
    assert [item[0].sum() for item in frames] == [0, 0, 0]
    for opened in (source, frames):
        assert cache.damaged(opened) == []
        assert cache.describe(opened)["events"] == {"min": 0, "median": 0, "max": 0, "total": 0}


def test_a_cache_without_samples(tmp_path: Path) -> None:
    source = making.events_cache(tmp_path / "e.h5", [])
    frames = making.frames_cache(tmp_path / "f.h5", source, FrameSpec("time", T=2))
    for opened in (source, frames):
        assert [*opened] == []
        assert cache.damaged(opened) == []
        assert cache.describe(opened)["samples"] == 0


def test_a_sensor_wider_than_256_pixels(tmp_path: Path) -> None:
    e = at(1, 2, 3)
    e["x"], e["y"] = np.array([0, 300, 639], np.uint16), np.array([479, 256, 0], np.uint16)
    head = making.header(1, sensor=(480, 640))
    packed = making.pack_events(0, e, sensor=(480, 640))
    write.build(tmp_path / "e.h5", head, lambda _: [[packed]])
    source = cache.EventCache(tmp_path / "e.h5")
    assert_same_events(read_events(source), [e])
    frames, _ = source.frames(split_by="number", T=1)[0]
    assert np.argwhere(frames).tolist() == [[0, 1, 0, 639], [0, 1, 256, 300], [0, 1, 479, 0]]


# -- frames --


@pytest.mark.parametrize("counts", [255, 256, 65535, 65536])
def test_one_hot_pixel_widens_the_whole_cache_and_changes_no_number(tmp_path: Path, counts: int) -> None:
    samples = [random_events(300, 1), at(*range(counts), x=3, y=2), random_events(300, 2)]
    frames = built(tmp_path, samples, FrameSpec("number", T=1))
    kept_as = np.uint8 if counts < 1 << 8 else np.uint16 if counts < 1 << 16 else np.uint32
    assert frames.column("frames").dtype == kept_as
    assert frames[1][0][0, 1, 2, 3] == counts
    for i, events in enumerate(samples):
        assert frames[i][0].dtype == kept_as
        np.testing.assert_array_equal(frames[i][0], naive.frames(events, [range(len(events["t"]))], H, W))


@pytest.mark.parametrize("tail", ["keep", "drop"])
@pytest.mark.parametrize("duration", [1000, 7000, 10_000_000])
def test_frames_of_a_fixed_duration(tmp_path: Path, duration: int, tail: str) -> None:
    samples = [random_events(n, n) for n in (400, 3, 1000)] + [NONE, at(5), at(5, 5)]
    frames = built(tmp_path, samples, FrameSpec("duration", duration=duration, tail=tail))
    for i, events in enumerate(samples):
        expected = naive.frames(events, naive.by_duration(events["t"], duration, tail), H, W)
        assert frames[i][0].shape == expected.shape
        np.testing.assert_array_equal(frames[i][0], expected)


def test_one_sample_copied_out_of_a_cache_of_fixed_duration(tmp_path: Path) -> None:
    """All that is left has one frame: still a sample of T = 1, not a frame."""
    frames = built(tmp_path, [at(0, 9000), at(5)], FrameSpec("duration", duration=1000))
    for i in range(2):
        copy = cache.FrameCache(cache.copy_samples(frames, [i], tmp_path / f"copy{i}.h5"))
        assert making.digests(copy) == [making.digest(*frames[i])]


@pytest.mark.parametrize(
    ("body", "dtype"),
    [
        ("return np.full((2, 2, H, W), len(events['t']) / 8, np.float32)", np.float32),
        ("return np.full((2, 2, H, W), -len(events['t']), np.int16)", np.int16),
        ("return np.full((2, 2, H, W), len(events['t']) % 2 == 0)", np.uint8),
        ("return np.full((2, 2, H, W), len(events['t']) / 3, '>f8')", np.float64),
        ("return np.full((2, 2, H, W), len(events['t']) / 8, np.float16)", np.float16),
    ],
)
@pytest.mark.parametrize("codec", ["packed", "deflate", "none"])
def test_a_plugins_own_type_is_kept(tmp_path: Path, body: str, dtype: type, codec: str) -> None:
    source = making.events_cache(tmp_path / "e.h5", [random_events(n, n) for n in (5, 8, 13)])
    spec = FrameSpec("plugin", plugin=making.plugin(tmp_path, body))
    frames = making.frames_cache(tmp_path / "f.h5", source, spec, codec=codec)
    on_the_fly = source.frames(spec)
    for i in range(3):
        assert frames[i][0].dtype.newbyteorder("=") == dtype
        np.testing.assert_array_equal(frames[i][0], on_the_fly[i][0])


def test_a_plugin_that_returns_different_types_gets_one_that_holds_all(tmp_path: Path) -> None:
    body = "n = len(events['t']); return np.full((n, 1, H, W), n, [np.uint8, np.int16, np.float32][n % 3])"
    source = making.events_cache(tmp_path / "e.h5", [random_events(n, n) for n in (3, 4, 5)])
    frames = making.frames_cache(tmp_path / "f.h5", source, FrameSpec("plugin", plugin=making.plugin(tmp_path, body)))
    assert [(f.dtype, f.shape, f.max()) for f, _ in frames] == [(np.float32, (n, 1, H, W), n) for n in (3, 4, 5)]


@pytest.mark.parametrize("counts", [(0, 0), (0, 2, 5), (2, 2), (3, 1, 0)])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_plugin_whose_samples_differ_in_T(tmp_path: Path, counts: tuple[int, ...], dtype: str) -> None:
    body = f"n = len(events['t']); return np.arange(n * 2 * H * W).reshape(n, 2, H, W).astype('{dtype}')"
    source = making.events_cache(tmp_path / "e.h5", [random_events(n, n) for n in counts])
    spec = FrameSpec("plugin", plugin=making.plugin(tmp_path, body))
    frames = making.frames_cache(tmp_path / "f.h5", source, spec)
    assert [f.shape for f, _ in frames] == [(n, 2, H, W) for n in counts]
    assert making.digests(frames) == making.digests(source.frames(spec))
    assert cache.damaged(frames) == []


# -- the build --


def test_lost_events_fail_the_build_and_leave_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dvsprep.integrate import builtin

    whole = builtin.frames

    def lossy(*arguments: object) -> tuple[np.ndarray, tuple[int, ...]]:
        frames, used = whole(*arguments)
        frames[tuple(np.argwhere(frames)[0])] -= 1
        return frames, used

    source = making.events_cache(tmp_path / "e.h5", [random_events(50, 1)])
    monkeypatch.setattr(builtin, "frames", lossy)
    with pytest.raises(ConservationError, match=r"made_000.*expected"):
        making.frames_cache(tmp_path / "out" / "f.h5", source, FrameSpec("number", T=2))
    assert not [*(tmp_path / "out").glob("*.h5")]


def test_a_codec_that_does_not_exist(tmp_path: Path) -> None:
    source = making.events_cache(tmp_path / "e.h5", [at(1)])
    with pytest.raises(UsageError, match="packed, deflate, none"):
        making.frames_cache(tmp_path / "f.h5", source, FrameSpec("number", T=2), codec="lz5")


def test_a_part_of_a_cache_is_a_cache(small_events: Path, tmp_path: Path) -> None:
    whole = cache.EventCache(small_events)
    wanted = [7, 0, -1]
    part = cache.EventCache(cache.copy_samples(whole, wanted, tmp_path / "part.h5"))
    assert making.digests(part) == [making.digest(*whole[i]) for i in wanted]
    assert part.ids.tolist() == [whole.ids[i] for i in wanted]
    assert part.key != whole.key
    assert cache.damaged(part) == []


def test_jittered_events_that_leave_the_sensor_are_an_error_not_a_wild_write(tmp_path):
    events = making.events_cache(tmp_path / "e.h5", [making.at(0, 5, 9, x=W - 1)])
    frames = events.frames(split_by="number", T=2, jitter=lambda e: e | {"x": e["x"].astype(int) + 1})
    with pytest.raises(FormatError, match=f"x runs from {W} to {W}"):
        frames[0]


def test_a_plugin_whose_source_changes_during_a_build_is_an_error(tmp_path):
    events = making.events_cache(tmp_path / "e.h5", [making.at(0, 5), making.at(3, 9)])
    spec = FrameSpec("plugin", plugin=making.plugin(tmp_path, "return np.zeros((1, 2, H, W), np.uint8)", "one"))
    task = FrameTask(events, spec, ((0, 0),), "deflate", identity(spec))
    assert len(pack_frames(task)) == 1
    making.plugin(tmp_path, "return np.ones((1, 2, H, W), np.uint8)", "one")
    with pytest.raises(PluginError, match="changed during the build"):
        pack_frames(task)


@pytest.mark.parametrize("codec", ["packed", "none"])
@pytest.mark.parametrize("step", [3, 70_000])  # differences of 16 and of 32 bits
def test_times_are_searched_as_an_array_of_them(tmp_path: Path, codec: str, step: int) -> None:
    samples = [making.at(*(step * np.sort(np.random.default_rng(n).integers(0, n, n)))) for n in (1, 900, 5000)]
    source = making.events_cache(tmp_path / "e.h5", samples, codec=codec)
    for i in range(3):
        t, kept = source.compact(i)["t"], source.compact(i, times="searched")["t"]
        wanted = np.linspace(t[0] - 9, t[-1] + 9, 41).astype(np.int64)
        assert (len(kept), kept[0], kept[-1]) == (len(t), t[0], t[-1])
        assert kept.searchsorted(wanted).tolist() == t.searchsorted(wanted).tolist()


@pytest.mark.parametrize("step", [3, 70_000])
def test_large_chunks_of_times_side_by_side_are_those_one_by_one(tmp_path, monkeypatch, step: int) -> None:
    """Three and a half chunks, of which the second is a library's: own streams and others, a pair and a half."""
    pack, packed = Packing.deflate_times, []

    def some_by_library(self, planes):
        packed.append(pack(self, planes) if len(packed) != 1 else Chunk(0, zlib.compress(planes, 1)))
        return packed[-1]

    t = 1000 + np.cumsum(np.random.default_rng(0).geometric(0.3, 7 << 15) - 1)
    t[1 << 17 :] += step
    events = {"t": t, **{name: np.zeros(len(t), np.uint8) for name in "xyp"}}
    monkeypatch.setattr(Packing, "deflate_times", some_by_library)
    how = build.PackHow((H, W), build.MAX_CHUNK, "packed")
    path = write.write_cache(
        tmp_path / "e.h5", making.header(1, sensor=(H, W)), [build.pack_events(Piece(0, events), how)]
    )
    assert len(packed) == 4
    wanted = np.linspace(0, t[-1] + 9, 41).astype(np.int64)
    for load in (lambda source: monkeypatch.setattr(sparse, "_inflate", None), load_sparse):
        source = cache.EventCache(path)
        source.map()
        load(source)
        np.testing.assert_array_equal(source.compact(0)["t"], t)
        assert source.compact(0, times="searched")["t"].searchsorted(wanted).tolist() == t.searchsorted(wanted).tolist()
    assert sparse._inflate is not None
    with h5py.File(path, "r", locking=False) as file:
        np.testing.assert_array_equal(t[0] + np.cumsum(file["dt"][: len(t)].astype(np.int64)), t)
