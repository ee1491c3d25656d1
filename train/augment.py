"""Augmentations of event frames: integer frames [T, C, H, W] and a label in, the same out.

Each takes its randomness from the generator it is given, so a sample's augmentation is a function of (seed, epoch,
index). Geometry is the same for all frames of a sample.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dvsprep.errors import UsageError
from train.data import Sample, Transform

Generator = torch.Generator
_MIRRORED = {"left": "right", "right": "left", "clockwise": "counter-clockwise", "counter-clockwise": "clockwise"}
_WORD = re.compile(r"(?<![a-z])(counter-?clockwise|clockwise|left|right)(?![a-z])")


def _uniform(generator: Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _integer(generator: Generator, low: int, high: int) -> int:
    """Return low to high, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


@dataclass(frozen=True)
class Compose:
    """One transform after the other."""

    transforms: Sequence[Transform]

    def __call__(self, frames: Tensor, label: int, generator: Generator) -> Sample:
        for transform in self.transforms:
            frames, label = transform(frames, label, generator)
        return frames, label


@dataclass(frozen=True)
class RandomTemporalDelete:
    """Keep T_remain random frames, in their order (Fang et al. 2021, the recipe of SEW ResNet on DVS Gesture)."""

    T_remain: int

    def __call__(self, frames: Tensor, label: int, generator: Generator) -> Sample:
        if self.T_remain > len(frames):
            raise UsageError(f"T_remain is {self.T_remain}, but the sample has {len(frames)} frames")
        kept = torch.randperm(len(frames), generator=generator)[: self.T_remain].sort()[0]
        return frames[kept], label


@dataclass(frozen=True)
class RandomShift:
    """Move all frames by up to ``pixels`` in x and y; what leaves the sensor is lost, what enters is empty."""

    pixels: int

    def __call__(self, frames: Tensor, label: int, generator: Generator) -> Sample:
        dy, dx = (_integer(generator, -self.pixels, self.pixels) for _ in range(2))
        moved = torch.zeros_like(frames)
        H, W = frames.shape[-2:]
        if abs(dy) < H and abs(dx) < W:
            moved[..., max(dy, 0) : H + min(dy, 0), max(dx, 0) : W + min(dx, 0)] = frames[
                ..., max(-dy, 0) : H + min(-dy, 0), max(-dx, 0) : W + min(-dx, 0)
            ]
        return moved, label


@dataclass(frozen=True)
class RandomAffine:
    """Rotate by up to ``degrees``, scale by up to a factor ``1 +- scale``, shear by up to ``shear``; nearest pixel."""

    degrees: float = 15.0
    scale: float = 0.1
    shear: float = 0.1

    def __call__(self, frames: Tensor, label: int, generator: Generator) -> Sample:
        angle = math.radians(_uniform(generator, -self.degrees, self.degrees))
        scale, shear = _uniform(generator, -self.scale, self.scale), _uniform(generator, -self.shear, self.shear)
        H, W = frames.shape[-2:]
        y = torch.arange(H)[:, None] - (H - 1) / 2
        x = torch.arange(W)[None, :] - (W - 1) / 2
        # Inverse map: where each new pixel comes from.
        c, s, factor = math.cos(angle), math.sin(angle), 1 / (1 + scale)
        rows = ((c * y - s * x) * factor + (H - 1) / 2).round().long()
        columns = ((s * y + c * x + shear * y) * factor + (W - 1) / 2).round().long()
        inside = (rows >= 0) & (rows < H) & (columns >= 0) & (columns < W)
        source = (rows.clamp(0, H - 1) * W + columns.clamp(0, W - 1)).flatten()
        moved = frames.flatten(-2).index_select(-1, source).view_as(frames)
        return moved * inside, label


@dataclass(frozen=True)
class RandomErase:
    """With probability p, empty one box of ``area`` (fraction, from to) of the sensor in all frames (cutout)."""

    p: float = 0.5
    area: tuple[float, float] = (0.02, 0.2)

    def __call__(self, frames: Tensor, label: int, generator: Generator) -> Sample:
        if _uniform(generator, 0, 1) >= self.p:
            return frames, label
        H, W = frames.shape[-2:]
        area, ratio = _uniform(generator, *self.area) * H * W, math.exp(_uniform(generator, -1, 1))
        h, w = min(H, round(math.sqrt(area * ratio))), min(W, round(math.sqrt(area / ratio)))
        top, left = _integer(generator, 0, H - h), _integer(generator, 0, W - w)
        erased = frames.clone()
        erased[..., top : top + h, left : left + w] = 0
        return erased, label


class RandomFlip:
    """With probability p, mirror left and right, and give the sample the class that its mirror image has.

    A mirrored "right hand wave" is a "left hand wave", a mirrored "right arm clockwise" a "left arm counter-clockwise".
    Names without such words keep their class. Digits have no mirror image.

    Parameters
    ----------
    classes : sequence of str
    p : float

    Raises
    ------
    UsageError
        If the mirror image of a class is no class.
    """

    def __init__(self, classes: Sequence[str], p: float = 0.5) -> None:
        self.p, self.labels = p, mirrored_labels(classes)

    def __call__(self, frames: Tensor, label: int, generator: Generator) -> Sample:
        if _uniform(generator, 0, 1) >= self.p:
            return frames, label
        return frames.flip(-1), self.labels[label]


def mirrored_labels(classes: Sequence[str]) -> list[int]:
    """Return for each class the class of its mirror image."""
    numbers = {_letters(name): i for i, name in enumerate(classes)}
    labels = []
    for name in classes:
        if any(letter.isdigit() for letter in name):
            raise UsageError(f"a mirrored {name!r} is no {name!r}: flip does not go with digits")
        mirrored = _mirrored(name)
        if _letters(mirrored) not in numbers:
            raise UsageError(f"the mirror image of {name!r} is {mirrored!r}, which is no class: flip does not go here")
        labels.append(numbers[_letters(mirrored)])
    return labels


def _letters(name: str) -> str:
    return re.sub("[^a-z]", "", name.lower())


def _mirrored(name: str) -> str:
    return _WORD.sub(lambda word: _MIRRORED[word[0].replace("counterc", "counter-c")], name.lower())
