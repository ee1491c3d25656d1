"""A name in, a network out: frames [T, N, C, H, W] -> class scores [T, N, classes]."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatch
from typing import Any

from torch import nn

from dvsprep.errors import UsageError
from train.models.conv_fc import (
    CIFAR10DVSNet,
    CIFAR10Net,
    DVSGestureNet,
    FashionMNISTNet,
    MNISTNet,
    NMNISTNet,
)
from train.models.csnn import CSNN
from train.models.resnet import RESNETS, SpikingResNet
from train.models.sequential import FeedBackNet, PlainNet, StatefulSynapseNet
from train.models.sew_7b import SEW7BNet, SEWWide7BNet

MODELS: dict[str, Callable[..., nn.Module]] = {
    "dvs_gesture_net": DVSGestureNet,
    "mnist_net": MNISTNet,
    "fashion_mnist_net": FashionMNISTNet,
    "nmnist_net": NMNISTNet,
    "csnn": CSNN,
    "cifar10_net": CIFAR10Net,
    "cifar10dvs_net": CIFAR10DVSNet,
    "sew_7b_net": SEW7BNet,
    "sew_wide_7b_net": SEWWide7BNet,
    **RESNETS,
}

__all__ = [
    "CSNN",
    "MODELS",
    "CIFAR10DVSNet",
    "CIFAR10Net",
    "DVSGestureNet",
    "FashionMNISTNet",
    "FeedBackNet",
    "MNISTNet",
    "NMNISTNet",
    "PlainNet",
    "SEW7BNet",
    "SEWWide7BNet",
    "SpikingResNet",
    "StatefulSynapseNet",
    "build",
    "list_models",
]


def list_models(pattern: str = "*") -> list[str]:
    """Return the names that :func:`build` knows."""
    return [name for name in MODELS if fnmatch(name, pattern)]


def build(name: str, **parameters: Any) -> nn.Module:
    """Return a new network."""
    if name not in MODELS:
        raise UsageError(f"no model is named {name!r}", hint=f"there are {', '.join(MODELS)}")
    return MODELS[name](**parameters)
