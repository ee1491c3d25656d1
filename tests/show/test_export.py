import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from dvsprep.errors import DiskError, UsageError
from dvsprep.show import caption, export, fit_scale, paint, save
from dvsprep.show.export import delays, sheet_columns


def read_gif(path):
    with Image.open(path) as gif:
        frames = [(np.asarray(f.convert("RGB")), f.info["duration"]) for f in ImageSequence.Iterator(gif)]
        return np.stack([f for f, _ in frames]), [d for _, d in frames], gif.info


@pytest.mark.parametrize("fps", [1, 7, 10, 25, 30, 50])
def test_gif_keeps_every_frame_colour_and_second(tmp_path, clip, fps):
    images = paint(clip, scale=2)
    path = save(images, tmp_path / "new" / "clip.gif", fps=fps)
    frames, durations, info = read_gif(path)
    assert np.array_equal(frames, images), "equal frames in a row, the empty one, and exact colours"
    assert abs(sum(durations) - 1000 * len(images) / fps) <= 5
    assert info["loop"] == 0
    assert os.listdir(path.parent) == ["clip.gif"]


def test_gif_of_equal_frames_and_of_one(tmp_path):
    for T in (1, 4):
        images = np.zeros((T, 5, 7, 3), np.uint8)
        frames, _, _ = read_gif(save(images, tmp_path / f"{T}.gif"))
        assert np.array_equal(frames, images)


def test_gif_with_caption_is_exact(tmp_path, clip):
    frames, _, _ = read_gif(save(paint(clip), tmp_path / "x.gif", lines=["left hand wave", "50 ms"]))
    assert np.array_equal(frames, caption(paint(clip), ["left hand wave", "50 ms"]))


def test_gif_of_many_colours_is_close(tmp_path):
    ramp = np.stack(np.meshgrid(*[np.arange(0, 256, 17)] * 2), -1).astype(np.uint8)
    images = np.stack([np.concatenate([ramp, np.full((16, 16, 1), v, np.uint8)], -1) for v in (0, 128, 128)])
    frames, _, _ = read_gif(save(images, tmp_path / "x.gif"))
    assert frames.shape == images.shape
    assert np.abs(frames.astype(int) - images).mean() < 10
    assert np.array_equal(frames[1], frames[2]), "one palette: nothing flickers"


@given(st.integers(1, 300), st.floats(0.1, 1000))
def test_delays(T, fps):
    d = delays(T, fps)
    assert len(d) == T
    assert min(d) >= 2
    if fps <= 40:
        assert abs(sum(d) - 100 * T / fps) <= 0.5 + 1e-6


@pytest.mark.parametrize(("T", "columns", "rows"), [(2, 2, 1), (5, 5, 1), (20, 5, 4), (16, 4, 4), (11, 4, 3)])
def test_png_is_a_contact_sheet(tmp_path, T, columns, rows):
    images = paint(np.ones((T, 2, 30, 40), np.uint8))
    with Image.open(save(images, tmp_path / "x.PNG")) as sheet:
        assert sheet.size == (columns * 44 + 4, rows * (30 + 20 + 4) + 4)
    assert sheet_columns(T) == columns


def test_png_of_one_frame_is_the_frame(tmp_path):
    images = paint(np.ones((1, 2, 34, 34), np.uint8), scale=fit_scale(34, 34))
    with Image.open(save(images, tmp_path / "x.png")) as picture:
        assert np.array_equal(np.asarray(picture), images[0])


@pytest.mark.parametrize("name", ["clip.mp4", "clip", "clip.gif.txt"])
def test_unknown_suffix(tmp_path, clip, name):
    with pytest.raises(UsageError, match=r"\.gif, \.png"):
        save(paint(clip), tmp_path / name)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_wrong_fps(tmp_path, clip, fps):
    with pytest.raises(UsageError, match="fps"):
        save(paint(clip), tmp_path / "x.gif", fps=fps)


def test_no_frames(tmp_path, clip):
    with pytest.raises(UsageError, match="no frames"):
        save(paint(clip[:0]), tmp_path / "x.gif")


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("before", [None, b"old"])
def test_failure_leaves_what_was_there(tmp_path, clip, monkeypatch, failure, before):
    path = tmp_path / "x.gif"
    if before:
        path.write_bytes(before)

    def half(file, *_):
        file.write(b"GIF89a")
        raise failure

    monkeypatch.setitem(export._WRITERS, ".gif", half)
    with pytest.raises((DiskError, KeyboardInterrupt)):
        save(paint(clip), path)
    assert os.listdir(tmp_path) == (["x.gif"] if before else [])
    assert not before or path.read_bytes() == before


def test_parent_that_is_a_file(tmp_path, clip):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DiskError, match=r"file: (Not a directory|File exists)"):
        save(paint(clip), tmp_path / "file" / "x.gif")


def test_another_file_is_replaced_only_if_told_and_with_the_usual_permissions(tmp_path, clip):
    path = tmp_path / "x.png"
    path.write_bytes(b"old")
    with pytest.raises(UsageError, match=r"x\.png exists, and is not the same \(choose another name, or --force"):
        save(paint(clip), path)
    assert path.read_bytes() == b"old"
    save(paint(clip), path, replace=True)
    save(paint(clip), path)  # the same again
    (tmp_path / "other").write_bytes(b"")
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode
