"""A network in, the same network out, with BatchNorm + neuron (+ MaxPool) runs of its Sequentials as one operation.

Modules, parameters, buffers and ``state_dict`` keys stay what they are: only how a Sequential calls them changes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from train import layer, neuron
from train.backends.cpu import block
from train.functional import in_order, step_of_all


class FusedSequential(nn.Sequential):
    """A Sequential that runs [BatchNorm2d, neuron, MaxPool2d(2)] at once where it can, and all else as it was."""

    def forward(self, x: Tensor) -> Tensor:
        """Run the modules in order."""
        return fused_in_order(list(self), x)


def fused_in_order(modules: Sequence[nn.Module], x: Tensor) -> Tensor:
    """Run modules one after the other, and at once those that can be."""
    done = 0
    while done < len(modules):
        taken = fusible(modules[done : done + 3], x)
        x = _run(modules[done : done + taken], x) if taken else modules[done](x)
        done += taken or 1
    return x


def fuse(net: nn.Module) -> nn.Module:
    """Let the Sequentials and the ``chain`` of a network's modules fuse what they can on the CPU; returns the network.

    Whether they can is decided at each call: neurons of backend "cpu" or "auto", multi-step, and no hooks on the
    modules, which have nothing to see then. Weights of convolutions are laid out channels_last, as the operation wants.
    """
    for module in net.modules():
        if type(module) is nn.Sequential:
            module.__class__ = FusedSequential
        elif getattr(module, "chain", None) is in_order:
            module.chain = fused_in_order  # type: ignore[assignment]
        elif isinstance(module, nn.Conv2d):
            # Written anew: `contiguous` leaves one input channel as it is, which torch then takes for the other layout.
            weight = module.weight.data
            module.weight.data = torch.empty_like(weight, memory_format=torch.channels_last).copy_(weight)
    return net


def fusible(modules: Sequence[nn.Module], x: Tensor) -> int:
    """Return how many of the first modules are one operation for this input: 3, 2, or 0."""
    if len(modules) < 2 or not _norm_fits(modules[0], x) or not _neuron_fits(modules[1], x):
        return 0
    return 3 if len(modules) > 2 and _pool_fits(modules[2]) else 2


def _norm_fits(module: nn.Module, x: Tensor) -> bool:
    if type(module) is not layer.BatchNorm2d or not _is_plain(module):
        return False
    fits = module.affine and module.track_running_stats and x.dim() == 5 and x.shape[2] == module.num_features
    return fits and x.numel() > x.shape[2]  # else torch says what is wrong


def _neuron_fits(module: nn.Module, x: Tensor) -> bool:
    if type(module) not in (neuron.IFNode, neuron.LIFNode, neuron.ParametricLIFNode) or not _is_plain(module):
        return False
    assert isinstance(module, neuron.BaseNode)
    wanted = module.backend in ("cpu", "auto") and not module.store_v_seq
    return wanted and block.why_not(module.spec, x) is None


def _pool_fits(module: nn.Module) -> bool:
    if type(module) is not layer.MaxPool2d or not _is_plain(module) or module.ceil_mode or module.return_indices:
        return False
    numbers = (module.kernel_size, module.stride, module.padding, module.dilation)
    return [n if isinstance(n, tuple) else (n, n) for n in numbers] == [(2, 2), (2, 2), (0, 0), (1, 1)]


def _is_plain(module: nn.Module) -> bool:
    """Whether it is multi-step and nobody watches it."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return getattr(module, "step_mode", "s") == "m" and not any(hooks)


def _run(modules: Sequence[nn.Module], x: Tensor) -> Tensor:
    """Run the modules as one; running statistics and the neuron's state are updated as they would do it."""
    norm, node = modules[0], modules[1]
    assert isinstance(norm, nn.BatchNorm2d)
    assert isinstance(node, neuron.BaseNode)
    v = None
    if isinstance(node.v, Tensor):
        node.check_memory("v", x.shape[1:], x)
        v = node.v
    T, count = len(x), x.numel() // x.shape[2]
    if (one := step_of_all(x)) is not None:  # the first layers of a network that is shown a static image
        x = one.unsqueeze(0)
    if norm.training:
        statistics = block.batch_statistics(x)
        _track(norm, statistics, count)
    else:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        statistics = norm.running_mean, norm.running_var
    s_seq, node.v = block.run_block(
        *(node.spec, x, T, statistics, (norm.weight, norm.bias), norm.eps, v, node.inverse_tau_parameter()),
        of_batch=norm.training,
        pool=len(modules) == 3,
    )
    return s_seq


@torch.no_grad()
def _track(norm: nn.BatchNorm2d, statistics: tuple[Tensor, Tensor], n: int) -> None:
    """Move the running statistics; the variance is the unbiased one, as in torch."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    factor = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    mean, variance = statistics
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), factor)
    norm.running_var.lerp_((variance * (n / (n - 1))).to(norm.running_var.dtype), factor)
