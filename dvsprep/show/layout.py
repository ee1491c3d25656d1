"""Images put together: captions under a clip, many clips in one picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dvsprep.errors import UsageError
from dvsprep.show.paint import Colour, Images

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

PAPER: Colour = (33, 36, 45)
_INK: Colour = (222, 226, 234)
_FONT_SIZE = 13
_LINE = 20  # pixels from one line to the next
_MARGIN = 6
# A picture narrower than its text is widened, to this at most.
_CAPTION_WIDTH = 480
_TITLE_WIDTH = 200
_GAP = 4


def caption(images: Images, lines: Sequence[str]) -> Images:
    """Add lines of text under every image; a text that is too long is shortened, no lines change nothing."""
    if not lines:
        return images
    T, H, W, _ = images.shape
    width = max(W, min(_CAPTION_WIDTH, max(_text_width(line) for line in lines)))
    strip = _strip(lines, width)
    out = canvas(T, H + len(strip), width)
    place(out[:, :H], images)
    out[:, H:] = strip
    return out


def grid(clips: Sequence[Images], titles: Sequence[str] | None = None, columns: int | None = None) -> Images:
    """Show clips side by side, each with its title under it; a shorter clip starts anew.

    Parameters
    ----------
    clips : sequence of uint8[T, H, W, 3], each with its own T, H and W
    titles : one text a clip, optional
    columns : int, optional
        By default about as many as rows.

    Returns
    -------
    uint8[longest T, height, width, 3]
    """
    if not clips:
        raise UsageError("a grid needs at least one clip")
    if titles is not None and len(titles) != len(clips):
        raise UsageError(f"a grid of {len(clips)} clips got {len(titles)} titles")
    columns = math.ceil(math.sqrt(len(clips))) if columns is None else min(columns, len(clips))
    if columns < 1:
        raise UsageError(f"columns is {columns}, expected at least 1")
    H = max(clip.shape[1] for clip in clips)
    W = max(clip.shape[2] for clip in clips)
    if titles:
        W = max(W, min(_TITLE_WIDTH, max(_text_width(title) for title in titles)))
    strips = [_strip([title] if titles else [], W) for title in titles or [""] * len(clips)]
    h, w = H + len(strips[0]) + _GAP, W + _GAP
    rows = math.ceil(len(clips) / columns)
    T = max(len(clip) for clip in clips)
    out = canvas(T, rows * h + _GAP, columns * w + _GAP)
    for i, (clip, strip) in enumerate(zip(clips, strips, strict=True)):
        top, left = _GAP + i // columns * h, _GAP + i % columns * w
        tile = out[:, top : top + h - _GAP, left : left + W]
        if len(clip):
            place(tile[:, :H], clip[np.arange(T) % len(clip)])
        tile[:, H:] = strip
    return out


def canvas(T: int, H: int, W: int) -> Images:
    """Return T empty sheets."""
    return np.full((T, H, W, 3), PAPER, np.uint8)


def place(room: Images, images: Images) -> None:
    """Copy images into the middle of a room at least as large."""
    H, W = images.shape[1:3]
    top, left = (room.shape[1] - H) // 2, (room.shape[2] - W) // 2
    room[:, top : top + H, left : left + W] = images


def one_line(text: str) -> str:
    """Return a text without line breaks and control characters, which have no place in a line."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


@lru_cache(maxsize=1)
def _font() -> FreeTypeFont:
    import matplotlib as mpl
    from PIL import ImageFont

    # Pillow's own font is ASCII only, not even "µs"; the one that comes with Matplotlib has most alphabets.
    path = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(path, _FONT_SIZE)


def _text_width(text: str) -> int:
    return math.ceil(_font().getlength(one_line(text))) + 2 * _MARGIN


def _fit(text: str, width: int) -> str:
    """Return as much of a text as fits into ``width`` pixels, ending in "..." if that is not all."""
    text = one_line(text)[:500]
    if _text_width(text) <= width:
        return text
    while text and _text_width(text + "...") > width:
        text = text[:-1]
    return text.rstrip() + "..." if text else ""


def _strip(lines: Sequence[str], width: int) -> Images:
    """Draw lines of text, centred, as uint8[height, width, 3]."""
    from PIL import Image, ImageDraw

    mask = Image.new("L", (width, _LINE * len(lines)))
    draw = ImageDraw.Draw(mask)
    for i, line in enumerate(lines):
        draw.text((width / 2, _LINE * (i + 0.5)), _fit(line, width), fill=255, font=_font(), anchor="mm")
    # 16 shades of ink smooth the letters, and leave the other colours of a GIF to the events.
    ink = (np.asarray(mask) >> 4)[..., None] / 15
    return (np.array(PAPER) * (1 - ink) + np.array(_INK) * ink).round().astype(np.uint8)
