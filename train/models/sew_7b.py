"""The event nets of the SEW ResNet paper (Fang et al. 2021): 7B-Net for DVS128 Gesture, Wide-7B-Net for CIFAR10-DVS.

``1x1 convolution`` stems and seven spike-element-wise blocks, each followed by ``MaxPool 2x2``; as in the paper's
repository, whose first convolution is 1x1 where its text says 3x3.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from dvsprep.errors import UsageError
from train import layer
from train.functional import set_step_mode
from train.models.connect import CONNECT, Connect, check_connect
from train.models.conv_fc import Neuron, plif


def conv(inputs: int, outputs: int, size: int, neuron: Neuron) -> nn.Sequential:
    """Return convolution, BatchNorm and neuron."""
    return nn.Sequential(
        layer.Conv2d(inputs, outputs, kernel_size=size, padding=size // 2, bias=False),
        layer.BatchNorm2d(outputs),
        neuron(),
    )


class SEWBlock(nn.Module):
    """Two 3x3 convolutions, whose spikes y meet the input's: ADD x + y, AND x y, IAND x (1 - y)."""

    def __init__(self, channels: int, connect: Connect, neuron: Neuron) -> None:
        super().__init__()
        self.connect = check_connect(connect)
        self.conv = nn.Sequential(conv(channels, channels, 3, neuron), conv(channels, channels, 3, neuron))

    def forward(self, x: Tensor) -> Tensor:
        """Return [T, N, C, H, W]."""
        return CONNECT[self.connect](x, self.conv(x))


class SEW7BNet(nn.Module):
    """7B-Net: input [T, N, C, H, W], output class scores [T, N, classes]; scores are averaged over T.

    Parameters
    ----------
    channels : int
        Of the first stage.
    spiking_neuron : callable
    connect : {"ADD", "AND", "IAND"}
    sensor : (H, W)
    classes, in_channels : int
    """

    default_channels: ClassVar[int] = 32
    default_sensor: ClassVar[tuple[int, int]] = (128, 128)
    default_in_channels: ClassVar[int] = 2
    default_classes: ClassVar[int] = 11
    stages: ClassVar[tuple[tuple[int, int], ...]] = ((1, 7),)  # (channels in units of the first stage's, blocks)

    def __init__(
        self,
        channels: int | None = None,
        spiking_neuron: Neuron | None = None,
        *,
        connect: Connect = "ADD",
        sensor: tuple[int, int] | None = None,
        classes: int | None = None,
        in_channels: int | None = None,
    ) -> None:
        super().__init__()
        neuron = spiking_neuron or plif
        self.channels = self.default_channels if channels is None else channels
        self.sensor = self.default_sensor if sensor is None else sensor
        self.classes = self.default_classes if classes is None else classes
        halvings = sum(blocks for _, blocks in self.stages)
        height, width = (size >> halvings for size in self.sensor)
        if height * width == 0:
            raise UsageError(
                f"{type(self).__name__} halves the sensor {halvings} times, which {self.sensor[0]} x {self.sensor[1]} "
                "pixels do not allow",
                hint=f"it needs at least {1 << halvings} pixels each way; choose another --model",
            )
        modules: list[nn.Module] = []
        inputs = self.default_in_channels if in_channels is None else in_channels
        for factor, blocks in self.stages:
            outputs = factor * self.channels
            modules.append(conv(inputs, outputs, 1, neuron))
            for _ in range(blocks):
                modules += [SEWBlock(outputs, connect, neuron), layer.MaxPool2d(2, 2)]
            inputs = outputs
        self.conv = nn.Sequential(*modules, layer.Flatten())
        self.out = layer.Linear(inputs * height * width, self.classes)
        set_step_mode(self, "m")

    def forward(self, x: Tensor) -> Tensor:
        """Return class scores [T, N, classes]."""
        scores: Tensor = self.out(self.conv(x))
        return scores


class SEWWide7BNet(SEW7BNet):
    """Wide-7B-Net."""

    default_channels = 64
    default_classes = 10
    stages = ((1, 4), (2, 3))
