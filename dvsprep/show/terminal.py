"""Images to text: clips in any terminal, over ssh too."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from typing import Literal, TextIO

import numpy as np
from numpy.typing import NDArray

from dvsprep.errors import UsageError
from dvsprep.show.layout import one_line
from dvsprep.show.paint import Images

Mode = Literal["colour", "plain", "lines"]

_RAMP = " .:-=+*#%@"
_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"


def mode(out: TextIO, environ: Mapping[str, str] = os.environ) -> Mode:
    """Decide how to play: in colour, in plain characters, or as plain frames one under the other."""
    if not out.isatty() or environ.get("TERM") == "dumb":
        return "lines"
    try:
        "▀".encode(out.encoding or "utf-8")
    except UnicodeEncodeError:
        return "plain"
    return "plain" if environ.get("NO_COLOR") else "colour"


def render(image: Images, columns: int, rows: int, color: bool = True) -> str:
    """Return an image as lines of text that fit into columns x rows characters.

    A character shows two pixels, one above the other: an upper half block in 24-bit colours, or a plain
    character, the denser the more they stand out from the background. Pixels stay square; of many in one
    place, the one that stands out most is shown, so that a single event is never lost.
    """
    pixels, contrast = _resample(image, max(1, columns), max(1, rows) * 2)
    if color:
        return "\n".join(map(_blocks, pixels[::2], pixels[1::2]))
    density = -(-np.maximum(contrast[::2], contrast[1::2]) * (len(_RAMP) - 1) // 255)  # rounded up
    return "\n".join("".join(_RAMP[d] for d in row).rstrip() for row in density)


def play(
    images: Images,
    *,
    fps: float = 10,
    out: TextIO,
    loops: int | None = 1,
    title: str = "",
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Play a clip in a terminal, in place; anywhere else print every frame once, one under the other.

    Parameters
    ----------
    images : uint8[T, H, W, 3], T at least 1
    loops : int, optional
        How often; None plays until interrupted.
    """
    T = len(images)
    if not T:
        raise UsageError("no frames to play")
    if not 0 < fps < float("inf"):
        raise UsageError(f"fps is {fps}, expected a positive number")
    how = mode(out)
    columns, rows = shutil.get_terminal_size()
    # One line for the title, one for the cursor; the last column would wrap in some terminals.
    screens = [
        _status(title, t, T, columns - 1) + "\n" + render(image, columns - 1, rows - 2, how == "colour")
        for t, image in enumerate(images)
    ]
    if how == "lines":
        rule = "-" * max(1, columns - 1)
        out.write(f"\n{rule}\n".join(screens) + "\n")
        return
    _animate(screens, 1 / fps, out, loops, sleep)


def _animate(
    screens: list[str], pause: float, out: TextIO, loops: int | None, sleep: Callable[[float], object]
) -> None:
    # Going up over what was written, not to the corner of the screen, leaves what the user had there.
    up = f"\x1b[{screens[0].count(chr(10)) + 1}A\r"
    out.write(_HIDE)
    try:
        shown = 0
        while loops is None or shown < loops * len(screens):
            lines = screens[shown % len(screens)].split("\n")
            out.write((up if shown else "") + "".join(f"{line}\x1b[K\n" for line in lines))
            out.flush()
            shown += 1
            sleep(pause)
    finally:
        out.write("\x1b[0m" + _SHOW)
        out.flush()


def _status(title: str, t: int, T: int, width: int) -> str:
    count = f"{t + 1}/{T}"
    title = one_line(title)
    room = max(0, width - len(count) - 2)
    if len(title) > room:
        title = title[: max(0, room - 3)] + "..."[:room]
    return f"{title}  {count}" if title else count


def _resample(image: Images, width: int, height: int) -> tuple[Images, NDArray[np.int64]]:
    """Return the image made to fit, uint8[h, w, 3], and its contrast to the background, int64[h, w]."""
    H, W, _ = image.shape
    if not H or not W:
        raise UsageError(f"the image is {W} x {H} pixels, nothing to render")
    colours = image.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    found, n = np.unique(colours, return_counts=True)
    background = _rgb(found[n.argmax()])  # the most frequent colour
    difference = np.abs(image - background.astype(np.int64))
    # Contrast in the high bits, colour in the low ones: the maximum of an area is its most striking pixel.
    key = difference.max(-1) << 34 | difference.sum(-1) << 24 | colours
    by = min(height // H, width // W)
    if by:
        key = key.repeat(by, axis=0).repeat(by, axis=1)
    else:
        h, w = (H * width // W, width) if H * width <= W * height else (height, W * height // H)
        key = np.maximum.reduceat(key, _starts(H, max(1, h)), axis=0)
        key = np.maximum.reduceat(key, _starts(W, max(1, w)), axis=1)
    if len(key) % 2:  # the last row of characters has no lower half
        key = np.concatenate([key, np.full_like(key[:1], found[n.argmax()])])
    return _rgb(key), key >> 34


def _starts(old: int, new: int) -> NDArray[np.int64]:
    """Return where each of ``new`` areas begins in ``old`` pixels."""
    return np.arange(new) * old // new


def _rgb(colours: NDArray[np.int64]) -> Images:
    return np.stack([colours >> 16 & 255, colours >> 8 & 255, colours & 255], axis=-1).astype(np.uint8)


def _blocks(upper: Images, lower: Images) -> str:
    """Return one line of half blocks; a colour is set only where it changes."""
    text, last = [], None
    for pair in np.concatenate([upper, lower], axis=1).tolist():
        if pair != last:
            text.append("\x1b[38;2;{};{};{};48;2;{};{};{}m".format(*pair))
            last = pair
        text.append("▀")
    return "".join(text) + "\x1b[0m"
