"""``python -m train.imagenet --data-dir DIR``: spiking ResNets on ImageNet, and on any other folders of images."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from torch import Tensor, nn

from dvsprep.errors import UsageError
from train import arguments, models, script, setup, surrogate, vision
from train.data import hold_out
from train.frames import NEURONS
from train.logs import say
from train.models.resnet import RESNETS
from train.trainer import Data, Trainer


class ImageNetTrainer(Trainer):
    """Train a spiking ResNet on DIR/train/CLASS/IMAGE and test it on DIR/val; every image is shown T times."""

    name = "imagenet"

    def get_args_parser(self, add_help: bool = True) -> arguments.Parser:
        """Return the parser; defaults are those of the field's tutorial."""
        parser = super().get_args_parser(add_help)
        add = parser.add_argument_group("data").add_argument
        add("--data-dir", "--data-path", "-data-dir", type=Path, help="holds train/ and val/ (or test/, or all three)")
        add("--skip-broken", action="store_true", help="decode all images first, leave out and count the broken ones")
        add("--val-ratio", type=arguments.number(0, 0.9), default=0.0, help="part of train/ that chooses the epoch")
        add("--train-crop-size", type=arguments.positive, default=176, help="pixels of a training image")
        add("--val-resize-size", type=arguments.positive, default=232, help="shorter side of a test image")
        add("--val-crop-size", type=arguments.positive, default=224, help="middle part of it that is tested")
        add("--interpolation", choices=("bilinear", "bicubic", "nearest"), default="bilinear", help="when resizing")
        add("--auto-augment", choices=vision.POLICIES, default="ta_wide", help="policy; none also crops nothing")
        add("--random-erase", type=arguments.number(0, 1), default=0.1, metavar="P", help="probability of erased boxes")
        add = parser.add_argument_group("network").add_argument
        add("-T", "--T", type=arguments.positive, default=4, help="steps that an image is shown")
        add("--model", choices=RESNETS, default="spiking_resnet18", help="network")
        add("--neuron", choices=NEURONS, default="if", help="spiking neuron")
        add("--connect", choices=("ADD", "AND", "IAND"), default="ADD", help="how blocks of sew_resnet* are connected")
        add("--pretrained", nargs="?", const=True, metavar="PATH", help="start from torchvision's weights")
        parser.set_defaults(loss="ce", label_smoothing=0.1, mixup_alpha=0.2, cutmix_alpha=1.0, lr_warmup_epochs=5)
        return parser

    def get_tb_logdir_name(self, args: Namespace) -> str:
        """Return network, batch, epochs, optimiser, rate, T and precision."""
        name = f"{args.model}_b{args.batch_size}_e{args.epochs}_{args.opt}_lr{args.lr:g}_T{args.T}"
        return name + ("_amp" if args.amp else "") + ("_cupy" if args.backend == "cupy" else "")

    def load_data(self, args: Namespace) -> Data:
        """Open the folders; ``val`` is what the field tests on, and a ``test`` beside it makes it the validation."""
        if args.data_dir is None:
            raise UsageError("--data-dir is missing", hint="a folder of train/CLASS/IMAGE and val/CLASS/IMAGE")
        training = vision.train_transform(
            args.train_crop_size, args.auto_augment, args.random_erase, args.interpolation
        )
        middle = vision.test_transform(args.val_resize_size, args.val_crop_size, args.interpolation)
        folders = {name: args.data_dir / name for name in ("train", "val", "test")}
        there = [name for name, folder in folders.items() if name == "train" or folder.is_dir()]
        parts = {
            name: vision.image_folder(
                folders[name], training if name == "train" else middle, seed=args.seed, skip_broken=args.skip_broken
            )
            for name in there
        }
        train = parts["train"]
        for name, part in parts.items():
            if part.classes != train.classes:
                odd = sorted(set(part.classes) ^ set(train.classes))
                raise UsageError(f"{folders[name]}: has not the classes of train: {odd[0]} is in one only")
        args.facts = {"classes": list(train.classes), "channels": 3, "T": args.T}
        if wrong := setup.differences(args.facts, getattr(args, "resumed_facts", {})):
            raise UsageError(f"{args.resume}: was trained on other images: {'; '.join(wrong)}", hint="give its folder")
        if "test" in parts and "val" in parts:
            return Data(train, parts["test"], parts["val"], "the folder val")
        test = parts.get("test") or parts.get("val")
        if not args.val_ratio:
            return Data(train, test, None, "none")
        kept, held, how = hold_out(train, by="sample", ratio=args.val_ratio, seed=args.seed)
        return Data(train.subset(kept), test, train.subset(held, middle) if held else None, how)

    def load_model(self, args: Namespace, num_classes: int) -> nn.Module:
        """Return the network that the flags spell."""
        connect = {"connect": args.connect} if args.model.startswith("sew") else {}
        fresh = args.resume is None  # a checkpoint has better weights
        net = models.build(
            args.model,
            spiking_neuron=lambda: NEURONS[args.neuron](surrogate_function=surrogate.ATan(), detach_reset=True),
            classes=num_classes,
            pretrained=bool(fresh and args.pretrained) and args.pretrained,
            **connect,
        )
        if (theirs := net.pretrained_classes) not in (None, num_classes):
            say(f"the last layer is new: the weights are for {theirs} classes, here are {num_classes}")
        return net

    def preprocess_train_sample(self, args: Namespace, x: Tensor) -> Tensor:
        """Return images [N, C, H, W] T times: [T, N, C, H, W]."""
        return x.expand(args.T, *x.shape)


if __name__ == "__main__":
    script.run(ImageNetTrainer())
