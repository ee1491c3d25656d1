"""The convolutional net of the field's Fashion-MNIST tutorial: a static image, shown T times, in; firing rates out."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from dvsprep.errors import UsageError
from train import layer, neuron, surrogate
from train.functional import set_step_mode
from train.models.conv_fc import Neuron


class CSNN(nn.Module):
    """``{Conv 3x3 - BatchNorm - IF - MaxPool 2x2} x 2, Linear - IF, Linear - IF``: [T, N, C, H, W] to [T, N, classes].

    The first three layers turn grey values into spikes; every layer above sees spikes only.

    Parameters
    ----------
    channels : int
    spiking_neuron : callable
        Makes one layer of neurons; IF with the ATan surrogate unless told.
    sensor : (H, W)
    classes, in_channels : int
    """

    default_channels: ClassVar[int] = 128
    default_sensor: ClassVar[tuple[int, int]] = (28, 28)
    default_in_channels: ClassVar[int] = 1
    default_classes: ClassVar[int] = 10

    def __init__(
        self,
        channels: int = default_channels,
        spiking_neuron: Neuron | None = None,
        *,
        sensor: tuple[int, int] = default_sensor,
        classes: int = default_classes,
        in_channels: int = default_in_channels,
    ) -> None:
        super().__init__()
        make = spiking_neuron or integrate
        features = channels * (sensor[0] // 4) * (sensor[1] // 4)
        if features == 0:
            raise UsageError(f"CSNN halves images of {sensor[0]} x {sensor[1]} twice: they are too small")
        modules: list[nn.Module] = []
        for inputs in (in_channels, channels):
            modules += [
                layer.Conv2d(inputs, channels, kernel_size=3, padding=1, bias=False),
                layer.BatchNorm2d(channels),
                make(),
                layer.MaxPool2d(2, 2),
            ]
        self.conv_fc = nn.Sequential(
            *modules,
            layer.Flatten(),
            layer.Linear(features, channels * 16, bias=False),
            make(),
            layer.Linear(channels * 16, classes, bias=False),
            make(),
        )
        set_step_mode(self, "m")

    def forward(self, x: Tensor) -> Tensor:
        """Return spikes [T, N, classes] of images [T, N, C, H, W]."""
        spikes: Tensor = self.conv_fc(x)
        return spikes

    def spiking_encoder(self) -> nn.Sequential:
        """Return the first three layers: images in, the first spikes out."""
        return nn.Sequential(*list(self.conv_fc)[:3])


def integrate() -> nn.Module:
    """Return the neuron of the tutorial: IF, ATan."""
    return neuron.IFNode(surrogate_function=surrogate.ATan())
