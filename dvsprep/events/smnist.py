"""Sequential MNIST as spikes: IDX images in, threshold crossings out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from dvsprep.errors import LabelError, NotFoundError
from dvsprep.events import idx
from dvsprep.events.foreign import from_arrays
from dvsprep.events.reading import Decoded, Policy
from dvsprep.types import Array

STEP = 1000  # microseconds
CHANNELS = 99


def labels(path: Path) -> list[tuple[str, int]]:
    """Return (sample key, label) of a file of images; the labels lie beside it, in the file named ...labels-idx1.."""
    beside = path.with_name(path.name.replace("images-idx3", "labels-idx1"))
    if beside == path or not beside.exists():
        raise NotFoundError(f"{path}: no file of labels beside it", hint=f"expected {beside.name}")
    found, images = idx.read(beside, idx.LABELS), _images(path)
    if len(found) != len(images):
        raise LabelError(f"{beside}: {len(found)} labels for {len(images)} images")
    return [(str(k), int(label)) for k, label in enumerate(found)]


def read_one(path: Path, key: str, name: str, sensor: tuple[int, int], policy: Policy) -> Decoded:
    """Encode one image, flattened row by row, over (1, channels); keys are "0", "1", .."""
    images = _images(path)
    if not key.isdecimal() or not int(key) < len(images):
        raise NotFoundError(f"{path}: no sample {key!r}; it holds {len(images)}")
    step, channel = encode(images[int(key)].reshape(-1), CHANNELS)
    zero = np.zeros(len(step), np.uint8)
    return from_arrays({"t": step * STEP, "x": channel, "y": zero, "p": zero + 1}, name, sensor, policy)


def read_many(
    path: Path, samples: Iterable[tuple[str, str]], sensor: tuple[int, int], policy: Policy
) -> Iterator[Decoded]:
    """Encode images given as (key, name)."""
    for key, name in samples:
        yield read_one(path, key, name, sensor, policy)


def encode(pixels: Array, channels: int = CHANNELS) -> tuple[Array, Array]:
    """Return (step, channel) of the spikes of a sequence of pixels, in order of both; each spike comes at 2s and 2s+1.

    Of h = channels // 2 thresholds from 0 to 254, number k crossed upward between steps s and s + 1 fires channel
    ``channels - k`` at s, crossed downward ``channels - h - k``; a pixel of 255 fires the channel numbered
    ``channels``, which does not exist and is taken as 0 (touch). Threshold 0 cannot be crossed, so channel
    ``channels - h`` and the touch twin ``channels`` never fire, nor does channel 1: 97 of 99 are in use.

    Parameters
    ----------
    pixels : uint8[S]
    channels : int
        Odd.
    """
    h = channels // 2
    level = np.linspace(0, 254, h).astype(np.uint8)
    reached = pixels[:, None] >= level[None, :]
    up_step, up = np.nonzero(~reached[:-1] & reached[1:])
    down_step, down = np.nonzero(reached[:-1] & ~reached[1:])
    touch = np.flatnonzero(pixels == 255)
    step = np.concatenate([up_step, down_step, touch])
    channel = np.concatenate([channels - up, channels - h - down, np.zeros(len(touch), np.int64)])
    step, channel = np.concatenate([2 * step, 2 * step + 1]), np.tile(channel, 2)
    order = np.lexsort((channel, step))
    return step[order], channel[order]


def _images(path: Path) -> Array:
    stat = path.stat()
    return _cached(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=2)
def _cached(path: Path, mtime: int, size: int) -> Array:  # noqa: ARG001 - a changed file is another entry
    """Keep the training and the test images in memory: a gzipped file cannot be read from the middle."""
    return idx.read(path, idx.IMAGES)
