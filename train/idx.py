"""Labelled images from IDX files, the format of MNIST and Fashion-MNIST, as a dataset that hands out whole batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

import dvsprep
from dvsprep.errors import IntegrityError, NotFoundError
from train.data import Batch, Draw, Sample
from train.logs import say

STEMS = {"train": "train", "test": "t10k"}


class Published(NamedTuple):
    """A set of images as it was published.

    Attributes
    ----------
    files : dict
        MD5 by file name.
    places : tuple of Path
        Where else its files may lie on this machine.
    """

    name: str
    title: str
    url: str
    files: dict[str, str]
    classes: tuple[str, ...]
    samples: dict[str, int]
    places: tuple[Path, ...] = ()


# Xiao, Rasul, Vollgraf 2017, arXiv 1708.07747; the MD5s are torchvision's.
FASHION_MNIST = Published(
    "fashion-mnist",
    "Fashion-MNIST",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    },
    ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    {"train": 60_000, "test": 10_000},
    (Path("/usr/share/datasets/fashion-mnist"),),  # Debian's package dataset-fashion-mnist
)


class ImageDataset(Dataset[Sample]):
    """Images as ``(uint8[1, H, W], label)``; a list of draws is one :class:`train.data.Batch`, uint8[N, 1, H, W].

    Raises
    ------
    IntegrityError
        Another number of labels than of images, or a label without a class.
    """

    def __init__(
        self, images: NDArray[np.uint8], labels: NDArray[np.uint8], classes: Sequence[str], where: str = "images"
    ) -> None:
        if len(images) != len(labels):
            raise IntegrityError(
                f"{where}: {len(images)} images, but {len(labels)} labels", hint="files of training and test swapped?"
            )
        if len(labels) and int(labels.max()) >= len(classes):
            i = int(labels.argmax())
            raise IntegrityError(f"{where}: image {i} has label {labels[i]}, expected 0 to {len(classes) - 1}")
        self.images = torch.from_numpy(np.array(images)).unsqueeze(1)
        self.labels: NDArray[np.int64] = labels.astype(np.int64)
        self.classes = tuple(classes)
        self._targets = torch.from_numpy(self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, draw: int | Draw) -> Sample:
        i = draw.sample if isinstance(draw, Draw) else draw
        return self.images[i], int(self.labels[i])

    def __getitems__(self, draws: Sequence[int | Draw]) -> Batch:
        """Return a batch at once: a sample of its own for every image takes longer than a small network's step."""
        index = torch.tensor([draw[0] if isinstance(draw, tuple) else draw for draw in draws])
        return Batch(self.images[index], self._targets[index], torch.ones(len(index), dtype=torch.int64))

    @property
    def ids(self) -> list[str]:
        """The images' numbers."""
        return [str(i) for i in range(len(self))]

    def subset(self, positions: Sequence[int]) -> ImageDataset:
        """Return the dataset of some of these images."""
        return ImageDataset(self.images[positions, 0].numpy(), self.labels[positions].astype(np.uint8), self.classes)


def load(published: Published, split: str, folder: Path | None = None) -> ImageDataset:
    """Return the images of "train" or "test"; their files lie in ``folder``, or somewhere below it.

    Raises
    ------
    NotFoundError, FormatError, IntegrityError
    """
    images = find(published, f"{STEMS[split]}-images-idx3-ubyte", folder)
    labels = find(published, f"{STEMS[split]}-labels-idx1-ubyte", folder)
    pixels = dvsprep.read_idx(images, "images")
    if len(pixels) != published.samples[split]:
        say(f"{images}: {len(pixels):,} images; {published.title} has {published.samples[split]:,} in {split}")
    return ImageDataset(pixels, dvsprep.read_idx(labels, "labels"), published.classes, str(images))


def find(published: Published, stem: str, folder: Path | None = None) -> Path:
    """Return the path of an IDX file, ``.gz`` or not: in a folder or below it, else where sets of images lie."""
    places = [folder] if folder is not None else [downloaded(published), *published.places]
    for place in places:
        for pattern in (stem, f"{stem}.gz", stem.replace("-idx", ".idx")):
            if found := sorted(place.rglob(pattern)):
                return found[0]
    raise NotFoundError(
        f"{published.title}: no file {stem} or {stem}.gz in {' or '.join(map(str, places))}",
        hint="--data-dir names the folder of the four files, --download fetches them",
    )


def downloaded(published: Published) -> Path:
    """Return where :func:`download` puts the files: with those of dvsprep's own datasets."""
    from dvsprep import config

    return config.root() / published.name / "download"


def download(published: Published, folder: Path | None = None) -> Path:
    """Fetch the published files, from mirrors first, and verify them; return their folder."""
    target = folder or downloaded(published)
    dvsprep.fetch_files(published.files, published.url, target, dataset=published.name, warn=say)
    return target


def augmented(images: Tensor, *, shift: int = 0, flip: bool = False, erase: float = 0.0) -> Tensor:
    """Return a batch [N, 1, H, W] of moved, mirrored and partly erased images; each drawn by itself.

    Draws from torch's own generator on the CPU, whose state a checkpoint holds: a resumed run sees the same images, and
    every device does.

    Parameters
    ----------
    shift : int
        Pixels at most in x and y; what enters is black.
    flip : bool
        Mirror half of the images, left and right.
    erase : float
        Probability of a black box with sides of 1/8 to 1/2 of the image (Zhong et al. 2020).
    """
    if not (shift or flip or erase):
        return images
    n, _, H, W = images.shape
    row, column = torch.arange(H).expand(n, H), torch.arange(W).expand(n, W)
    if erase:
        holes = _boxes(n, H, W) & (torch.rand(n) < erase)[:, None, None, None]
        images = images.masked_fill(holes.to(images.device), 0)
    if flip:
        column = torch.where(torch.rand(n, 1) < 0.5, column.flip(1), column)
    if shift:
        images = torch.nn.functional.pad(images, (shift,) * 4)
        row, column = (x + torch.randint(0, 2 * shift + 1, (n, 1)) for x in (row, column))
    row, column, image = (x.to(images.device) for x in (row, column, torch.arange(n)))
    return images[image[:, None, None], 0, row[:, :, None], column[:, None, :]].unsqueeze(1)


def _boxes(n: int, H: int, W: int) -> Tensor:
    """Return bool[n, 1, H, W], true in a random box of each image."""
    sides = []
    for size in (H, W):
        length = torch.randint(max(1, size // 8), size // 2 + 1, (n, 1))
        first = (torch.rand(n, 1) * (size - length + 1)).long()
        at = torch.arange(size)
        sides.append((at >= first) & (at < first + length))
    return (sides[0][:, :, None] & sides[1][:, None, :]).unsqueeze(1)
