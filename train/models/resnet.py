"""Spiking ResNet, ResNeXt and Wide ResNet (He et al. 2016, torchvision's graph), and SEW ResNet (Fang et al. 2021).

Input [T, N, 3, H, W], output class scores [T, N, classes]; scores are averaged over T. Names in the ``state_dict`` are
torchvision's, so that its weights load strictly; PLIF adds its ``w``, which keeps its value where a file has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any, ClassVar

from torch import Tensor, nn

from train import layer, neuron, surrogate
from train.functional import in_order, set_step_mode
from train.models import pretrained as weights
from train.models.connect import CONNECT, Connect, check_connect
from train.models.conv_fc import Neuron


def if_node() -> nn.Module:
    """Return the neuron of the field's spiking ResNets: IF, ATan, the reset detached."""
    return neuron.IFNode(surrogate_function=surrogate.ATan(), detach_reset=True)


class Block(nn.Module):
    """Convolutions and their BatchNorms beside a shortcut; a subclass gives the convolutions.

    Parameters
    ----------
    inputs, width, outputs : int
        Channels before, inside and after the block.
    connect : {"ADD", "AND", "IAND"} or None
        None adds the shortcut to the input of the last neuron; a name connects the shortcut to its spikes.
    """

    chain = staticmethod(in_order)  # train.fused puts in its own
    expansion: ClassVar[int]
    sizes: ClassVar[tuple[int, ...]]  # of the convolutions' kernels
    strided: ClassVar[int]  # the convolution that has the stride

    def __init__(
        self, inputs: int, width: int, outputs: int, spiking: Neuron, stride: int, groups: int, connect: Connect | None
    ) -> None:
        super().__init__()
        self.connect = connect
        channels = [inputs, *[width] * (len(self.sizes) - 1), outputs]
        for i, size in enumerate(self.sizes):
            conv = layer.Conv2d(
                channels[i],
                channels[i + 1],
                size,
                stride=stride if i == self.strided else 1,
                padding=size // 2,
                groups=groups if size == 3 else 1,
                bias=False,
            )
            setattr(self, f"conv{i + 1}", conv)
            setattr(self, f"bn{i + 1}", layer.BatchNorm2d(channels[i + 1]))
            setattr(self, f"sn{i + 1}", spiking())
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            shortcut = [layer.Conv2d(inputs, outputs, 1, stride=stride, bias=False), layer.BatchNorm2d(outputs)]
            self.downsample = nn.Sequential(*shortcut, *([] if connect is None else [spiking()]))

    def forward(self, x: Tensor) -> Tensor:
        """Return [T, N, C, H, W]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        numbers = range(1, len(self.sizes) + 1)
        modules = [getattr(self, f"{kind}{i}") for i in numbers for kind in ("conv", "bn", "sn")]
        if self.connect is not None:
            return CONNECT[self.connect](shortcut, self.chain(modules, x))
        return modules[-1](self.chain(modules[:-1], x) + shortcut)  # type: ignore[no-any-return]


class BasicBlock(Block):
    """Two convolutions of 3x3."""

    expansion, sizes, strided = 1, (3, 3), 0


class Bottleneck(Block):
    """Convolutions of 1x1, 3x3 and 1x1."""

    expansion, sizes, strided = 4, (1, 3, 1), 1


class SpikingResNet(nn.Module):
    """What the networks share; a subclass is the row of a table.

    Parameters
    ----------
    channels : int
        Of the stem; 64 in all published ones.
    spiking_neuron : callable
        Makes one layer of neurons; IF unless told.
    pretrained : bool or path
        A file of torchvision's weights, or True, which downloads it; see :mod:`train.models.pretrained`. The last
        layer stays new where ``classes`` are not the file's, which are then in ``pretrained_classes``.
    sensor : (H, W)
        Of no consequence: the last convolution's output is averaged over the image.
    classes, in_channels : int
    """

    chain = staticmethod(in_order)  # train.fused puts in its own
    default_channels: ClassVar[int] = 64
    default_sensor: ClassVar[tuple[int, int]] = (224, 224)
    default_in_channels: ClassVar[int] = 3
    default_classes: ClassVar[int] = 1000
    block: ClassVar[type[Block]] = BasicBlock
    depths: ClassVar[tuple[int, int, int, int]]
    groups: ClassVar[int] = 1
    width_per_group: ClassVar[int] = 64
    torchvision_file: ClassVar[str]

    def __init__(
        self,
        channels: int | None = None,
        spiking_neuron: Neuron | None = None,
        *,
        pretrained: bool | str | PathLike[str] = False,
        connect: Connect | None = None,
        sensor: tuple[int, int] | None = None,
        classes: int | None = None,
        in_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.channels = self.default_channels if channels is None else channels
        self.sensor = self.default_sensor if sensor is None else sensor
        self.classes = self.default_classes if classes is None else classes
        inputs = self.default_in_channels if in_channels is None else in_channels
        spiking = spiking_neuron or if_node
        self.conv1 = layer.Conv2d(inputs, self.channels, 7, stride=2, padding=3, bias=False)
        self.bn1 = layer.BatchNorm2d(self.channels)
        self.sn1 = spiking()
        self.maxpool = layer.MaxPool2d(3, stride=2, padding=1)
        inputs = self.channels
        for stage, depth in enumerate(self.depths):
            planes = self.channels << stage
            outputs = planes * self.block.expansion
            wide = max(1, planes * self.width_per_group // 64) * self.groups
            width = outputs if self.block is BasicBlock else wide
            blocks = []
            for i in range(depth):
                stride = 2 if stage and not i else 1
                blocks.append(self.block(inputs, width, outputs, spiking, stride, self.groups, connect))
                inputs = outputs
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.avgpool = layer.AdaptiveAvgPool2d((1, 1))
        self.fc = layer.Linear(inputs, self.classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        set_step_mode(self, "m")
        self.pretrained_classes: int | None = None
        if pretrained:
            self.pretrained_classes = weights.load(self, self.torchvision_file if pretrained is True else pretrained)

    def forward(self, x: Tensor) -> Tensor:
        """Return class scores [T, N, classes]."""
        names = ("conv1", "bn1", "sn1", "maxpool", "layer1", "layer2", "layer3", "layer4")
        modules = [getattr(self, name) for name in names]
        return self.fc(self.avgpool(self.chain(modules, x)).flatten(-3))  # type: ignore[no-any-return]

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load weights; those of a network that has no neurons leave the neurons' own parameters as they are."""
        nodes = {name for name, module in self.named_modules() if isinstance(module, neuron.FiringNode)}
        mine = {key: value for key, value in self.state_dict().items() if key.rpartition(".")[0] in nodes}
        if not mine.keys() & state_dict.keys():
            state_dict = {**state_dict, **mine}
        return super().load_state_dict(state_dict, strict, assign)


