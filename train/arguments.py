"""Flags: the ones every training script has, and a parser that knows which of them were given.

The field's spellings are welcome: ``-opt adam`` is ``--opt adam``, ``-cupy`` is ``--backend cupy``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from dvsprep.errors import UsageError
from train.optim import LOSSES, OPTIMIZERS, SCHEDULES

_UNSET = object()


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are UsageErrors of one line."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.ArgumentDefaultsHelpFormatter, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(message, hint=f"see {self.prog} --help")

    def parse(self, argv: Sequence[str] | None = None) -> argparse.Namespace:
        """Return the values, the names of those that were given in ``explicit``, those of paths in ``paths``."""
        defaults = {action.dest: self.get_default(action.dest) for action in self._actions if action.dest != "help"}
        args = self.parse_args(argv, argparse.Namespace(**dict.fromkeys(defaults, _UNSET)))
        args.explicit = [name for name in defaults if getattr(args, name) is not _UNSET]
        args.paths = [action.dest for action in self._actions if action.type is Path]
        for name, default in defaults.items():
            if getattr(args, name) is _UNSET:
                setattr(args, name, default)
        return args


def positive(text: str) -> int:
    """Return a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number of at least 1")
    return int(text)


def natural(text: str) -> int:
    """Return a whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number of at least 0")
    return int(text)


def number(low: float, high: float = float("inf"), *, above: bool = False) -> Any:
    """Return a type for numbers between low and high; greater than low with ``above``."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high or (above and value == low) or value == float("inf"):
            limit = f"{'more than' if above else 'at least'} {low:g}" + (f", at most {high:g}" if high < 1e30 else "")
            raise argparse.ArgumentTypeError(f"{text!r}, expected a number of {limit}")
        return value

    return parse


def add_training(parser: argparse.ArgumentParser) -> None:
    """Add what decides how a network learns."""
    group = parser.add_argument_group("training")
    add = group.add_argument
    add(
        "-b", "--batch-size", "--batch", dest="batch_size", type=positive, default=32, help="samples a step and process"
    )
    add("--epochs", "-epochs", type=positive, default=90, help="passes over the training samples")
    add("--opt", "-opt", choices=OPTIMIZERS, default="sgd", help="optimiser")
    add("--lr", "-lr", type=number(0, above=True), default=0.1, help="learning rate at its highest")
    add("--momentum", "-momentum", type=number(0, 1), default=0.9, help="of sgd and rmsprop")
    add("--wd", "--weight-decay", dest="wd", type=number(0), default=0.0, help="weight decay")
    add("--norm-weight-decay", type=number(0), help="weight decay of norms and of PLIF's w, if another")
    add("--loss", choices=LOSSES, default="mse", help="mse on one-hot classes, or cross-entropy")
    add("--label-smoothing", type=number(0, 1), default=0.0, help="part of the target spread over all classes")
    add("--clip-grad-norm", type=number(0, above=True), help="largest norm of the gradient")
    add("--lr-scheduler", choices=SCHEDULES, default="cosa", help="cosine, step, exponential or none, by epoch")
    add("--lr-step-size", type=positive, default=30, help="epochs, of step")
    add("--lr-gamma", type=number(0, 1, above=True), default=0.1, help="factor, of step and exp")
    add("--lr-warmup-epochs", type=natural, default=0, help="epochs before the schedule")
    add("--lr-warmup-method", choices=("linear", "constant"), default="linear", help="how the rate grows in them")
    add("--lr-warmup-decay", type=number(0, 1, above=True), default=0.01, help="where it begins, as a part of --lr")
    add("--mixup-alpha", type=number(0), default=0.0, help="mixup's Beta parameter; 0 is none")
    add("--cutmix-alpha", type=number(0), default=0.0, help="cutmix's Beta parameter; 0 is none")
    add("--model-ema", action="store_true", help="validate and test a moving average of the network")
    add("--model-ema-decay", type=number(0, 1), default=0.999, help="of that average, a step")
    add("--model-ema-steps", type=positive, default=1, help="steps between its updates, in an epoch")
    add("--sync-bn", action="store_true", help="BatchNorm over the batches of all processes, not of each")
    add("--ra-sampler", dest="ra_reps", action="store_const", const=4, default=1, help="--ra-reps 4")
    add("--ra-reps", type=positive, default=1, help="repeated augmentation: drawings of a sample in a batch")


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add where and on what a run takes place, and what it leaves behind."""
    group = parser.add_argument_group("run")
    add = group.add_argument
    add("--device", "-device", default="auto", help="cpu, cuda:0, ...; auto is the first GPU, else the CPU")
    add("--backend", default="auto", help="engine of the neurons: torch, cpu, cupy, or auto for the fastest")
    add("-cupy", "--cupy", dest="backend", action="store_const", const="cupy", default="auto", help="--backend cupy")
    add(
        "--amp",
        "-amp",
        action=argparse.BooleanOptionalAction,
        help="half precision: fp16 on a GPU, bf16 on a CPU; on where the device is faster so",
    )
    add("--disable-amp", dest="amp", action="store_false", default=None, help="--no-amp")
    add("-j", "--workers", type=natural, help="processes that read samples; 0 on a CPU, 4 for a GPU")
    add("--out-dir", "-out-dir", "--output-dir", type=Path, default=Path("logs"), help="a run's folder lies in it")
    add("--print-logdir", action="store_true", help="print the folder that this run would write to, and stop")
    add("--clean", action="store_true", help="delete what an earlier run of these flags left in its folder")
    add("--resume", "-resume", type=Path, metavar="PATH", help="go on from a checkpoint, or from a run's folder")
    add("--seed", type=natural, default=0, help="decides everything random")
    add("--select-by", choices=("val", "test", "last"), default="val", help="which accuracy chooses the best epoch")
    add(
        "--test-every", type=natural, default=0, metavar="N", help="test every N epochs, to look at only; 0: at the end"
    )
    add("--test-only", action="store_true", help="with --resume: test the best network, train nothing")
    add("--tensorboard", action=argparse.BooleanOptionalAction, default=True, help="write TensorBoard's logs too")
