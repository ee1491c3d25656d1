"""``python -m train.fashion_mnist``: the convolutional network of the field's tutorial on Fashion-MNIST."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import torch
from torch import Tensor, nn

from train import arguments, functional, idx, models, script, spike_maps
from train.images import ImagesTrainer
from train.logs import say
from train.trainer import Data


class FashionMNISTTrainer(ImagesTrainer):
    """Train CSNN on Fashion-MNIST: the image is shown T times, the class with the highest firing rate counts."""

    name = "fashion_mnist"

    def get_args_parser(self, add_help: bool = True) -> arguments.Parser:
        """Return the parser."""
        parser = super().get_args_parser(add_help)
        add = parser.add_argument_group("network").add_argument
        add("-T", type=arguments.positive, default=4, help="steps that an image is shown")
        add("--channels", "-channels", type=arguments.positive, default=64, help="of the convolutions")
        add(
            "--save-es", "-save-es", type=Path, metavar="DIR",
            help="draw the first spikes of a test batch there, of the best network, when all is done",
        )  # fmt: skip
        parser.set_defaults(batch_size=64, epochs=16, opt="adamw", lr=0.001, flip=True)
        return parser

    def get_tb_logdir_name(self, args: Namespace) -> str:
        """Return the field's name: T, batch, optimiser, rate, channels, precision, engine."""
        name = f"T{args.T}_b{args.batch_size}_{args.opt}_lr{args.lr:g}_c{args.channels}"
        return name + ("_amp" if args.amp else "") + ("_cupy" if args.backend == "cupy" else "")

    def load_data(self, args: Namespace) -> Data:
        """Read the images; a folder for pictures that cannot be made is no news for the end of a run."""
        if args.save_es is not None:
            args.save_es.mkdir(parents=True, exist_ok=True)
        return super().load_data(args)

    def load_model(self, args: Namespace, num_classes: int) -> nn.Module:
        """Return the network."""
        return models.CSNN(args.channels, classes=num_classes)

    def encode(self, args: Namespace, x: Tensor) -> Tensor:
        """Return grey values from 0 to 1, T times the same."""
        return (x.float() / 255).expand(args.T, *x.shape)

    def after_last_epoch(self, args: Namespace, model: nn.Module, loaded: Data) -> None:
        """Draw the encoder's spikes of the first test images."""
        if args.save_es is None:
            return
        assert isinstance(loaded.test, idx.ImageDataset)
        assert isinstance(model, models.CSNN)
        x = loaded.test.images[: args.batch_size]
        with torch.no_grad():
            spikes = model.spiking_encoder().eval()(self.encode(args, x.to(args.device)))
        functional.reset_net(model)
        written = spike_maps.save(x / 255, spikes.cpu(), args.save_es)
        say(f"{args.save_es}: the first spikes of {len(x)} test images, {written} files")


if __name__ == "__main__":
    script.run(FashionMNISTTrainer())
