"""`dvsprep play`: a window, the terminal or a picture."""

from __future__ import annotations

import os
import signal
import sys
import time

import numpy as np
import pytest
from PIL import Image

import dvsprep
from dvsprep import show
from dvsprep.show import player


@pytest.fixture
def stage(monkeypatch):
    """Stand in for window and terminal; return the list of what was played where."""
    played = []
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    monkeypatch.setattr(show.window, "play", lambda images, **kw: played.append(("window", images, kw)))
    monkeypatch.setattr(show.terminal, "play", lambda images, **kw: played.append(("terminal", images, kw)))
    yield played
    for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("display", "flags", "where"),
    [(True, [], "window"), (True, ["--terminal"], "terminal"), (False, [], "terminal")],
)
def test_a_window_where_there_is_a_display_and_the_terminal_elsewhere(
    run, built, monkeypatch, stage, display, flags, where
):
    monkeypatch.setattr(show, "has_display", lambda: display)
    done = run("play", built.train, *flags)
    assert (done.code, done.out, done.err) == (0, "", "")
    assert [place for place, *_ in stage] == [where]


@pytest.mark.parametrize("kind", ["train", "events"])
def test_the_title_tells_class_split_recording_row_events_and_time(run, built, stage, kind):
    assert run("play", getattr(built, kind), "--terminal", "--sample", "3", "--fps", "5").code == 0
    ((_, images, how),) = stage
    events = dvsprep.open(built.events)
    t = events[3][0]["t"]
    frames = len(images)
    assert frames == (8 if kind == "train" else 20)
    assert how["fps"] == 5
    assert how["title"] == (
        f"right arm clockwise (label 3) | sample train 3 | user01_fluorescent_row04 | {len(t):,} events | "
        f"{frames} frames of {(t[-1] - t[0]) / 1000 / frames:.1f} ms"
    )


@pytest.mark.parametrize("name", ["arm roll", "ARM ROLL", "7"])
def test_a_class_is_named_by_its_name_or_label(run, built, stage, name):
    assert run("play", built.train, "--terminal", "--class", name).code == 0
    assert stage[0][2]["title"].startswith("arm roll (label 7) | sample train 7 |")


@pytest.mark.parametrize("kind", ["frames", "events", "one sample"])
@pytest.mark.parametrize("suffix", [".gif", ".png"])
@pytest.mark.parametrize("grid", [[], ["--grid"]], ids=["clip", "grid"])
def test_every_kind_of_cache_becomes_a_picture(run, built, tmp_path, kind, suffix, grid):
    source = {"frames": built.train, "events": built.events, "one sample": tmp_path / "one.h5"}[kind]
    if kind == "one sample":
        assert run("export", built.train, "-o", source, "--format", "h5", "--sample", "3").code == 0
    out = tmp_path / f"picture{suffix}"
    done = run("play", source, "-o", out, *grid)
    assert done.code == 0
    assert done.lines == [str(out)]
    assert len(done.talk) == 1  # the title
    with Image.open(out) as image:
        moving = getattr(image, "n_frames", 1)
        assert moving == (1 if suffix == ".png" else 20 if kind == "events" else 8)
        assert len(image.convert("RGB").getcolors(1 << 24)) > 3  # it shows something


def test_the_grid_shows_each_class_once_and_names_those_without_a_sample(built, tmp_path, run):
    source = dvsprep.open(built.train)
    images, title = player.class_grid(source, "colorblind")
    assert title == "sample train: one sample of each class"
    assert len(images) == 8
    tile, gap, caption = 256, 4, 20
    assert images.shape[1:3] == (3 * (tile + caption + gap) + gap, 4 * (tile + gap) + gap)  # 11 classes in 4 columns
    first = show.paint(source[0][0], palette="colorblind", scale=2)
    assert np.array_equal(images[:, gap : gap + tile, gap : gap + tile], first)

    run("export", built.train, "-o", tmp_path / "one.h5", "--format", "h5", "--sample", "0")
    _, title = player.class_grid(dvsprep.open(tmp_path / "one.h5"), "colorblind")
    assert title.startswith("sample train: one sample of each class | no sample of: right hand wave, ")


def test_into_a_pipe_every_frame_is_printed_once_in_plain_text(shell, built):
    done = shell("play", built.train, "--terminal")
    assert done.code == 0
    assert "\x1b" not in done.out
    assert "\r" not in done.out
    assert [f"  {k}/8" in done.out for k in range(1, 9)] == [True] * 8
    assert done.err == ""


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal is a thing of Unix")
def test_ctrl_c_in_a_terminal_ends_the_clip_and_gives_the_cursor_back(built):
    import pty

    pid, master = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execv(sys.executable, [sys.executable, "-m", "dvsprep", "play", str(built.train), "--terminal"])
    shown = b""
    deadline = time.monotonic() + 120  # Ctrl-C before the first frame would be another test
    while b"2/8" not in shown and time.monotonic() < deadline:
        shown += os.read(master, 1 << 16)
    os.write(master, b"\x03")
    try:
        while block := os.read(master, 1 << 16):
            shown += block
    except OSError:  # Linux: the other end is closed
        pass
    _, status = os.waitpid(pid, 0)
    os.close(master)
    assert os.waitstatus_to_exitcode(status) == 130
    assert b"\x1b[?25l" in shown
    assert "▀".encode() in shown
    assert shown.rstrip().endswith(b"\x1b[0m\x1b[?25h")
    assert b"Traceback" not in shown


WRONG = {
    "--sample 999": (["--sample", "999"], "sample 999 of 72, expected 0 to 71"),
    "--class nobody": (["--class", "nobody"], "no class is named 'nobody' (there are hand clapping, right hand wave"),
    "--class 11": (["--class", "11"], "no class is named '11'"),
    "--sample and --class": (["--sample", "3", "--class", "2"], "give one of --sample and --class"),
    "--grid and --sample": (["--grid", "--sample", "3"], "--grid shows one sample of each class"),
    "--grid and --class": (["--grid", "--class", "3"], "--grid shows one sample of each class"),
    "-o x.bmp": (["-o", "x.bmp"], "cannot save 'x.bmp' (supported suffixes: .gif, .png)"),
    "-o x": (["-o", "x"], "cannot save 'x' (supported suffixes: .gif, .png)"),
    "--fps 0": (["--fps", "0"], "'--fps': 0.0 is not in the range"),
    "--palette nope": (["--palette", "nope", "-o", "x.gif"], "palette is 'nope', expected one of colorblind"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_flag_is_exit_2_and_shows_nothing(run, built, stage, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    arguments, words = WRONG[name]
    done = run("play", built.train, *arguments)
    assert done.code == 2
    assert words in done.error
    assert stage == []
    assert list(tmp_path.iterdir()) == []


def test_a_class_without_a_sample_is_told(run, built, tmp_path):
    run("export", built.train, "-o", tmp_path / "one.h5", "--format", "h5", "--sample", "0")
    done = run("play", tmp_path / "one.h5", "--class", "arm roll", "-o", tmp_path / "x.gif")
    assert done.code == 2
    assert "the cache holds no sample of class 'arm roll'" in done.error


def test_a_window_that_cannot_be_opened_names_the_other_ways(shell, built):
    environment = {k: v for k, v in os.environ.items() if k != "WAYLAND_DISPLAY"}
    done = shell("play", built.train, env=environment | {"DISPLAY": ":9999", "MPLBACKEND": "agg"})
    assert done.code == 8
    assert "use --terminal, or save it with -o" in done.error
