"""Containers over time: loop over the steps, fold them into the batch, or feed the output of a step into the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from dvsprep.errors import UsageError
from train import neuron
from train.backends.cpu import recurrent
from train.base import MemoryModule, StepModule, steps
from train.functional import Step, multi_step_forward, seq_to_ann_forward


class MultiStepContainer(StepModule, nn.Sequential):
    """Modules that see single steps, run one step after the other."""

    keeps_step_mode_of_children = True
    _step_mode = "m"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        _check_single_step(*self)

    def forward(self, x: Tensor) -> Tensor:
        run: Step = super().forward
        return run(x) if self.step_mode == "s" else multi_step_forward(x, run)


class SeqToANNContainer(StepModule, nn.Sequential):
    """Stateless modules, run on all steps at once: [T, N, *] is folded to [T N, *] and back."""

    keeps_step_mode_of_children = True
    _step_mode = "m"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        _check_single_step(*self)
        for module in self.modules():
            if isinstance(module, MemoryModule):
                raise UsageError(
                    f"SeqToANNContainer holds stateless modules only, got a {type(module).__name__}",
                    hint="put it beside the container, or into a MultiStepContainer",
                )

    def forward(self, x: Tensor) -> Tensor:
        run: Step = super().forward
        return run(x) if self.step_mode == "s" else seq_to_ann_forward(x, run)


class ElementWiseRecurrentContainer(MemoryModule):
    """Feedback, element by element: y[t] = sub_module(f(x[t], y[t-1])), y[-1] = 0.

    Parameters
    ----------
    sub_module : Module
        Single-step; its output has the shape of its input.
    element_wise_function : callable
        f(x, y): the input of this step first, the output of the last step second.
    """

    keeps_step_mode_of_children = True
    y: Tensor | None

    def __init__(
        self,
        sub_module: nn.Module,
        element_wise_function: Callable[[Tensor, Tensor], Tensor],
        step_mode: str = "s",
    ) -> None:
        super().__init__()
        _check_single_step(sub_module)
        self.sub_module = sub_module
        self.element_wise_function = element_wise_function
        self.step_mode = step_mode
        self.register_memory("y", None)

    def single_step_forward(self, x: Tensor) -> Tensor:
        """Run one step; x is [N, *]."""
        self.check_memory("y", x.shape, x)
        before = torch.zeros_like(x) if self.y is None else self.y
        y: Tensor = self.sub_module(self.element_wise_function(x, before))
        self.y = y
        return y

    def extra_repr(self) -> str:
        function = getattr(self.element_wise_function, "__name__", repr(self.element_wise_function))
        return f"element_wise_function={function}, step_mode={self.step_mode}"


class LinearRecurrentContainer(MemoryModule):
    """Feedback through a linear layer: y[t] = sub_module(rc(cat(x[t], y[t-1]))), y[-1] = 0.

    Parameters
    ----------
    sub_module : Module
        Single-step, from [*, in_features] to [*, out_features].
    """

    keeps_step_mode_of_children = True
    y: Tensor | None

    def __init__(
        self, sub_module: nn.Module, in_features: int, out_features: int, bias: bool = True, step_mode: str = "s"
    ) -> None:
        super().__init__()
        _check_single_step(sub_module)
        self.sub_module = sub_module
        self.rc = nn.Linear(in_features + out_features, in_features, bias)
        self.out_features = out_features
        self.step_mode = step_mode
        self.register_memory("y", None)

    def single_step_forward(self, x: Tensor) -> Tensor:
        """Run one step; x is [N, in_features], or with more axes between."""
        shape = torch.Size([*x.shape[:-1], self.out_features])
        self.check_memory("y", shape, x)
        before = x.new_zeros(shape) if self.y is None else self.y
        y: Tensor = self.sub_module(self.rc(torch.cat([x, before], -1)))
        self.y = y
        return y

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        """Run all steps; x_seq is [T, N, in_features].

        Around a neuron of backend "cpu" or "auto" in one kernel: the input's part of ``rc`` is one product for all
        steps, and only the spikes' part waits for the step before. Sums are then taken in another order.
        """
        steps(x_seq, "LinearRecurrentContainer")
        node = self.sub_module
        if not self._is_fusible(node, x_seq):
            return super().multi_step_forward(x_seq)
        assert isinstance(node, neuron.BaseNode)
        self.check_memory("y", x_seq.shape[1:], x_seq)
        own = self.rc.weight[:, : self.rc.out_features]
        input_seq = linear(x_seq, own, self.rc.bias)
        v = node.potential(input_seq[0])
        back = self.rc.weight[:, self.rc.out_features :]
        s_seq, node.v = recurrent.feedback(node.spec, input_seq, back, self.y, v, node.inverse_tau_parameter())
        self.y = s_seq[-1]
        return s_seq

    def _is_fusible(self, node: nn.Module, x_seq: Tensor) -> bool:
        if (
            type(node) not in (neuron.IFNode, neuron.LIFNode, neuron.ParametricLIFNode)
            or type(self.rc) is not nn.Linear
        ):
            return False
        assert isinstance(node, neuron.BaseNode)
        watched = any((m._forward_hooks or m._forward_pre_hooks or m._backward_hooks) for m in (node, self.rc))
        same = self.out_features == self.rc.out_features == x_seq.shape[-1]
        wanted = node.backend in ("cpu", "auto") and same and not watched
        return wanted and recurrent.why_not(x_seq, node.spec) is None

    def extra_repr(self) -> str:
        return f"step_mode={self.step_mode}"


def _check_single_step(*inside: nn.Module) -> None:
    """Raise UsageError if a module inside a container would take a single step for a sequence."""
    for module in (module for child in inside for module in child.modules()):
        if getattr(module, "step_mode", "s") != "s":
            raise UsageError(
                f"{type(module).__name__} inside a step-mode container has step_mode 'm', expected 's'",
                hint="a container hands single steps to what it holds",
            )
