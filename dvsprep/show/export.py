"""Images to files: an animated GIF or a PNG contact sheet."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from dvsprep.disk import make_folder, whole
from dvsprep.errors import UsageError
from dvsprep.show.layout import caption, grid
from dvsprep.show.paint import Images


def save(
    images: Images, path: str | Path, *, fps: float = 10, lines: Sequence[str] = (), replace: bool = False
) -> Path:
    """Save a clip as the suffix of its path says: ``.gif`` moves, ``.png`` shows all frames side by side.

    The file appears whole or not at all.

    Parameters
    ----------
    images : uint8[T, H, W, 3], T at least 1
    fps : float
        Images a second of a GIF, kept on the average: a GIF counts in 10 ms and shows at most 50 a second.
    lines : sequence of str
        Text under the picture.
    replace : bool
        Let the file take the place of another one of this name.
    """
    path = Path(path)
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise UsageError(f"cannot save {path.name!r}", hint=f"supported suffixes: {', '.join(_WRITERS)}")
    if not len(images):
        raise UsageError(f"no frames to save in {path}")
    if not 0 < fps < float("inf"):
        raise UsageError(f"fps is {fps}, expected a positive number")
    make_folder(path.parent)
    with whole(path, replace=replace) as file:
        write(file, images, fps, lines)
    return path


def delays(T: int, fps: float) -> list[int]:
    """Return how long each frame of a GIF stays, in its unit of 10 ms; 2 is the least that viewers honour."""
    ends = np.rint(np.arange(T + 1) * (100 / fps))
    return [int(d) for d in np.clip(np.diff(ends), 2, 65535)]


def _write_gif(file: BinaryIO, images: Images, fps: float, lines: Sequence[str]) -> None:
    # Pillow's writer drops a frame that equals the one before; its encoder of a single frame is all we need.
    from PIL import Image
    from PIL.GifImagePlugin import getdata

    images = caption(images, lines)
    palette, frames = _index_colours(images)
    T, H, W = frames.shape
    if max(H, W) > 65535:
        raise UsageError(f"a GIF has at most 65535 pixels a side, this one {W} x {H}")
    # GIF89a: screen with a global table of 256 colours, "loop for ever", the frames, the end.
    file.write(b"GIF89a" + struct.pack("<HHBBB", W, H, 0xF7, 0, 0) + palette.tobytes())
    file.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<H", 0) + b"\x00")
    for frame, delay in zip(frames, delays(T, fps), strict=True):
        for block in getdata(Image.fromarray(frame), duration=delay * 10, disposal=1):
            file.write(block)
    file.write(b"\x3b")


def _index_colours(images: Images) -> tuple[Images, Images]:
    """Return one palette uint8[256, 3] for the whole clip, and its index for every pixel, uint8[T, H, W].

    Painted clips have at most 256 colours and stay exact; others get the nearest of an adaptive palette.
    """
    palette = np.zeros((256, 3), np.uint8)
    seen = np.zeros(1 << 24, np.bool_)
    for image in images:
        seen[_codes(image)] = True
    colours = np.flatnonzero(seen)
    if len(colours) > 256:
        return _adaptive_colours(images)
    palette[: len(colours)] = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1)
    index = np.zeros(1 << 24, np.uint8)
    index[colours] = np.arange(len(colours))
    return palette, np.stack([index[_codes(image)] for image in images])


def _codes(image: Images) -> NDArray[np.int32]:
    """Return 24-bit colours."""
    return image.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)


def _adaptive_colours(images: Images) -> tuple[Images, Images]:
    from PIL import Image

    T, H, W, _ = images.shape
    # One tall image, so that all frames share a palette; no dithering, whose grain would crawl.
    tall = Image.fromarray(images.reshape(T * H, W, 3)).quantize(256, dither=Image.Dither.NONE)
    colours = np.array(tall.getpalette(), np.uint8).reshape(-1, 3)
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(colours)] = colours
    return palette, np.asarray(tall).reshape(T, H, W)


def _write_png(file: BinaryIO, images: Images, _fps: float, lines: Sequence[str]) -> None:
    from PIL import Image

    T = len(images)
    if T > 1:
        images = grid([image[None] for image in images], [str(t) for t in range(T)], sheet_columns(T))
    Image.fromarray(caption(images, lines)[0]).save(file, format="PNG")


def sheet_columns(T: int) -> int:
    """Return the columns of a contact sheet: up to 5 in one row, else 4 to 8 that leave the fewest gaps."""
    return T if T <= 5 else min(range(4, 9), key=lambda columns: (-T % columns, abs(columns - 5)))


_WRITERS: dict[str, Callable[[BinaryIO, Images, float, Sequence[str]], None]] = {
    ".gif": _write_gif,
    ".png": _write_png,
}
