"""Our side of a training step: train, as its own scripts run it on the CPU."""

from __future__ import annotations

import functools

import torch
from torch import nn

from benchmarks.child import Laps, Request, serve
from benchmarks.train import floor, work


def load(_: Request) -> dict[str, str]:
    import dvsprep

    return {"train": dvsprep.__version__, "torch": torch.__version__}


def library(backend: str) -> work.Library:
    from train import functional, fused, layer, models, neuron, surrogate

    def gesture_net(channels: int) -> nn.Module:
        make = functools.partial(neuron.LIFNode, surrogate_function=surrogate.ATan(), detach_reset=True)
        return models.DVSGestureNet(channels, make)

    def prepared(net: nn.Module) -> nn.Module:
        functional.set_backend(net, backend)
        return net if backend == "torch" else fused.fuse(net)

    # Our scripts take the fused step (train.optim); the engine "torch" is the reference, with all as torch has it.
    fused_optimizer = None if backend == "torch" else True
    return work.Library(layer, neuron, surrogate, functional, gesture_net, prepared, fused_optimizer)


def task(request: Request, laps: Laps) -> None:
    """Run a step on the engine asked for; or measure the machine's own bandwidth."""
    if "floor" in request:
        laps.facts["seconds"] = floor.seconds(work.NEURONS[request["task"]], request["cores"])
        return
    if request["backend"] == "cpu":
        from train.backends import get

        laps.facts["kernels"] = get("cpu").describe()
    work.run(library(request["backend"]), request, laps)


if __name__ == "__main__":
    serve(load, dict.fromkeys(work.WORK, task))
