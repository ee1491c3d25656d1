"""What the scripts on static images share: IDX files in, batches with mirrored and moved images out."""

from __future__ import annotations

import argparse
from argparse import Namespace
from pathlib import Path

from torch import Tensor

from train import arguments, idx
from train.data import hold_out
from train.trainer import Data, Trainer


class ImagesTrainer(Trainer):
    """Trains on Fashion-MNIST; a subclass has the network, and makes its input of an image."""

    published = idx.FASHION_MNIST

    def get_args_parser(self, add_help: bool = True) -> arguments.Parser:
        """Return the parser."""
        parser = super().get_args_parser(add_help)
        add = parser.add_argument_group("data").add_argument
        add(
            "--data-dir", "-data-dir", type=Path,
            help=f"folder that holds {self.published.title}'s four IDX files, .gz or not, or has them somewhere below",
        )  # fmt: skip
        add("--download", action="store_true", help="fetch the files that are missing, and verify their MD5s")
        add("--val-ratio", type=arguments.number(0, 0.9), default=0.1, help="training images that validate; 0 for none")
        add("--shift", type=arguments.natural, default=0, metavar="PIXELS", help="random shift in x and y")
        add("--flip", action=argparse.BooleanOptionalAction, default=False, help="mirror half of the images")
        add("--erase", type=arguments.number(0, 1), default=0.0, metavar="P", help="probability of an erased box")
        return parser

    def load_data(self, args: Namespace) -> Data:
        """Read the images; hold some out for validation if they are to choose the epoch."""
        if args.download:
            idx.download(self.published, args.data_dir)
        train, test = (idx.load(self.published, split, args.data_dir) for split in ("train", "test"))
        args.facts = {"set": self.published.name, "images": list(train.images.shape)}
        if args.val_ratio == 0 or args.select_by != "val":
            return Data(train, test)
        kept, held, how = hold_out(train, by="sample", ratio=args.val_ratio, seed=args.seed)
        return Data(train.subset(kept), test, train.subset(held), how)

    def preprocess_train_sample(self, args: Namespace, x: Tensor) -> Tensor:
        """Return the network's input of a batch of images, augmented."""
        return self.encode(args, idx.augmented(x, shift=args.shift, flip=args.flip, erase=args.erase))

    def preprocess_test_sample(self, args: Namespace, x: Tensor) -> Tensor:
        """Return the network's input of a batch of images."""
        return self.encode(args, x)

    def encode(self, args: Namespace, x: Tensor) -> Tensor:
        """Return the network's input [T, N, ...] of images uint8[N, 1, H, W]."""
        raise NotImplementedError
