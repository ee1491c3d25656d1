"""Optimisers, learning-rate schedules, the averaged network and what is mixed into a batch, by the flags' names."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

OPTIMIZERS: dict[str, Callable[[Any, Namespace], Optimizer]] = {
    "sgd": lambda groups, args: SGD(groups, args.lr, args.momentum, fused=fused(args)),
    "sgd_nesterov": lambda groups, args: SGD(groups, args.lr, args.momentum, nesterov=True, fused=fused(args)),
    "rmsprop": lambda groups, args: RMSprop(groups, args.lr, momentum=args.momentum, eps=0.0316, alpha=0.9),
    "adamw": lambda groups, args: AdamW(groups, args.lr, fused=fused(args)),
    "adam": lambda groups, args: Adam(groups, args.lr, fused=fused(args)),
}
SCHEDULES = ("cosa", "step", "exp", "none")
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": nn.functional.mse_loss,
    "ce": nn.functional.cross_entropy,
}
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


def fused(args: Namespace) -> bool | None:
    """Tell whether torch has this device's step as one kernel, a third of the time on a CPU; None lets torch choose."""
    return args.device.startswith(("cpu", "cuda")) or None


def parameter_groups(net: nn.Module, args: Namespace) -> list[dict[str, Any]]:
    """Return the trainable parameters; those of norms and single numbers (PLIF's w) with their own weight decay."""
    norm = {id(p) for module in net.modules() if isinstance(module, _NORMS) for p in module.parameters(recurse=False)}
    trainable = [p for p in net.parameters() if p.requires_grad]
    if args.norm_weight_decay is None:
        return [{"params": trainable, "weight_decay": args.wd}]
    special = [p for p in trainable if id(p) in norm or p.dim() == 0]
    others = [p for p in trainable if not (id(p) in norm or p.dim() == 0)]
    return [
        {"params": others, "weight_decay": args.wd},
        {"params": special, "weight_decay": args.norm_weight_decay},
    ]


def lr_factor(epoch: int, args: Namespace) -> float:
    """Return the learning rate of an epoch as a part of ``--lr``: warm-up, then cosine, steps or exponential."""
    warmup = args.lr_warmup_epochs
    if epoch < warmup:
        if args.lr_warmup_method == "constant":
            return float(args.lr_warmup_decay)
        return float(args.lr_warmup_decay + (1 - args.lr_warmup_decay) * epoch / warmup)
    epoch, epochs = epoch - warmup, max(1, args.epochs - warmup)
    if args.lr_scheduler == "cosa":
        return (1 + math.cos(math.pi * min(epoch, epochs) / epochs)) / 2
    if args.lr_scheduler == "step":
        return float(args.lr_gamma ** (epoch // args.lr_step_size))
    return float(args.lr_gamma**epoch) if args.lr_scheduler == "exp" else 1.0


def schedule(optimizer: Optimizer, args: Namespace) -> LambdaLR:
    """Return the schedule that the flags spell, stepped once an epoch."""
    return LambdaLR(optimizer, lambda epoch: lr_factor(epoch, args))


def averaged(net: nn.Module, decay: float) -> AveragedModel:
    """Return the exponential moving average of a network, buffers too."""
    average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(net, multi_avg_fn=average, use_buffers=True)


def soft_targets(labels: Tensor, classes: int, smoothing: float = 0.0) -> Tensor:
    """Return float[N, classes]: one-hot, ``smoothing`` of it spread over all classes."""
    return nn.functional.one_hot(labels, classes).float() * (1 - smoothing) + smoothing / classes


def mix(x: Tensor, target: Tensor, mixup_alpha: float, cutmix_alpha: float) -> tuple[Tensor, Tensor]:
    """Mix every sample with its neighbour in the batch: mixup, or cutmix with one box for all frames.

    Zhang et al. 2018 and Yun et al. 2019; where both are asked for, one of them is drawn.

    Parameters
    ----------
    x : Tensor
        [T, N, C, H, W] or [N, C, H, W].
    target : Tensor
        float[N, classes].
    """
    alphas = [alpha for alpha in (mixup_alpha, cutmix_alpha) if alpha > 0]
    if not alphas:
        return x, target
    cut = cutmix_alpha > 0 and (mixup_alpha <= 0 or bool(torch.rand(()) < 0.5))
    alpha = cutmix_alpha if cut else mixup_alpha
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    axis = x.dim() - 4
    other = x.roll(1, axis)
    if cut:
        H, W = x.shape[-2:]
        h, w = (int(size * math.sqrt(1 - share)) for size in (H, W))
        top, left = (int(torch.randint(0, size - part + 1, ())) for size, part in ((H, h), (W, w)))
        x = x.clone()
        x[..., top : top + h, left : left + w] = other[..., top : top + h, left : left + w]
        share = 1 - h * w / (H * W)
    else:
        x = x * share + other * (1 - share)
    return x, target * share + target.roll(1, 0) * (1 - share)


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Tell whether no tensor holds NaN or infinity."""
    return all(bool(torch.isfinite(t).all()) for t in tensors if t.is_floating_point())
