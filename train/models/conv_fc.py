"""The convolutional nets of the PLIF paper (Fang et al. 2021), DVSGestureNet among them: one builder, one class each.

Blocks of ``Conv 3x3 - BatchNorm - neuron`` ended by ``MaxPool 2x2``, then two fully connected layers of neurons and a
vote of ten neurons a class. Input [T, N, C, H, W], output firing rates [T, N, classes].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from dvsprep.errors import UsageError
from train import layer
from train.functional import set_step_mode

Neuron = Callable[[], nn.Module]
VOTERS = 10


class ConvFC(nn.Module):
    """What the nets share; a subclass is the row of a table.

    Parameters
    ----------
    channels : int
        Of every convolution.
    spiking_neuron : callable
        Makes one layer of neurons.
    sensor : (H, W)
    classes, in_channels : int
    """

    default_channels: ClassVar[int] = 128
    default_sensor: ClassVar[tuple[int, int]] = (128, 128)
    default_in_channels: ClassVar[int] = 2
    default_classes: ClassVar[int] = 10
    blocks: ClassVar[int] = 2
    convolutions: ClassVar[int] = 1  # in a block
    hidden: ClassVar[int] = 2048

    def __init__(
        self,
        channels: int | None = None,
        spiking_neuron: Neuron | None = None,
        *,
        sensor: tuple[int, int] | None = None,
        classes: int | None = None,
        in_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.channels = self.default_channels if channels is None else channels
        self.sensor = self.default_sensor if sensor is None else sensor
        self.classes = self.default_classes if classes is None else classes
        neuron = spiking_neuron or plif
        features = self.channels
        for size in self.sensor:
            features *= size >> self.blocks
        if features == 0:
            raise UsageError(
                f"{type(self).__name__} halves the sensor {self.blocks} times, which {self.sensor[0]} x "
                f"{self.sensor[1]} pixels do not allow",
                hint=f"it needs at least {1 << self.blocks} pixels each way; choose another --model",
            )
        modules: list[nn.Module] = []
        inputs = self.default_in_channels if in_channels is None else in_channels
        for _ in range(self.blocks):
            for _ in range(self.convolutions):
                modules += [
                    layer.Conv2d(inputs, self.channels, kernel_size=3, padding=1, bias=False),
                    layer.BatchNorm2d(self.channels),
                    neuron(),
                ]
                inputs = self.channels
            modules.append(layer.MaxPool2d(2, 2))
        modules += [
            layer.Flatten(),
            layer.Dropout(0.5),
            layer.Linear(features, self.hidden),
            neuron(),
            layer.Dropout(0.5),
            layer.Linear(self.hidden, self.classes * VOTERS),
            neuron(),
            layer.VotingLayer(VOTERS),
        ]
        self.conv_fc = nn.Sequential(*modules)
        set_step_mode(self, "m")

    def forward(self, x: Tensor) -> Tensor:
        """Return firing rates [T, N, classes] of frames [T, N, C, H, W]."""
        rates: Tensor = self.conv_fc(x)
        return rates


def plif() -> nn.Module:
    """Return the neuron of the paper: PLIF, tau 2 at first, ATan, the reset detached."""
    from train import neuron, surrogate

    return neuron.ParametricLIFNode(init_tau=2.0, surrogate_function=surrogate.ATan(), detach_reset=True)


class MNISTNet(ConvFC):
    """For MNIST and Fashion-MNIST."""

    default_sensor = (28, 28)
    default_in_channels = 1


class FashionMNISTNet(MNISTNet):
    """The same as MNISTNet."""


class NMNISTNet(ConvFC):
    """For N-MNIST."""

    default_sensor = (34, 34)


class CIFAR10Net(ConvFC):
    """For CIFAR10; three convolutions a block."""

    default_channels = 256
    default_sensor = (32, 32)
    default_in_channels = 3
    convolutions = 3


class CIFAR10DVSNet(ConvFC):
    """For CIFAR10-DVS."""

    blocks = 4
    hidden = 512


class DVSGestureNet(ConvFC):
    """For DVS128 Gesture."""

    default_classes = 11
    blocks = 5
    hidden = 512
