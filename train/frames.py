"""``python -m train.frames --cache TRAIN.h5``: train a spiking network on any frame or event cache of dvsprep."""

from __future__ import annotations

import argparse
import re
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

import dvsprep
from dvsprep.errors import NotFoundError, UsageError
from dvsprep.types import FrameSource, FrameSpec
from train import arguments, augment, defaults, models, neuron, script, setup, surrogate
from train.data import FrameDataset, Transform, hold_out
from train.logs import say
from train.trainer import Data, Trainer

NEURONS: dict[str, Callable[..., nn.Module]] = {
    "if": neuron.IFNode,
    "lif": neuron.LIFNode,
    "plif": neuron.ParametricLIFNode,
}
VALIDATION = ("val", "valid", "validation")
_CACHE_NAME = re.compile(r"(?P<by>number|time)-T(?P<T>\d+)|duration-(?P<us>\d+)us")


class FramesTrainer(Trainer):
    """Train a spiking network on a frame or event cache of dvsprep."""

    name = "frames"
    dataset = "NAME"  # what the message for a missing cache proposes
    default_model: str | None = None

    def get_args_parser(self, add_help: bool = True) -> arguments.Parser:
        """Return the parser; what is left out is chosen for the cache at hand."""
        parser = super().get_args_parser(add_help)
        add = parser.add_argument_group("data").add_argument
        add("--cache", help="the training cache: a path that `dvsprep frames` printed, or a URL")
        add("--test-cache", help="the test cache; the one beside the training cache unless told")
        add("-T", type=arguments.positive, help="frames a sample: what the cache holds, or how to integrate its events")
        add("--split-by", choices=("number", "time"), default="number", help="of an event cache")
        add("--train-T", type=arguments.positive, metavar="N", help="train on N random frames of each sample's T")
        add("--val-by", choices=("user", "sample"), default="user", help="whose training samples validate")
        add("--val-ratio", type=arguments.number(0, 0.9), help="how much of them; 0 for none")
        add("--augment", choices=("auto", "none"), default="auto", help="shifts, rotations, erased boxes, by the data")
        add("--shift", type=arguments.natural, metavar="PIXELS", help="random shift in x and y")
        add("--affine", action=argparse.BooleanOptionalAction, help="random rotation, scale and shear")
        add("--erase", type=arguments.number(0, 1), metavar="P", help="probability of an erased box")
        add(
            "--flip", action=argparse.BooleanOptionalAction, help="random mirror images, of the classes that these have"
        )
        add("-data-dir", "--data-dir", help="not needed: --cache names the data")
        add = parser.add_argument_group("network").add_argument
        add("--model", choices=models.list_models(), help="network")
        add("--channels", "-channels", type=arguments.positive, help="of its convolutions")
        add("--neuron", choices=NEURONS, help="spiking neuron")
        add("--tau", type=arguments.number(1, above=True), default=2.0, help="membrane time constant in steps")
        add("--surrogate", choices=sorted(surrogate.SURROGATES), default="atan", help="surrogate gradient")
        parser.set_defaults(batch_size=None, epochs=None, opt=None, lr=None, model=self.default_model)
        return parser

    def get_tb_logdir_name(self, args: Namespace) -> str:
        """Return the field's name: T, batch, optimiser, rate, channels, precision, engine."""
        if not hasattr(args, "facts"):
            self.load_data(args)  # the cache tells T, and decides what is left open
        name = f"T{args.T}_b{args.batch_size}_{args.opt}_lr{args.lr:g}_c{args.channels}"
        return name + ("_amp" if args.amp else "") + ("_cupy" if args.backend == "cupy" else "")

    def load_data(self, args: Namespace) -> Data:
        """Open the caches, check that they go together, choose what is left open, hold out for validation."""
        train, val, test = self._open(args)
        facts = facts_of(train)
        for name, other in (("validation", val), ("test", test)):
            if other is not None and (wrong := setup.differences(facts_of(other), facts)):
                raise UsageError(f"the {name} cache does not go with {args.cache}: {'; '.join(wrong)}")
        if wrong := setup.differences(facts, getattr(args, "resumed_facts", {})):
            raise UsageError(f"{args.resume}: was trained on other frames: {'; '.join(wrong)}", hint="give its cache")
        args.facts, args.T = facts, facts["T"]
        whole = FrameDataset(train, seed=args.seed)
        if args.train_T and facts["T"] and args.train_T > facts["T"]:
            raise UsageError(f"--train-T is {args.train_T}, but the samples have T = {facts['T']} frames")
        for words in defaults.choose(args, facts, len(whole)):
            say(words)
        transform = self.transform(args, whole.classes)
        tested = None if test is None else FrameDataset(test)
        if val is not None:
            return Data(whole.subset(range(len(whole)), transform), tested, FrameDataset(val), "the cache of its own")
        if args.val_ratio == 0 or args.select_by != "val":
            return Data(whole.subset(range(len(whole)), transform), tested, None, "none")
        kept, held, how = hold_out(whole, by=args.val_by, ratio=args.val_ratio, seed=args.seed)
        if not held:
            return Data(whole.subset(kept, transform), tested, None, "none: a class has one sample only")
        return Data(whole.subset(kept, transform), tested, whole.subset(held), how)

    def transform(self, args: Namespace, classes: tuple[str, ...]) -> Transform | None:
        """Return what the flags spell."""
        steps: list[Transform] = []
        if args.train_T:
            steps.append(augment.RandomTemporalDelete(args.train_T))
        if args.flip:
            steps.append(augment.RandomFlip(classes))
        if args.affine:
            steps.append(augment.RandomAffine())
        if args.shift:
            steps.append(augment.RandomShift(args.shift))
        if args.erase:
            steps.append(augment.RandomErase(args.erase))
        return augment.Compose(steps) if steps else None

    def load_model(self, args: Namespace, num_classes: int) -> nn.Module:
        """Return the network that the flags spell, for the sensor of the cache."""
        kind, gradient = NEURONS[args.neuron], surrogate.SURROGATES[args.surrogate]
        tau = {} if args.neuron == "if" else {"tau" if args.neuron == "lif" else "init_tau": args.tau}

        def make() -> nn.Module:
            return kind(**tau, surrogate_function=gradient(), detach_reset=True)

        return models.build(
            args.model,
            channels=args.channels,
            spiking_neuron=make,
            sensor=tuple(args.facts["sensor"]),
            classes=num_classes,
            in_channels=args.facts["channels"],
        )

    # Caches

    def _open(self, args: Namespace) -> tuple[FrameSource, FrameSource | None, FrameSource | None]:
        if args.cache is None:
            name = f"number-T{args.T or 16}.h5"
            adopt = f"`dvsprep adopt {self.dataset} {args.data_dir}` takes your files over, " if args.data_dir else ""
            raise UsageError("--cache is missing", hint=f"{adopt}{self._command(name)} prints the path")
        train = self._source(args, args.cache)
        split = getattr(train, "split", "train")
        if split in ("test", *VALIDATION):
            raise UsageError(f"{args.cache} is the {split} cache", hint="--cache takes the training cache")
        val = next((p for name in VALIDATION if (p := beside(args.cache, name))), None)
        test = args.test_cache or beside(args.cache, "test")
        if test is None:
            say(f"no test cache lies beside {args.cache}, and --test-cache names none: nothing is tested")
            if args.select_by == "test":
                raise UsageError("--select-by test needs a test cache", hint="--test-cache PATH")
        val_source, test_source = (None if path is None else self._source(args, path) for path in (val, test))
        return train, val_source, test_source

    def _source(self, args: Namespace, path: str) -> FrameSource:
        try:
            cache: Any = dvsprep.open(path)
        except NotFoundError as error:
            raise NotFoundError(f"{path}: no such cache", hint=f"{self._command(path)} makes it") from error
        if getattr(cache, "kind", "frames") == "events":
            if args.T is None:
                raise UsageError(f"{path} holds events", hint="say how many frames to make of each sample: -T 16")
            return cache.frames(split_by=args.split_by, T=args.T)  # type: ignore[no-any-return]
        spec: FrameSpec = cache.spec
        if "T" in args.explicit and spec.T != args.T:
            has = f"T = {spec.T}" if spec.T else spec.describe()
            raise UsageError(
                f"{path}: has {has}, and -T asks for {args.T}",
                hint=f"{self._command(path, cache, args.T)} makes that one",
            )
        return cache  # type: ignore[no-any-return]

    def _command(self, path: str, cache: Any = None, T: int | None = None) -> str:
        """Return the `dvsprep frames` command that makes a cache of this path, as far as the path tells."""
        parts = Path(path).parts
        placed = len(parts) > 3 and parts[-2] in ("frames", "events")  # ROOT/NAME/frames/FILE
        dataset = getattr(cache, "dataset", None) or (parts[-3] if placed else self.dataset)
        found = _CACHE_NAME.search(parts[-1] if parts else "")
        if found and found["us"] and T is None:
            how = f"--duration {found['us']}"
        else:
            how = f"--split-by {(found and found['by']) or 'number'} -T {T or (found and found['T']) or 16}"
        return f"`dvsprep frames {dataset}{f' --root {Path(*parts[:-3])}' if placed else ''} {how}`"


def beside(path: str, split: str) -> str | None:
    """Return the path of another split's cache in the same folder, or of the same service, if it is there."""
    other = re.sub(r"\.train(\.h5)?$", rf".{split}\1", path)
    if other == path:
        return None
    if "://" not in path:
        return other if Path(other).is_file() else None
    try:
        dvsprep.open(other)
    except NotFoundError:
        return None
    return other


def facts_of(source: FrameSource) -> dict[str, Any]:
    """Return what two caches must agree in: T, channels, sensor, classes, and how the frames were made."""
    frames = np.asarray(source[0][0]) if len(source) else np.empty((0, 0, 0, 0))
    if frames.ndim != 4:
        raise UsageError(f"frames of {list(frames.shape)}, expected [T, C, H, W]")
    return {
        "T": source.spec.T,
        "channels": frames.shape[1],
        "sensor": list(frames.shape[2:]),
        "classes": list(source.classes),
        "frames": source.spec.describe(),
    }


if __name__ == "__main__":
    script.run(FramesTrainer())
