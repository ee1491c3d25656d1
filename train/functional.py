"""Functions on whole networks and sequences: step mode, backend, reset; time folded into the batch, or looped over."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from dvsprep.errors import UsageError
from train import backends
from train.base import STEP_MODES, MemoryModule, steps

Step = Callable[[Tensor], Tensor]


def set_step_mode(net: nn.Module, step_mode: str) -> None:
    """Set the step mode of all modules, but of those inside step-mode containers, which stay as they are."""
    if step_mode not in STEP_MODES:
        raise UsageError(f"step_mode has to be 's' or 'm', got {step_mode!r}")
    if hasattr(net, "step_mode"):
        net.step_mode = step_mode  # type: ignore[assignment]
    if not getattr(net, "keeps_step_mode_of_children", False):
        for child in net.children():
            set_step_mode(child, step_mode)


def set_backend(
    net: nn.Module, backend: str, instance: type[nn.Module] | tuple[type[nn.Module], ...] | None = None
) -> None:
    """Set the backend of all neurons, or of those that are an ``instance``.

    Raises
    ------
    BackendError
        If the backend cannot be used on this machine; nothing has been changed then.
    """
    if backends.check_name(backend) != "auto":
        backends.get(backend)
    for module in net.modules():
        if hasattr(module, "backend") and (instance is None or isinstance(module, instance)):
            module.backend = backend  # type: ignore[assignment]


def reset_net(net: nn.Module) -> None:
    """Forget the state of all modules; call it between batches."""
    for module in net.modules():
        if callable(reset := getattr(module, "reset", None)):
            reset()


def detach_net(net: nn.Module) -> None:
    """Cut the state of all modules off its graph, for truncated backpropagation through time."""
    for module in net.modules():
        if isinstance(module, MemoryModule):
            module.detach()


def seq_to_ann_forward(x_seq: Tensor, stateless_module: Step | Sequence[Step]) -> Tensor:
    """Run stateless modules on all steps at once: [T, N, *] is folded to [T N, *] and back."""
    y = x_seq.flatten(0, 1)
    for module in _each(stateless_module):
        y = module(y)
    return y.view(*x_seq.shape[:2], *y.shape[1:])


def step_of_all(x_seq: Tensor) -> Tensor | None:
    """Return the step [N, *] that a sequence made by ``expand`` repeats: a static image. None if steps may differ.

    It is the very tensor that was expanded, if that is known: a gradient reaches it without a detour over T steps.
    """
    if len(x_seq) < 2 or x_seq.stride(0) != 0:
        return None
    made_by, base = x_seq.grad_fn, x_seq._base
    if made_by is not None and base is not None and not x_seq._backward_hooks:
        direct = made_by.next_functions[0] == (base.grad_fn, base.output_nr)
        if direct and (base.shape, base.stride()) == (x_seq.shape[1:], x_seq.stride()[1:]):
            return base
    return x_seq[0]


def multi_step_forward(x_seq: Tensor, single_step_module: Step | Sequence[Step]) -> Tensor:
    """Run single-step modules on one step after the other and stack what they return."""
    outputs = []
    for y in steps(x_seq, "multi_step_forward"):
        for module in _each(single_step_module):
            y = module(y)
        outputs.append(y)
    return torch.stack(outputs)


def in_order(modules: Sequence[Step], x: Tensor) -> Tensor:
    """Run modules one after the other."""
    for module in modules:
        x = module(x)
    return x


def _each(modules: Step | Sequence[Step]) -> Sequence[Step]:
    return modules if isinstance(modules, list | tuple) else (modules,)
