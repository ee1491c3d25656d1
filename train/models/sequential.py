"""The field's three small networks that see an image column by column: plain, with a synapse filter, with feedback."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from train import layer, neuron, surrogate
from train.functional import set_step_mode


class PlainNet(nn.Module):
    """``Linear - IF - Linear - IF``, no memory but the neurons': [T, N, inputs] to spikes [T, N, classes].

    Parameters
    ----------
    inputs : int
        Pixels of a column.
    hidden, classes : int
    """

    detach_reset: ClassVar[bool] = False  # of the hidden neurons

    def __init__(self, inputs: int = 28, classes: int = 10, hidden: int = 32) -> None:
        super().__init__()
        node = neuron.IFNode(surrogate_function=surrogate.ATan(), detach_reset=self.detach_reset)
        self.fc = nn.Sequential(
            layer.Linear(inputs, hidden),
            *self.memory(node, hidden),
            layer.Linear(hidden, classes),
            neuron.IFNode(surrogate_function=surrogate.ATan()),
        )
        set_step_mode(self, "m")

    def memory(self, node: nn.Module, hidden: int) -> list[nn.Module]:  # noqa: ARG002
        """Return the hidden layer of neurons, and what makes it remember."""
        return [node]

    def forward(self, x: Tensor) -> Tensor:
        """Return spikes [T, N, classes] of columns [T, N, inputs]."""
        spikes: Tensor = self.fc(x)
        return spikes


class StatefulSynapseNet(PlainNet):
    """The hidden neurons' spikes charge a synapse that leaks only while none arrives; its time constant is learned."""

    def memory(self, node: nn.Module, hidden: int) -> list[nn.Module]:  # noqa: ARG002
        """Return the neurons and a synapse filter."""
        return [node, layer.SynapseFilter(tau=2.0, learnable=True)]


class FeedBackNet(PlainNet):
    """The hidden neurons see their own last spikes through a linear layer."""

    detach_reset = True

    def memory(self, node: nn.Module, hidden: int) -> list[nn.Module]:
        """Return the neurons in a feedback container."""
        return [layer.LinearRecurrentContainer(node, hidden, hidden, bias=True)]
