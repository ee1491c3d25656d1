"""SpikingJelly's side of a training step, in its own Python: multi-step mode, as its tutorials run it."""

from __future__ import annotations

from importlib.metadata import version

import torch
from torch import nn

from benchmarks.child import Laps, Request, serve
from benchmarks.train import work


def load(_: Request) -> dict[str, str]:
    import spikingjelly.activation_based  # noqa: F401

    return {"spikingjelly": version("spikingjelly"), "torch": torch.__version__}


def task(request: Request, laps: Laps) -> None:
    from spikingjelly.activation_based import functional, layer, neuron, surrogate
    from spikingjelly.activation_based.model import parametric_lif_net

    def gesture_net(channels: int) -> nn.Module:
        return parametric_lif_net.DVSGestureNet(
            channels=channels,
            spiking_neuron=neuron.LIFNode,
            surrogate_function=surrogate.ATan(),
            detach_reset=True,
        )

    work.run(work.Library(layer, neuron, surrogate, functional, gesture_net, lambda net: net), request, laps)


if __name__ == "__main__":
    serve(load, dict.fromkeys(work.WORK, task))
