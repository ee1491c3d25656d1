"""``python -m benchmarks.generated_images DIR``: ten classes of images to overfit, DIR/train/CLASS/NUMBER.png.

A class is a direction of stripes and their colour; phase, width, the dark ground and noise are drawn anew for every
image. DIR/val holds the training images once more: what is asked of a network is to have learned them.
"""

from __future__ import annotations

import colorsys
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES, EACH, SIDE = 10, 16, 64


def write(folder: Path) -> None:
    """Write the images, the same ones every time."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    for label in range(CLASSES):
        where = folder / "train" / f"{label * 180 // CLASSES:03}_degrees"
        where.mkdir(parents=True)
        angle = np.pi * label / CLASSES
        for number in range(EACH):
            phase, width = random.uniform(0, 2 * np.pi), random.uniform(8, 14)
            stripes = np.sin(2 * np.pi * (np.cos(angle) * x + np.sin(angle) * y) / width + phase)
            colours = 255 * np.array(colorsys.hsv_to_rgb(label / CLASSES, 0.8, 0.9)), random.uniform(0, 80, 3)
            pixels = np.where(stripes[..., None] > 0, *colours) + random.normal(0, 20, (SIDE, SIDE, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(where / f"{number:02}.png")
    shutil.copytree(folder / "train", folder / "val")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
