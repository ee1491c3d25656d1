"""More neurons of the literature, by autograd through the loop over time: any device, no backend to choose."""

from __future__ import annotations

import math
from typing import Unpack

import torch
from torch import Tensor, nn

from dvsprep.errors import UsageError
from train import surrogate
from train.base import StepModule, steps
from train.neuron.spiking import FiringNode, FiringOptions


class AutogradNode(FiringNode):
    """A neuron that is its ``charge``: give h for x and v, and it fires, resets and learns."""

    def charge(self, x: Tensor, v: Tensor) -> Tensor:
        """Return the potential before the spike."""
        raise NotImplementedError

    def fire_and_reset(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return spikes and the potential after them."""
        s = self.surrogate_function(h - self.v_threshold)
        return s, self.reset_potential(h, s, self.v_threshold)

    def reset_potential(self, h: Tensor, s: Tensor, threshold: float | Tensor) -> Tensor:
        """Return the potential after the spikes ``s``."""
        s = s.detach() if self.detach_reset else s
        return h - s * threshold if self.v_reset is None else (1 - s) * h + s * self.v_reset

    def single_step_forward(self, x: Tensor) -> Tensor:
        """Run one step; x is [N, *]."""
        v = self.potential(x)
        s, self.v = self.fire_and_reset(self.charge(x.to(v.dtype), v))
        return s.to(x.dtype)

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        """Run all steps; x_seq is [T, N, *]."""
        spikes, potentials = [], []
        for x in steps(x_seq, type(self).__name__):
            spikes.append(self.single_step_forward(x))
            potentials.append(self.v)
        self.v_seq = torch.stack(potentials) if self.store_v_seq else None  # type: ignore[arg-type]
        return torch.stack(spikes)

    def memory(self, name: str, like: Tensor) -> Tensor:
        """Return a state besides v, as a tensor like v."""
        self.check_memory(name, like.shape, like)
        state = getattr(self, name)
        return state.to(like.dtype) if isinstance(state, Tensor) else torch.full_like(like, state)


class KLIFNode(AutogradNode):
    """A LIF whose potential is scaled by a learned k and rectified (Jiang & Zhang 2023): h = relu(k h_LIF).

    ``scale_reset`` divides by k again before the reset.
    """

    def __init__(
        self,
        scale_reset: bool = False,
        tau: float = 2.0,
        decay_input: bool = True,
        **options: Unpack[FiringOptions],
    ) -> None:
        super().__init__(**options)
        self.scale_reset = bool(scale_reset)
        self.tau = self.check_tau("tau", tau)
        self.decay_input = bool(decay_input)
        self.k = nn.Parameter(torch.tensor(1.0))

    def charge(self, x: Tensor, v: Tensor) -> Tensor:
        rest = self.v_reset or 0.0
        h = v + (x - (v - rest)) / self.tau if self.decay_input else v - (v - rest) / self.tau + x
        return torch.relu(self.k * h)

    def fire_and_reset(self, h: Tensor) -> tuple[Tensor, Tensor]:
        if not self.scale_reset:
            return super().fire_and_reset(h)
        s = self.surrogate_function(h - self.v_threshold)
        return s, self.reset_potential(h / self.k, s, self.v_threshold / self.k)

    def extra_repr(self) -> str:
        return (
            f"k={self.k.item():g}, scale_reset={self.scale_reset}, tau={self.tau:g}, decay_input={self.decay_input}, "
            f"{super().extra_repr()}"
        )


class QIFNode(AutogradNode):
    """Quadratic integrate and fire: h = v + (x + a0 (v - v_rest) (v - v_c)) / tau.

    ``v_reset`` is -0.1 if not given. Gerstner et al. 2014, section 5.3.
    """

    def __init__(
        self,
        tau: float = 2.0,
        v_c: float = 0.8,
        a0: float = 1.0,
        v_rest: float = 0.0,
        **options: Unpack[FiringOptions],
    ) -> None:
        options.setdefault("v_reset", -0.1)
        super().__init__(**options)
        self.tau = self.check_tau("tau", tau)
        self.v_c, self.v_rest = v_c, v_rest
        self.a0 = _positive(self, "a0", a0)

    def charge(self, x: Tensor, v: Tensor) -> Tensor:
        return v + (x + self.a0 * (v - self.v_rest) * (v - self.v_c)) / self.tau

    def extra_repr(self) -> str:
        return f"tau={self.tau:g}, v_c={self.v_c}, a0={self.a0}, v_rest={self.v_rest}, {super().extra_repr()}"


class EIFNode(AutogradNode):
    """Exponential integrate and fire: h = v + (x + v_rest - v + delta_T exp((v - theta_rh) / delta_T)) / tau.

    ``v_reset`` is -0.1 if not given. Gerstner et al. 2014, section 5.2.
    """

    def __init__(
        self,
        tau: float = 2.0,
        delta_T: float = 1.0,
        theta_rh: float = 0.8,
        v_rest: float = 0.0,
        **options: Unpack[FiringOptions],
    ) -> None:
        options.setdefault("v_reset", -0.1)
        super().__init__(**options)
        self.tau = self.check_tau("tau", tau)
        self.theta_rh, self.v_rest = theta_rh, v_rest
        self.delta_T = _positive(self, "delta_T", delta_T)

    def charge(self, x: Tensor, v: Tensor) -> Tensor:
        growth = self.delta_T * torch.exp((v - self.theta_rh) / self.delta_T)
        return v + (x + self.v_rest - v + growth) / self.tau

    def extra_repr(self) -> str:
        own = f"tau={self.tau:g}, delta_T={self.delta_T}, theta_rh={self.theta_rh}, v_rest={self.v_rest}"
        return f"{own}, {super().extra_repr()}"


class IzhikevichNode(AutogradNode):
    """A quadratic neuron with a recovery current ``w`` (Izhikevich 2003).

    h = v + (x + a0 (v - v_rest) (v - v_c) - w) / tau, then w = w + (a (h - v_rest) - w) / tau_w, and b more a spike.
    """

    w: float | Tensor

    def __init__(
        self,
        tau: float = 2.0,
        v_c: float = 0.8,
        a0: float = 1.0,
        v_rest: float = -0.1,
        w_rest: float = 0.0,
        tau_w: float = 2.0,
        a: float = 0.0,
        b: float = 0.0,
        **options: Unpack[FiringOptions],
    ) -> None:
        super().__init__(**options)
        self.tau, self.tau_w = self.check_tau("tau", tau), _positive(self, "tau_w", tau_w)
        self.v_c, self.v_rest, self.w_rest = v_c, v_rest, w_rest
        self.a0 = _positive(self, "a0", a0)
        self.a, self.b = a, b
        self.register_memory("w", float(w_rest))

    def charge(self, x: Tensor, v: Tensor) -> Tensor:
        w = self.memory("w", v)
        h = v + (x + self.a0 * (v - self.v_rest) * (v - self.v_c) - w) / self.tau
        self.w = w + (self.a * (h - self.v_rest) - w) / self.tau_w
        return h

    def fire_and_reset(self, h: Tensor) -> tuple[Tensor, Tensor]:
        s, v = super().fire_and_reset(h)
        self.w = self.w + self.b * (s.detach() if self.detach_reset else s)
        return s, v

    def extra_repr(self) -> str:
        own = f"tau={self.tau:g}, v_c={self.v_c}, a0={self.a0}, v_rest={self.v_rest}, w_rest={self.w_rest}"
        return f"{own}, tau_w={self.tau_w:g}, a={self.a}, b={self.b}, {super().extra_repr()}"


class CUBALIFNode(AutogradNode):
    """A LIF driven by a current that decays too: c = c_decay c + x, h = v_decay v + c (Davies et al. 2018, Loihi).

    ``v_threshold`` is 0.5 and the surrogate Rect if they are not given.
    """

    c: float | Tensor

    def __init__(
        self,
        c_decay: float = 0.5,
        v_decay: float = 0.75,
        **options: Unpack[FiringOptions],
    ) -> None:
        options.setdefault("v_threshold", 0.5)
        options.setdefault("surrogate_function", surrogate.Rect())
        super().__init__(**options)
        for name, value in (("c_decay", c_decay), ("v_decay", v_decay)):
            if not 0 <= value <= 1:
                raise UsageError(f"CUBALIFNode: {name} has to be in [0, 1], got {value}")
        self.c_decay, self.v_decay = c_decay, v_decay
        self.register_memory("c", 0.0)

    def charge(self, x: Tensor, v: Tensor) -> Tensor:
        self.c = self.memory("c", v) * self.c_decay + x
        return v * self.v_decay + self.c

    def extra_repr(self) -> str:
        return f"c_decay={self.c_decay}, v_decay={self.v_decay}, {super().extra_repr()}"


class PSN(StepModule):
    """The parallel spiking neuron (Fang et al. 2023): all steps at once, h = weight x + bias over time, no reset.

    Parameters
    ----------
    T : int
        The number of steps, fixed.
    """

    _step_mode = "m"

    def __init__(self, T: int, surrogate_function: surrogate.Surrogate | None = None) -> None:
        super().__init__()
        if T < 1:
            raise UsageError(f"PSN: T has to be at least 1, got {T}")
        self.T = T
        self.surrogate_function = surrogate.ATan() if surrogate_function is None else surrogate_function
        self.weight = nn.Parameter(torch.empty(T, T))
        self.bias = nn.Parameter(torch.full((T, 1), -1.0))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, x_seq: Tensor) -> Tensor:
        """Run all steps; x_seq is [T, N, *]."""
        if self.step_mode == "s":
            raise UsageError("PSN sees all steps at once", hint="call functional.set_step_mode(net, 'm')")
        if len(x_seq) != self.T:
            raise UsageError(f"PSN: was made for T={self.T} steps, got {list(x_seq.shape)}")
        h_seq = torch.addmm(self.bias, self.weight, x_seq.flatten(1))
        return self.surrogate_function(h_seq).view(x_seq.shape)

    def extra_repr(self) -> str:
        return f"T={self.T}, surrogate_function={self.surrogate_function}, step_mode={self.step_mode}"


def _positive(module: nn.Module, name: str, value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise UsageError(f"{type(module).__name__}: {name} has to be greater than 0, got {value}")
    return float(value)
