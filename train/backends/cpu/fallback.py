"""The same kernels where there is no C++ compiler: Numba's, which needs none; float32 only and more slowly."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from train.backends.cpu import _kernels
from train.backends.cpu.plan import Plan

BLOCK = 4096  # neurons a task, whatever the threads: sums are then taken in the same order with any number of them


class Fallback:
    """Numba's kernels, as the engine calls them."""

    dtypes: tuple[torch.dtype, ...] = (torch.float32,)

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def describe(self) -> str:
        """Return what runs and why, in words."""
        return f"Numba kernels, because the faster C++ ones are not there: {self.reason}"

    def forward(
        self, plan: Plan, x: Tensor, v_first: Tensor | None, s: Tensor, v_last: Tensor, v_seq: Tensor | None
    ) -> None:
        """Write s, v_last and v_seq."""
        neuron = (plan.charge, plan.hard, *map(np.float32, (plan.decay, plan.threshold, plan.reset)))
        v_first = _rest(plan, x) if v_first is None else v_first
        arrays = _sequence(x), _flat(v_first), _sequence(s), _flat(v_last), _sequence(v_seq)
        _each(v_first.numel(), functools.partial(_kernels.forward, *neuron, *arrays))

    def backward(
        self,
        plan: Plan,
        x: Tensor,
        v_first: Tensor | None,
        gradients: tuple[Tensor | None, Tensor | None, Tensor | None],
        gx: Tensor,
        gv_first: Tensor | None,
        *,
        decay_learns: bool,  # noqa: ARG002  it costs little here
    ) -> float:
        """Write gx and gv_first; return the gradient of 1/tau."""
        gs, gv, gv_seq = gradients
        v_first = _rest(plan, x) if v_first is None else v_first
        numbers = map(np.float32, (plan.decay, plan.threshold, plan.reset, plan.a, plan.b))
        neuron = (plan.charge, plan.hard, plan.detach, plan.surrogate, *numbers)
        gv = torch.zeros_like(v_first) if gv is None else gv
        gv_first = torch.empty_like(v_first) if gv_first is None else gv_first
        arrays = _sequence(x), _flat(v_first), _sequence(gs), _flat(gv), _sequence(gv_seq), _sequence(gx)
        return float(
            sum(_each(v_first.numel(), functools.partial(_kernels.backward, *neuron, *arrays, _flat(gv_first))))
        )


def _rest(plan: Plan, x: Tensor) -> Tensor:
    """Return the potential of every neuron at rest."""
    return torch.full(x.shape[1:], plan.reset)


def _sequence(x: Tensor | None) -> Any:
    """Return [T, N] over the memory of a sequence; empty for None."""
    if x is None or x.numel() == 0:
        return np.empty((0, 0) if x is None else (len(x), 0), np.float32)
    return x.detach().as_strided((len(x), x[0].numel()), (x.stride(0), 1)).numpy()


def _flat(x: Tensor) -> Any:
    return x.detach().as_strided((x.numel(),), (1,)).numpy()


def _each(neurons: int, work: Callable[[int, int], Any]) -> list[Any]:
    """Return what the kernel returns for each block of neurons, in order; threads share the blocks."""
    blocks = [(i, min(i + BLOCK, neurons)) for i in range(0, neurons, BLOCK)]
    if len(blocks) < 2 or torch.get_num_threads() == 1:
        return [work(*block) for block in blocks]
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        first = [work(*blocks[0])]  # compiles, if need be, before threads could do it twice
        return first + list(pool.map(lambda block: work(*block), blocks[1:]))
