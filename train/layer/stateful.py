"""Layers with state: a dropout mask that lasts a sequence, and a synapse that forgets only while nothing arrives."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from dvsprep.errors import UsageError
from train import backends
from train.backends.cpu import recurrent
from train.base import MemoryModule, steps


class Dropout(MemoryModule):
    """Dropout with one mask a sequence: drawn at the first step, the same for all, until reset.

    A mask drawn anew at every step would be averaged out over time (Lee et al. 2020, arXiv 1903.06379).
    """

    mask: Tensor | None

    def __init__(self, p: float = 0.5, step_mode: str = "s") -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise UsageError(f"{type(self).__name__}: p has to be in [0, 1), got {p}")
        self.p = p
        self.step_mode = step_mode
        self.register_memory("mask", None)

    def mask_shape(self, x: Tensor) -> torch.Size:
        """Return the shape of the mask for one step ``x``."""
        return x.shape

    def single_step_forward(self, x: Tensor) -> Tensor:
        """Run one step; x is [N, *]."""
        return x * self._mask(x) if self.training else x

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        """Run all steps; x_seq is [T, N, *]."""
        return x_seq * self._mask(x_seq[0]) if self.training else x_seq

    def _mask(self, x: Tensor) -> Tensor:
        shape = self.mask_shape(x)
        self.check_memory("mask", shape, x)
        if self.mask is None:
            self.mask = dropout(x.new_ones(shape), self.p)
        return self.mask

    def extra_repr(self) -> str:
        return f"p={self.p}, step_mode={self.step_mode}"


class Dropout2d(Dropout):
    """Dropout of whole channels of [N, C, H, W], with one mask a sequence."""

    def __init__(self, p: float = 0.2, step_mode: str = "s") -> None:
        super().__init__(p, step_mode)

    def mask_shape(self, x: Tensor) -> torch.Size:
        if x.dim() != 4:
            raise UsageError(f"Dropout2d: one step has to be [N, C, H, W], got {list(x.shape)}")
        return torch.Size([*x.shape[:2], 1, 1])


class SynapseFilter(MemoryModule):
    """A synapse whose current decays where no spike arrives: y = y - (1 - x) y / tau + x.

    Parameters
    ----------
    tau : float
        The time constant in steps.
    learnable : bool
        Learn it, one a layer: 1/tau = sigmoid(w).
    backend : str
        "cpu" and "auto" run all steps of multi-step mode in one kernel where there is one; others run step by step.
    """

    y: Tensor | None

    def __init__(
        self, tau: float = 100.0, learnable: bool = False, step_mode: str = "s", backend: str = "torch"
    ) -> None:
        super().__init__()
        self.backend = backends.check_name(backend)
        if not (math.isfinite(tau) and tau > 1):
            raise UsageError(f"SynapseFilter: tau has to be greater than 1 step, got {tau}")
        self.learnable = learnable
        self.step_mode = step_mode
        self._tau = float(tau)
        if learnable:
            self.w = nn.Parameter(torch.tensor(-math.log(tau - 1.0)))
        self.register_memory("y", None)

    @property
    def tau(self) -> float:
        """The time constant as it is now, in steps."""
        return 1.0 / float(self.w.detach().sigmoid()) if self.learnable else self._tau

    def single_step_forward(self, x: Tensor) -> Tensor:
        """Run one step; x is [N, *]."""
        self.check_memory("y", x.shape, x)
        y = torch.zeros_like(x) if self.y is None else self.y
        decay = (1 - x) * y
        self.y = y - (decay * self.w.sigmoid() if self.learnable else decay / self._tau) + x
        return self.y

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        """Run all steps; x_seq is [T, N, *]."""
        steps(x_seq, "SynapseFilter")
        if self.backend not in ("cpu", "auto") or recurrent.why_not(x_seq) is not None:
            return super().multi_step_forward(x_seq)
        self.check_memory("y", x_seq.shape[1:], x_seq)
        y_seq = recurrent.synapse_filter(x_seq, self.y, self._tau, self.w if self.learnable else None)
        self.y = y_seq[-1]
        return y_seq

    def extra_repr(self) -> str:
        return f"tau={self.tau:g}, learnable={self.learnable}, step_mode={self.step_mode}"
