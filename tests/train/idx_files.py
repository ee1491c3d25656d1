"""Small look-alikes of Fashion-MNIST: IDX files whose classes can be learned."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np


def idx_bytes(array: np.ndarray) -> bytes:
    """Return an IDX file of bytes."""
    return struct.pack(f">{1 + array.ndim}I", 2048 + array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def images(n: int, side: int = 28, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return images [n, side, side] of noise with one bright row, and the labels: which row."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 10
    pixels = random.integers(0, 60, (n, side, side))
    pixels[np.arange(n), 4 + 2 * labels] = 250
    return pixels.astype(np.uint8), labels.astype(np.uint8)


def write(folder: Path, *, train: int = 80, test: int = 20, packed: bool = False) -> Path:
    """Write the four files, gzipped if ``packed``."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (stem, n) in enumerate((("train", train), ("t10k", test))):
        pixels, labels = images(n, seed=seed)
        for kind, array in (("images-idx3-ubyte", pixels), ("labels-idx1-ubyte", labels)):
            data = idx_bytes(array)
            path = folder / f"{stem}-{kind}{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(data) if packed else data)
    return folder