class SpikingResNet18(SpikingResNet):
    """ResNet-18."""

    depths, torchvision_file = (2, 2, 2, 2), "resnet18-f37072fd.pth"


class SpikingResNet34(SpikingResNet):
    """ResNet-34."""

    depths, torchvision_file = (3, 4, 6, 3), "resnet34-b627a593.pth"


class SpikingResNet50(SpikingResNet):
    """ResNet-50."""

    block, depths, torchvision_file = Bottleneck, (3, 4, 6, 3), "resnet50-0676ba61.pth"


class SpikingResNet101(SpikingResNet):
    """ResNet-101."""

    block, depths, torchvision_file = Bottleneck, (3, 4, 23, 3), "resnet101-63fe2227.pth"


class SpikingResNet152(SpikingResNet):
    """ResNet-152."""

    block, depths, torchvision_file = Bottleneck, (3, 8, 36, 3), "resnet152-394f9c45.pth"


class SpikingResNeXt50(SpikingResNet50):
    """ResNeXt-50 32x4d."""

    groups, width_per_group, torchvision_file = 32, 4, "resnext50_32x4d-7cdf4587.pth"


class SpikingResNeXt101(SpikingResNet101):
    """ResNeXt-101 32x8d."""

    groups, width_per_group, torchvision_file = 32, 8, "resnext101_32x8d-8ba56ff5.pth"


class SpikingWideResNet50(SpikingResNet50):
    """Wide ResNet-50-2."""

    width_per_group, torchvision_file = 128, "wide_resnet50_2-95faca4d.pth"


class SpikingWideResNet101(SpikingResNet101):
    """Wide ResNet-101-2."""

    width_per_group, torchvision_file = 128, "wide_resnet101_2-32ee1156.pth"


class _SEW(SpikingResNet):
    """Every block ends in spikes, and these meet those of its input: ``connect`` is ADD unless told."""

    def __init__(self, *args: Any, connect: Connect = "ADD", **options: Any) -> None:
        check_connect(connect)
        super().__init__(*args, connect=connect, **options)


class SEWResNet18(_SEW, SpikingResNet18):
    """SEW ResNet-18."""


class SEWResNet34(_SEW, SpikingResNet34):
    """SEW ResNet-34."""


class SEWResNet50(_SEW, SpikingResNet50):
    """SEW ResNet-50."""


class SEWResNet101(_SEW, SpikingResNet101):
    """SEW ResNet-101."""


class SEWResNet152(_SEW, SpikingResNet152):
    """SEW ResNet-152."""


RESNETS: dict[str, type[SpikingResNet]] = {
    "spiking_resnet18": SpikingResNet18,
    "spiking_resnet34": SpikingResNet34,
    "spiking_resnet50": SpikingResNet50,
    "spiking_resnet101": SpikingResNet101,
    "spiking_resnet152": SpikingResNet152,
    "spiking_resnext50_32x4d": SpikingResNeXt50,
    "spiking_resnext101_32x8d": SpikingResNeXt101,
    "spiking_wide_resnet50_2": SpikingWideResNet50,
    "spiking_wide_resnet101_2": SpikingWideResNet101,
    "sew_resnet18": SEWResNet18,
    "sew_resnet34": SEWResNet34,
    "sew_resnet50": SEWResNet50,
    "sew_resnet101": SEWResNet101,
    "sew_resnet152": SEWResNet152,
}
