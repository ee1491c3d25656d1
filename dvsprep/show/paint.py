"""Counts to colours: what every window, file and terminal shows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvsprep.errors import UsageError

Images = NDArray[np.uint8]
Colour = tuple[int, int, int]

# Each row: no event, only OFF, only ON, both. A pixel lies between these four corners, so either count moves
# its colour in one direction only. Every common colour blindness can tell blue from orange.
PALETTES: dict[str, tuple[Colour, Colour, Colour, Colour]] = {
    "colorblind": ((15, 17, 23), (255, 145, 20), (45, 150, 255), (255, 255, 255)),
    "classic": ((255, 255, 255), (225, 30, 45), (25, 65, 225), (0, 0, 0)),
    "gray": ((120, 120, 120), (0, 0, 0), (255, 255, 255), (220, 220, 220)),
}

# All shades of one clip, and the few of a caption, fit into the 256 colours of a GIF: it shows exactly these.
_SHADES = 225
_FAINTEST = 0.45  # how far a single event stands out, of a way of 1
_BULK = 98  # per cent of the active pixels below the brightest shade; hot pixels are the rest


def paint(frames: NDArray[Any], *, palette: str = "colorblind", scale: int = 1, vmax: float | None = None) -> Images:
    """Paint frames as RGB images: the more events, the stronger the colour, and it never wraps.

    Channel 0 is OFF, the sum of the others ON; what is negative or not a number is no event. A single channel
    has no polarity, unless some of it is negative: then that is OFF, and what is positive ON.

    Parameters
    ----------
    frames : [T, C, H, W], counts of any integer or floating type
    palette : {"colorblind", "classic", "gray"}
    scale : int
        Every pixel becomes a square of this side.
    vmax : float, optional
        The value that gets the full colour; by default one that 98 % of the active pixels do not exceed.

    Returns
    -------
    uint8[T, H * scale, W * scale, 3]
    """
    if palette not in PALETTES:
        raise UsageError(f"palette is {palette!r}, expected one of {', '.join(PALETTES)}")
    if scale < 1:
        raise UsageError(f"scale is {scale}, expected a whole number of at least 1")
    if vmax is not None and not 0 < vmax < np.inf:
        raise UsageError(f"vmax is {vmax}, expected a positive number")
    planes = _planes(np.asarray(frames))
    top = _robust_max(planes) if vmax is None else vmax
    table = _table(palette, planes.shape[1])
    T, _, H, W = planes.shape
    images = np.empty((T, H * scale, W * scale, 3), np.uint8)
    for image, counts in zip(images, planes, strict=True):  # one frame at a time: the floats stay small
        shades = _shades(counts, top, len(table))
        image[:] = table[tuple(shades)].repeat(scale, axis=0).repeat(scale, axis=1)
    return images


def fit_scale(H: int, W: int, target: int = 384) -> int:
    """Return the largest whole scale at which H x W pixels fit into a square of ``target``, at least 1."""
    return max(1, target // max(H, W, 1))


def _planes(frames: NDArray[Any]) -> NDArray[Any]:
    """Return [T, 1, H, W] without polarity, or [T, 2, H, W]."""
    if frames.ndim != 4 or frames.shape[1] == 0:
        raise UsageError(f"frames have shape {list(frames.shape)}, expected [T, C, H, W]")
    if frames.dtype.kind not in "buif":
        raise UsageError(f"frames are of type {frames.dtype}, expected integers or floats")
    if frames.dtype.kind == "b":
        frames = frames.view(np.uint8)
    C = frames.shape[1]
    if C == 1 and (frames < 0).any():
        signed = frames.astype(np.float64)  # the smallest integer of a type has no opposite in it
        return np.concatenate([-signed, signed], axis=1)
    if C > 2:
        with np.errstate(over="ignore", invalid="ignore"):  # infinities are painted, not warned about
            rest = frames[:, 1:].sum(axis=1, keepdims=True, dtype=np.float64)
        return np.concatenate([frames[:, :1].astype(np.float64), rest], axis=1)
    return frames


def _robust_max(planes: NDArray[Any]) -> float:
    active = planes[(planes > 0) & np.isfinite(planes)]
    # "lower" takes a value that is there, and never the single largest one of several.
    return float(np.percentile(active, _BULK, method="lower")) if active.size else 1.0


def _table(palette: str, planes: int) -> Images:
    """Return the colour of every shade, or of every pair of an OFF and an ON shade."""
    none, off, on, both = (np.array(c, np.float64) for c in PALETTES[palette])
    n = int(_SHADES ** (1 / planes))
    way = np.concatenate([[0.0], np.linspace(_FAINTEST, 1, n - 1)])
    if planes == 1:
        colours = none + way[:, None] * (both - none)
    else:
        a, b = way[:, None, None], way[None, :, None]
        colours = (1 - b) * ((1 - a) * none + a * off) + b * ((1 - a) * on + a * both)
    return colours.round().astype(np.uint8)


def _shades(counts: NDArray[Any], top: float, n: int) -> NDArray[np.intp]:
    """Return 0 where there is no event, else 1 to n - 1."""
    part = np.minimum(np.where(counts > 0, counts, 0).astype(np.float64), top) / top
    return np.where(counts > 0, np.maximum(1, np.ceil(part * (n - 1))), 0).astype(np.intp)
