"""Folders of images in, a dataset for the trainer out, through torchvision (extra ``vision``).

What is random about an image is a function of (seed, epoch, image, copy), as for frames.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from dvsprep.errors import BackendError, IntegrityError, NotFoundError, UsageError
from train import distributed
from train.data import Draw, Sample, generator
from train.logs import say

ImageTransform = Callable[[Any], Tensor]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as torchvision's weights want
POLICIES = ("ta_wide", "ra", "augmix", "imagenet", "cifar10", "svhn", "none")
_BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what Pillow raises for bad bytes


def torchvision(module: str) -> Any:
    """Import a module of torchvision; raise BackendError, with the real cause, where that fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it misses its own decoders, which are not used here
        try:
            try:
                return import_module(f"torchvision.{module}")
            except RuntimeError as error:
                if "torchvision::nms" not in str(error):
                    raise
                # A torchvision for GPUs beside a torch for CPUs cannot load its operators; images need none of them,
                # but it describes these to torch even so.
                for name in ("nms", "qnms"):
                    torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores) -> Tensor")
                return import_module(f"torchvision.{module}")
        except (ImportError, RuntimeError) as error:
            why = str(error).partition("\n")[0]
            raise BackendError(f"torchvision cannot be used: {why}", hint="pip install 'dvsprep[vision]'") from None


class Images(Dataset[Sample]):
    """Images of a folder as ``(tensor [3, H, W], label)``.

    Parameters
    ----------
    files, labels : sequence
    classes : sequence of str
    transform : callable
        An image of Pillow to a tensor; torch's global generator is its only source of randomness.
    seed : int
        Of the transform.
    """

    def __init__(
        self,
        files: Sequence[str],
        labels: Sequence[int] | NDArray[np.int64],
        classes: Sequence[str],
        transform: ImageTransform,
        seed: int = 0,
    ) -> None:
        self.files, self.labels, self.classes = list(files), np.asarray(labels, np.int64), tuple(classes)
        self.transform, self.seed = transform, seed

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, draw: int | Draw) -> Sample:
        draw = draw if isinstance(draw, Draw) else Draw(draw)
        image = decode(self.files[draw.sample])
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(generator(self.seed, draw).get_state())
            return self.transform(image), int(self.labels[draw.sample])

    @property
    def ids(self) -> list[str]:
        """Paths."""
        return self.files

    def subset(self, positions: Sequence[int], transform: ImageTransform | None = None) -> Images:
        """Return the dataset of some of these images."""
        files = [self.files[i] for i in positions]
        return Images(files, self.labels[list(positions)], self.classes, transform or self.transform, self.seed)


def decode(file: str) -> Any:
    """Return an image in RGB; raise IntegrityError, with its name, if it is broken."""
    try:
        with Image.open(file) as image:
            return image.convert("RGB")
    except _BROKEN as error:
        why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise IntegrityError(
            f"{file}: broken image: {why}", hint="remove it, or --skip-broken leaves out all that are"
        ) from None


def image_folder(folder: Path, transform: ImageTransform, *, seed: int = 0, skip_broken: bool = False) -> Images:
    """Open ``folder/CLASS/.../IMAGE``; a class without images is an error.

    Parameters
    ----------
    skip_broken : bool
        Decode every image now, leave out those that are broken, and say how many.
    """
    datasets = torchvision("datasets")
    if not folder.is_dir():
        raise NotFoundError(f"{folder}: no such folder", hint="--data-dir holds train/CLASS/IMAGE and val/CLASS/IMAGE")
    try:
        found = datasets.ImageFolder(str(folder), allow_empty=True)
    except FileNotFoundError:
        raise NotFoundError(f"{folder}: holds no folders, expected one a class") from None
    files, labels = [file for file, _ in found.samples], [label for _, label in found.samples]
    if skip_broken:
        broken = distributed.of_first(_broken(files) if distributed.rank() == 0 else None)
        if broken:
            say(f"{folder}: {len(broken)} of {len(files)} images are broken and left out, {min(broken)} first")
        kept = [i for i, file in enumerate(files) if file not in broken]
        files, labels = [files[i] for i in kept], [labels[i] for i in kept]
    empty = [name for label, name in enumerate(found.classes) if label not in set(labels)]
    if empty:
        more = f", and {len(empty) - 1} other classes" if len(empty) > 1 else ""
        raise UsageError(f"{folder / empty[0]}: a class without images{more}", hint="remove its folder, or fill it")
    return Images(files, labels, found.classes, transform, seed)


def _broken(files: Sequence[str]) -> set[str]:
    def is_broken(file: str) -> bool:
        try:
            decode(file)
        except IntegrityError:
            return True
        return False

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoders let go of the GIL
        return {file for file, broken in zip(files, pool.map(is_broken, files), strict=True) if broken}


def train_transform(crop: int, policy: str, erase: float, interpolation: str) -> ImageTransform:
    """Return the field's augmentation: a random crop and flip, a policy, an erased box with probability ``erase``."""
    t = torchvision("transforms")
    mode = t.InterpolationMode(interpolation)
    steps = [t.RandomResizedCrop(crop, interpolation=mode, antialias=True), t.RandomHorizontalFlip()]
    if policy == "none":
        steps = [t.Resize((crop, crop), interpolation=mode, antialias=True)]
    elif policy == "ta_wide":
        steps.append(t.TrivialAugmentWide(interpolation=mode))
    elif policy == "ra":
        steps.append(t.RandAugment(interpolation=mode))
    elif policy == "augmix":
        steps.append(t.AugMix(interpolation=mode))
    else:
        steps.append(t.AutoAugment(t.AutoAugmentPolicy(policy), interpolation=mode))
    steps += [t.PILToTensor(), t.ConvertImageDtype(torch.float32), t.Normalize(MEAN, STD)]
    if erase:
        steps.append(t.RandomErasing(erase))
    return t.Compose(steps)  # type: ignore[no-any-return]


def test_transform(resize: int, crop: int, interpolation: str) -> ImageTransform:
    """Return the middle of the image."""
    t = torchvision("transforms")
    mode = t.InterpolationMode(interpolation)
    steps = [t.Resize(resize, interpolation=mode, antialias=True), t.CenterCrop(crop)]
    return t.Compose([*steps, t.PILToTensor(), t.ConvertImageDtype(torch.float32), t.Normalize(MEAN, STD)])  # type: ignore[no-any-return]
