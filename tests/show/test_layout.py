import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvsprep.errors import UsageError
from dvsprep.show import caption, grid
from dvsprep.show.layout import PAPER, one_line


def plain(T, H, W, value=200):
    return np.full((T, H, W, 3), value, np.uint8)


def test_caption_is_below_and_leaves_the_image_alone():
    images = plain(3, 50, 300)
    out = caption(images, ["hand clapping", "row 3"])
    assert np.array_equal(out[:, :50], images)
    assert out.shape == (3, 90, 300, 3)
    assert (out[:, 50:] != PAPER).any()
    assert np.array_equal(caption(images, []), images)


def test_small_images_are_widened_for_their_text_and_centred():
    out = caption(plain(1, 4, 4), ["hand clapping"])
    W = out.shape[2]
    assert 60 < W < 200
    assert (out[0, :4, (W - 4) // 2 : (W - 4) // 2 + 4] == 200).all()
    assert (out[0, :4, : (W - 4) // 2] == PAPER).all()


def test_long_text_is_shortened():
    out = caption(plain(1, 4, 4), ["word " * 400])
    assert out.shape[2] == 480
    assert (out[0, 4:, -2:] == PAPER).all()


@given(st.lists(st.text(max_size=30), max_size=3), st.integers(0, 2), st.integers(0, 30))
def test_any_text(lines, T, side):
    out = caption(plain(T, side, side), lines)
    assert out.shape[0] == T
    assert out.shape[1] == side + 20 * len(lines)


@given(st.text())
def test_one_line(text):
    assert one_line(text).isprintable()


def test_text_has_units_and_accents():
    tofu = caption(plain(1, 1, 60), ["\uffff"])
    for letter in "µ×é·Ж":
        assert not np.array_equal(caption(plain(1, 1, 60), [letter]), tofu), letter


def test_grid_loops_shorter_clips():
    short = np.stack([plain(1, 8, 8, 10)[0], plain(1, 8, 8, 20)[0]])
    out = grid([plain(5, 10, 10), short], columns=2)
    assert out.shape == (5, 18, 32, 3)
    assert [out[t, 9, 23, 0] for t in range(5)] == [10, 20, 10, 20, 10]
    assert (out[:, 4:14, 4:14] == 200).all()


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=7),
    st.data(),
)
def test_grid_shows_every_clip(sizes, data):
    columns = data.draw(st.none() | st.integers(1, 9))
    clips = [plain(*size, value=100 + i) for i, size in enumerate(sizes)]
    out = grid(clips, columns=columns)
    assert len(out) == max(T for T, _, _ in sizes)
    if len(out):
        for i, (T, H, W) in enumerate(sizes):
            assert (out[0, :, :, 0] == 100 + i).sum() == (H * W if T else 0)


def test_grid_titles():
    out = grid([plain(1, 8, 8)] * 11, [f"class {i}" for i in range(11)])
    assert out.shape[1] == 3 * (8 + 20 + 4) + 4
    with pytest.raises(UsageError, match="11 clips got 1 titles"):
        grid([plain(1, 8, 8)] * 11, ["one"])
    with pytest.raises(UsageError, match="at least one clip"):
        grid([])
    with pytest.raises(UsageError, match="columns is 0"):
        grid([plain(1, 8, 8)], columns=0)
