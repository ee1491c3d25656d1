"""The first spikes of images as pictures: a folder an image, a picture a time step, and a GIF of some of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Picture = NDArray[np.float32]
FORMATS = ("png", "pdf", "svg")
ROW = 8  # feature maps side by side
ZOOM = 4
FRAME_MS = 500
IN_GIF = 4  # images


def save(images: Tensor, spikes: Tensor, folder: Path) -> int:
    """Draw a batch; return how many files were written. What lies there under the same names is replaced.

    Parameters
    ----------
    images : [N, 1, H, W]
        Grey values from 0 to 1.
    spikes : [T, N, C, H', W']
        What an encoder made of them.
    folder : Path
        Gets ``<i>/input.*`` and ``<i>/s_<t>.*`` of each image, as png, pdf and svg, and ``spikes.gif``.
    """
    shown = torch.nn.functional.interpolate(images.float(), scale_factor=ZOOM, mode="bilinear")
    inputs: Picture = shown.clamp(0, 1)[:, 0].numpy()
    written = 0
    for i, steps in enumerate(spikes.float().transpose(0, 1)):
        pictures = {"input": inputs[i]} | {f"s_{t}": tiled(maps.numpy()) for t, maps in enumerate(steps)}
        written += sum(_write(picture, folder / str(i), name) for name, picture in pictures.items())
    animate(inputs[:IN_GIF], spikes[:, :IN_GIF].float().numpy(), folder / "spikes.gif")
    return written + 1


def tiled(maps: Picture) -> Picture:
    """Return feature maps [C, H, W] as one picture, eight in a row, grey lines between them."""
    C, H, W = maps.shape
    columns = min(ROW, C)
    rows = -(-C // columns)
    picture = np.full((rows * (H + 1) + 1, columns * (W + 1) + 1), 0.5, np.float32)
    for number, one in enumerate(maps):
        top, left = number // columns * (H + 1) + 1, number % columns * (W + 1) + 1
        picture[top : top + H, left : left + W] = one
    return picture


def animate(inputs: Picture, spikes: Picture, path: Path) -> None:
    """Write a GIF: a line an image, the image and beside it all its feature maps, a frame a time step."""
    from PIL import Image, ImageDraw

    frames = []
    for t, step in enumerate(spikes):
        lines = [
            np.hstack([_fitted(image, tiled(maps)), tiled(maps)]) for image, maps in zip(inputs, step, strict=True)
        ]
        frame = Image.fromarray(_bytes(np.vstack(lines)))
        ImageDraw.Draw(frame).text((4, 4), f"t = {t}", fill=255)
        frames.append(frame)
    path.parent.mkdir(parents=True, exist_ok=True)
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=FRAME_MS, loop=0)


def _fitted(image: Picture, beside: Picture) -> Picture:
    """Return the image as high as the picture beside it."""
    from PIL import Image

    side = len(beside)
    large = Image.fromarray(_bytes(image)).resize((side, side), Image.Resampling.NEAREST)
    return np.asarray(large).astype(np.float32) / np.float32(255)


def _write(picture: Picture, folder: Path, name: str) -> int:
    from matplotlib.image import imsave

    folder.mkdir(parents=True, exist_ok=True)
    large = np.kron(picture, np.ones((2, 2), np.float32)) if name != "input" else picture
    for kind in FORMATS:
        imsave(folder / f"{name}.{kind}", large, cmap="gray", vmin=0, vmax=1, format=kind)
    return len(FORMATS)


def _bytes(picture: Picture) -> Any:
    return (picture * 255).round().astype(np.uint8)
