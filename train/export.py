"""``python -m train.export CHECKPOINT -o model.nir``: a trained network as a graph of NIR, for other simulators."""

from __future__ import annotations

import importlib
import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dvsprep.errors import DvsprepError, UsageError
from train import arguments, checkpoint, functional, neuron
from train.logs import say
from train.nir_read import from_nir, load
from train.nir_write import nir, to_nir
from train.trainer import Trainer

__all__ = ["load", "main", "to_nir"]


def parser() -> arguments.Parser:
    """Return the parser of the flags."""
    made = arguments.Parser(prog="python -m train.export", description="Write a trained network as a graph of NIR.")
    made.add_argument("checkpoint", type=Path, help="a checkpoint, or a run's folder, whose best one is taken")
    made.add_argument("-o", "--output", type=Path, help="the file to write; beside the checkpoint unless told")
    made.add_argument("--trainer", metavar="MODULE:CLASS", help="what trained it, if that is a script of your own")
    made.add_argument("--force", action="store_true", help="replace the file if it is there")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run; return the exit code."""
    try:
        args = parser().parse(argv)
        found = checkpoint.find(args.checkpoint, checkpoint.BEST)
        target = args.output or found.with_suffix(".nir")
        if target.exists() and not args.force:
            raise UsageError(f"{target}: exists", hint="--force replaces it")
        net, shape = rebuild(found, args.trainer)
        graph = to_nir(net, shape)
        told = {"output": str(target), "nodes": len(graph.nodes), **compare(net, graph, shape)}
        nir().write(target, graph)
    except DvsprepError as error:
        say(f"train.export: {' '.join(str(error).split())}")
        return error.exit_code
    print(json.dumps(told), flush=True)  # noqa: T201
    return 0


def rebuild(path: Path, trainer: str | None = None) -> tuple[nn.Module, tuple[int, ...]]:
    """Return the network of a checkpoint and the shape of its input at one step.

    Parameters
    ----------
    trainer : str, optional
        ``module:Class`` of the trainer that wrote it; the scripts of ``train`` are found by themselves.
    """
    content = checkpoint.load(path)
    if not content.get("input"):
        raise UsageError(f"{path}: does not tell the shape of its network's input", hint="--resume it for an epoch")
    made = _trainer(path, content["trainer"], trainer)
    args = made.get_args_parser().parse([])
    known: dict[str, Any] = {"facts": content["facts"], "resume": path, "num_classes": content["num_classes"]}
    args = Namespace(**{**vars(args), **content["args"], **known})
    net = made.load_model(args, content["num_classes"])
    checkpoint.load_net(net, checkpoint.shown(content), path)
    functional.set_step_mode(net, "m")
    return net.eval(), tuple(content["input"])


def _trainer(path: Path, name: str, told: str | None) -> Trainer:
    module, _, kind = (told or f"train.{name}").partition(":")
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise UsageError(f"{path}: written by trainer {name!r}: {error}", hint="--trainer MODULE:CLASS") from None
    kinds = [getattr(found, kind, None)] if kind else vars(found).values()
    for each in kinds:
        if isinstance(each, type) and issubclass(each, Trainer) and (kind or each.name == name):
            return each()
    raise UsageError(f"{module} has no trainer {kind or name!r}", hint="--trainer MODULE:CLASS")


@torch.no_grad()
def compare(net: nn.Module, graph: Any, shape: tuple[int, ...], T: int = 8, samples: int = 4) -> dict[str, int | float]:
    """Run network and graph on the same random input; count their neurons' outputs, and those that differ."""
    x = torch.rand((T, samples, *shape), generator=torch.Generator().manual_seed(0)) * 2
    outputs, spikes = [], []
    for each in (net.cpu(), from_nir(graph).eval()):
        fired: dict[str, Tensor] = {}
        hooks = [
            module.register_forward_hook(
                lambda _module, _inputs, s, fired=fired, name=name: fired.update({name: s.bool()})
            )
            for name, module in each.named_modules()
            if isinstance(module, neuron.BaseNode)
        ]
        functional.reset_net(each)
        outputs.append(each(x).mean(0))
        functional.reset_net(each)
        for hook in hooks:
            hook.remove()
        spikes.append([*fired.values()])
    differ = sum(int((a != b).sum()) for a, b in zip(*spikes, strict=True))
    return {
        "spikes": sum(int(s.sum()) for s in spikes[0]),
        "spikes_that_differ": differ,
        "mean_difference_of_scores": round(float((outputs[0] - outputs[1]).abs().mean()), 6),
    }


if __name__ == "__main__":
    sys.exit(main())
