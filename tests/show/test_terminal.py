import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvsprep.errors import UsageError
from dvsprep.show import PALETTES, paint
from dvsprep.show.terminal import mode, play, render

RED, BLUE, BLACK = (255, 0, 0), (0, 0, 255), (0, 0, 0)
SGR = re.compile(r"\x1b\[[0-9;]*m")


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "41")
    monkeypatch.setenv("LINES", "12")


def test_golden():
    image = np.array([[RED, RED, BLACK], [BLUE, BLUE, BLACK], [BLACK, BLACK, BLACK]], np.uint8)
    assert render(image, 3, 2).split("\n") == [
        "\x1b[38;2;255;0;0;48;2;0;0;255m▀▀\x1b[38;2;0;0;0;48;2;0;0;0m▀\x1b[0m",
        "\x1b[38;2;0;0;0;48;2;0;0;0m▀▀▀\x1b[0m",
    ]
    assert render(image, 3, 2, color=False) == "@@\n"


def test_whole_upscaling():
    image = np.array([[RED, BLACK], [BLACK, BLACK]], np.uint8)
    assert SGR.sub("", render(image, 9, 9)) == "\n".join(["▀" * 8] * 4)


@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.integers(1, 40),
    st.integers(1, 20),
    st.sampled_from(sorted(PALETTES)),
)
def test_fits_and_keeps_a_single_event(H, W, columns, rows, palette):
    frames = np.zeros((1, 2, H, W), np.uint8)
    frames[0, 1, H // 3, W // 2] = 1
    image = paint(frames, palette=palette)[0]
    lines = SGR.sub("", render(image, columns, rows)).split("\n")
    assert len(lines) <= rows
    assert len({len(line) for line in lines}) == 1
    assert len(lines[0]) <= columns
    assert set("".join(lines)) == {"▀"}
    plain = render(image, columns, rows, color=False)
    assert len(plain.split("\n")) == len(lines)
    if H * W > 2:  # else there is no telling which is the background
        assert "{};{};{}".format(*PALETTES[palette][2]) in render(image, columns, rows)
        assert plain.strip()


def test_aspect_is_kept():
    lines = SGR.sub("", render(np.zeros((128, 128, 3), np.uint8), 80, 20)).split("\n")
    assert (len(lines), len(lines[0])) == (20, 40)


def test_nothing_to_render():
    with pytest.raises(UsageError):
        render(np.zeros((0, 3, 3), np.uint8), 10, 10)


def test_modes():
    class Latin(Terminal):
        encoding = "latin-1"

    assert mode(Terminal(), {}) == "colour"
    assert mode(Terminal(), {"NO_COLOR": ""}) == "colour"
    assert mode(Terminal(), {"NO_COLOR": "1"}) == "plain"
    assert mode(Latin(), {}) == "plain"
    assert mode(Terminal(), {"TERM": "dumb"}) == "lines"
    assert mode(io.StringIO(), {}) == "lines"


def test_play_in_place(clip):
    out, pauses = Terminal(), []
    play(paint(clip), fps=4, out=out, loops=2, title="wave\nleft", sleep=pauses.append)
    text = out.getvalue()
    assert pauses == [0.25] * 12
    assert text.startswith("\x1b[?25l")
    assert text.endswith("\x1b[?25h")
    height = text.split("\x1b[K\n").index(next(p for p in text.split("\x1b[K\n") if "2/6" in p))
    assert text.count(f"\x1b[{height}A\r") == 11
    assert height <= 11
    assert text.count("wave left  3/6") == 2


def test_play_without_colour(clip, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    out = Terminal()
    play(paint(clip), out=out, sleep=lambda _: None)
    assert "▀" not in out.getvalue()
    assert "\x1b[38" not in out.getvalue()
    assert "\x1b[?25h" in out.getvalue()


def test_play_into_a_file_prints_each_frame_once(clip):
    out = io.StringIO()
    play(paint(clip), out=out, loops=None, title="wave", sleep=lambda _: pytest.fail("nothing to wait for"))
    assert "\x1b" not in out.getvalue()
    frames = out.getvalue().split("-" * 40 + "\n")
    assert [f.split("\n")[0] for f in frames] == [f"wave  {i}/6" for i in range(1, 7)]
    assert max(map(len, out.getvalue().split("\n"))) <= 40
    out.getvalue().encode("ascii")


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_cursor_comes_back(clip, failure):
    def sleep(_):
        raise failure

    out = Terminal()
    with pytest.raises(failure):
        play(paint(clip), out=out, loops=None, sleep=sleep)
    assert out.getvalue().endswith("\x1b[0m\x1b[?25h")


def test_long_titles_stay_on_their_line(clip):
    out = io.StringIO()
    play(paint(clip), out=out, title="x" * 300)
    assert out.getvalue().split("\n")[0] == "x" * 32 + "...  1/6"


def test_wrong_arguments(clip):
    with pytest.raises(UsageError):
        play(paint(clip[:0]), out=Terminal())
    with pytest.raises(UsageError):
        play(paint(clip), fps=0, out=Terminal())
