"""Neurons that never fire, for the last layer: what they return is read off the potential."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dvsprep.errors import UsageError
from train.base import MemoryModule, steps

DECODES = ("last-mem", "max-mem", "max-abs-mem", "mean-mem")


class NonSpikingBaseNode(MemoryModule):
    """What the neurons that never fire share.

    Parameters
    ----------
    decode : str or None
        What is returned of the potentials since the last reset: the last one ("last-mem"), the largest ("max-mem"), the
        one farthest from zero ("max-abs-mem") or their mean ("mean-mem"), [N, *] in both step modes. None returns the
        potential of every step.
    """

    v: float | Tensor
    decoded: Tensor | None
    steps_seen: int

    def __init__(self, decode: str | None = None, step_mode: str = "m") -> None:
        super().__init__()
        if decode is not None and decode not in DECODES:
            raise UsageError(f"{type(self).__name__}: decode has to be one of {', '.join(DECODES)}, got {decode!r}")
        self.decode = decode
        self.step_mode = step_mode
        self.register_memory("v", 0.0)
        self.register_memory("decoded", None)
        self.register_memory("steps_seen", 0)

    def charge(self, x: Tensor) -> Tensor:
        """Return the next potential."""
        raise NotImplementedError

    def single_step_forward(self, x: Tensor) -> Tensor:
        """Run one step; x is [N, *]."""
        self.check_memory("v", x.shape, x)
        v = self.charge(x)
        self.v, self.steps_seen = v, self.steps_seen + 1
        if self.decode is None:
            return v
        self.decoded = v if self.decoded is None else self._combine(self.decoded, v)
        return self.decoded

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        """Run all steps; x_seq is [T, N, *]."""
        outputs = [self.single_step_forward(x) for x in steps(x_seq, type(self).__name__)]
        return torch.stack(outputs) if self.decode is None else outputs[-1]

    def _combine(self, before: Tensor, v: Tensor) -> Tensor:
        if self.decode == "last-mem":
            return v
        if self.decode == "max-mem":
            return torch.maximum(before, v)
        if self.decode == "mean-mem":
            return before + (v - before) / self.steps_seen
        low, high = torch.minimum(before, v), torch.maximum(before, v)
        return torch.where(high.abs() > low.abs(), high, low)

    def extra_repr(self) -> str:
        return f"decode={self.decode}, step_mode={self.step_mode}"


class NonSpikingIFNode(NonSpikingBaseNode):
    """Integrates and never fires: v = v + x."""

    def charge(self, x: Tensor) -> Tensor:
        return self.v + x


class NonSpikingLIFNode(NonSpikingBaseNode):
    """Integrates, leaks and never fires: v = v + (x - v) / tau."""

    def __init__(self, tau: float = 2.0, decode: str | None = None, step_mode: str = "m") -> None:
        super().__init__(decode, step_mode)
        if not (math.isfinite(tau) and tau > 1):
            raise UsageError(f"NonSpikingLIFNode: tau has to be greater than 1 step, got {tau}")
        self.tau = float(tau)

    def charge(self, x: Tensor) -> Tensor:
        return self.v + (x - self.v) / self.tau

    def extra_repr(self) -> str:
        return f"tau={self.tau:g}, {super().extra_repr()}"
