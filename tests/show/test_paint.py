import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dvsprep.errors import UsageError
from dvsprep.show import PALETTES, fit_scale, paint

palettes = st.sampled_from(sorted(PALETTES))
dtypes = st.sampled_from(
    [
        np.bool_,
        np.uint8,
        np.int8,
        np.uint16,
        np.int32,
        np.uint64,
        np.int64,
        np.float16,
        np.float32,
        np.float64,
    ]
)
shapes = st.tuples(st.integers(0, 3), st.integers(1, 4), st.integers(1, 5), st.integers(1, 5))
any_frames = dtypes.flatmap(lambda dtype: hnp.arrays(dtype, shapes))


def distance(a, b):
    return np.abs(np.asarray(a, int) - np.asarray(b, int)).max(-1)


@given(any_frames, palettes, st.integers(1, 3))
def test_any_frames_give_images_and_only_events_leave_the_background(frames, palette, scale):
    images = paint(frames, palette=palette, scale=scale)
    T, C, H, W = frames.shape
    assert images.shape == (T, H * scale, W * scale, 3)
    assert images.dtype == np.uint8
    small = images[:, ::scale, ::scale]
    assert np.array_equal(small.repeat(scale, 1).repeat(scale, 2), images)
    if C == 1:
        active = (frames != 0) & ~np.isnan(frames) if (frames < 0).any() else frames > 0
        active = active[:, 0]
    elif C == 2:
        active = (frames > 0).any(1)
    else:
        with np.errstate(all="ignore"):
            active = (frames[:, 0] > 0) | (frames[:, 1:].sum(1, dtype=np.float64) > 0)
    assert np.array_equal(distance(small, PALETTES[palette][0]) > 0, active)


@given(palettes, st.sampled_from([0, 1]), st.sampled_from([np.uint8, np.uint16, np.int64, np.float32]), st.data())
def test_more_events_stand_out_more(palette, channel, dtype, data):
    top = min(70_000, np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 70_000)
    counts = data.draw(st.lists(st.integers(0, top), min_size=1, max_size=20).map(sorted))
    frames = np.zeros((1, 2, 1, len(counts)), dtype)
    frames[0, channel, 0] = counts
    away = distance(paint(frames, palette=palette)[0, 0], PALETTES[palette][0])
    assert (np.diff(away) >= 0).all()
    assert ((away > 50) == (np.array(counts) > 0)).all(), "one event must be easy to see"


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("dtype", [np.uint16, np.uint64, np.float32])
def test_counts_do_not_wrap(palette, dtype):
    counts = [0, 1, 2, 127, 128, 254, 255, 256, 257, 511, 512, 65534, 65535]
    frames = np.zeros((1, 2, 1, len(counts)), dtype)
    frames[0, 1, 0] = counts
    away = distance(paint(frames, palette=palette, vmax=65535)[0, 0], PALETTES[palette][0])
    assert (np.diff(away) >= 0).all()
    assert away[-1] > away[7] > 0
    assert distance(paint(frames, palette=palette, vmax=1)[0, 0, 1:], PALETTES[palette][2]).max() == 0


@pytest.mark.parametrize("palette", PALETTES)
def test_off_and_on_are_told_apart(palette):
    for count in (1, 2, 5, 9):
        frames = np.zeros((1, 2, 1, 3), np.uint8)
        frames[0, 0, 0, 0] = frames[0, 1, 0, 1] = frames[0, :, 0, 2] = count
        off, on, both = paint(frames, palette=palette, vmax=9)[0, 0]
        assert distance(off, on) > 60
        assert distance(both, PALETTES[palette][0]) > 15
        assert distance(both, off) > 20
        if palette == "colorblind":  # blue is what red- and green-blind eyes keep
            assert abs(int(off[2]) - int(on[2])) > 60


def test_hot_pixels_do_not_darken_the_rest():
    frames = np.zeros((2, 2, 20, 20), np.uint16)
    frames[:, 1, 5:15, 5:15] = 2
    cold = paint(frames)
    frames[:, 1, 0, 0] = 60_000
    assert np.array_equal(paint(frames)[:, 1:], cold[:, 1:])


def test_channels():
    x = np.array([0, 1, 3], np.uint8)
    one = paint(x.reshape(1, 1, 1, 3))[0, 0]
    assert one[2].tolist() == list(PALETTES["colorblind"][3]), "no polarity: neither orange nor blue"
    signed = paint(np.array([-128, 0, 127], np.int8).reshape(1, 1, 1, 3), vmax=1)[0, 0]
    assert [tuple(c) for c in signed.tolist()] == [PALETTES["colorblind"][i] for i in (1, 0, 2)]
    three = np.zeros((1, 3, 1, 2), np.uint8)
    three[0, 1:, 0, 0] = 200  # 400 together: more than the type holds
    assert paint(three, vmax=400)[0, 0].tolist() == [list(PALETTES["colorblind"][i]) for i in (2, 0)]


def test_strange_values():
    frames = np.array([np.nan, np.inf, -np.inf, -3, 5e-324, 1e308]).reshape(1, 2, 1, 3)
    off = np.concatenate([frames[:, :1], np.zeros((1, 1, 1, 3))], axis=1)
    for case, want in ((off, [False, True, False]), (frames, [False, True, True])):
        assert (distance(paint(case)[0, 0], PALETTES["colorblind"][0]) > 0).tolist() == want


@given(any_frames)
def test_painted_clips_fit_a_gif(frames):
    assert len(np.unique(paint(frames).reshape(-1, 3), axis=0)) <= 225


@pytest.mark.parametrize(
    ("frames", "options"),
    [
        (np.zeros((2, 3, 3)), {}),
        (np.zeros((2, 0, 3, 3)), {}),
        (np.zeros((2, 2, 3, 3), complex), {}),
        (np.zeros((2, 2, 3, 3)), {"palette": "jet"}),
        (np.zeros((2, 2, 3, 3)), {"scale": 0}),
        (np.zeros((2, 2, 3, 3)), {"vmax": 0}),
        (np.zeros((2, 2, 3, 3)), {"vmax": float("nan")}),
    ],
)
def test_wrong_arguments(frames, options):
    with pytest.raises(UsageError):
        paint(frames, **options)


def test_fit_scale():
    assert [fit_scale(*hw) for hw in [(34, 34), (128, 128), (260, 346), (720, 1280), (1, 1)]] == [
        11,
        3,
        1,
        1,
        384,
    ]


def test_import_is_light():
    import subprocess
    import sys

    code = "import dvsprep.show, sys; print([m for m in ('PIL', 'matplotlib', 'h5py') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
