"""The engine "torch", the reference: a loop over time with a backward by hand, on any device and dtype.

Formulas: Fang et al. 2023 (SpikingJelly, Science Advances 9, eadi1480), methods; backpropagation through time by hand.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from train.backends.spec import NeuronSpec, inverse_tau, state_dtype


class TorchLoop:
    """The reference engine."""

    name = "torch"

    def why_not(self) -> Exception | None:
        """Return None: where the neurons run, torch does."""
        return None

    def refuses(self, spec: NeuronSpec, x: Tensor) -> str | None:  # noqa: ARG002
        """Return None: it takes all."""
        return None

    def multi_step(
        self, spec: NeuronSpec, x_seq: Tensor, v: Tensor, w: Tensor | None = None, *, store_v_seq: bool = False
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Run the neuron over all steps."""
        s_seq, v_last, v_seq = _Neuron.apply(x_seq, v, w, spec, store_v_seq)  # type: ignore[no-untyped-call]
        return s_seq, v_last, v_seq


def charge(spec: NeuronSpec, x: Tensor, v: Tensor, q: Tensor | None) -> Tensor:
    """Return the potential before the spike, h; the order of operations is the contract of all engines."""
    if spec.kind == "if":
        return v + x
    from_rest = v - spec.v_reset if spec.v_reset else v
    if spec.decay_input:
        return v + _decay(spec, x - from_rest, q)
    return (v - _decay(spec, from_rest, q)) + x


def _decay(spec: NeuronSpec, y: Tensor, q: Tensor | None) -> Tensor:
    return y * q if q is not None else y / spec.tau  # type: ignore[operator]


def _reset(spec: NeuronSpec, h: Tensor, s: Tensor) -> Tensor:
    if spec.v_reset is None:
        return h - s * spec.v_threshold
    if spec.surrogate.spiking:
        return torch.where(s > 0, spec.v_reset, h)
    return (1 - s) * h + s * spec.v_reset


class _Neuron(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_seq: Tensor, v: Tensor, w: Tensor | None, spec: NeuronSpec, store_v_seq: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        dtype = state_dtype(x_seq.dtype)
        v_first = v = v.to(dtype)
        q = inverse_tau(w, dtype) if w is not None else None
        fire = spec.surrogate.fire if spec.surrogate.spiking else spec.surrogate.primitive
        potentials, spikes, after_reset = [], [], []
        for x in x_seq.unbind(0):
            h = charge(spec, x.to(dtype), v, q)
            s = fire(h - spec.v_threshold)
            v = _reset(spec, h, s)
            potentials.append(h)
            spikes.append(s.to(x_seq.dtype))
            after_reset.append(v if store_v_seq else None)
        s_seq = torch.stack(spikes)
        random = spec.surrogate.name == "poisson_pass"  # whose spikes the potential alone does not tell
        ctx.spec, ctx.dtypes, ctx.steps = spec, (x_seq.dtype, w.dtype if w is not None else None), len(spikes)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(v_first, w, s_seq if random else None, *potentials)
        return s_seq, v, torch.stack(after_reset) if store_v_seq else None  # type: ignore[arg-type]

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_s: Tensor | None, grad_v: Tensor | None, grad_v_seq: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        spec: NeuronSpec = ctx.spec
        surrogate = spec.surrogate
        v_first, w, s_seq, *potentials = ctx.saved_tensors
        dtype = v_first.dtype
        fire = surrogate.fire if surrogate.spiking else surrogate.primitive
        spikes = [fire(h - spec.v_threshold) for h in potentials] if s_seq is None else s_seq.to(dtype).unbind(0)
        q = inverse_tau(w, dtype) if w is not None else None
        g = torch.zeros_like(v_first) if grad_v is None else grad_v.to(dtype)
        grad_x: list[Tensor] = []
        grad_q = torch.zeros((), dtype=dtype, device=v_first.device) if w is not None else None
        for t in range(ctx.steps - 1, -1, -1):
            h, s = potentials[t], spikes[t]
            v_before = _reset(spec, potentials[t - 1], spikes[t - 1]) if t else v_first
            slope = surrogate.derivative(h - spec.v_threshold)
            if grad_v_seq is not None:
                g = g + grad_v_seq[t].to(dtype)
            gh = g * _reset_slope(spec, h, s, slope)
            if grad_s is not None:
                gh = gh + grad_s[t].to(dtype) * slope
            if grad_q is not None:
                grad_q = grad_q + (gh * _charge_slope(spec, h, v_before)).sum()
            g = gh if spec.kind == "if" else gh - _decay(spec, gh, q)
            grad_x.append(_decay(spec, gh, q) if spec.kind != "if" and spec.decay_input else gh)
        grad_w = None
        if grad_q is not None and q is not None:
            grad_w = (grad_q * ((1 - q) if spec.decay_input else q * (1 - q))).to(ctx.dtypes[1])
        return torch.stack(grad_x[::-1]).to(ctx.dtypes[0]), g, grad_w, None, None


def _reset_slope(spec: NeuronSpec, h: Tensor, s: Tensor, slope: Tensor) -> Tensor | float:
    """Return dv/dh of the reset."""
    if spec.v_reset is None:
        return 1.0 if spec.detach_reset else 1 - spec.v_threshold * slope
    return 1 - s if spec.detach_reset else (1 - s) + (spec.v_reset - h) * slope


def _charge_slope(spec: NeuronSpec, h: Tensor, v_before: Tensor) -> Tensor:
    """Return dh/dq of PLIF's charge, times q where the input decays: q (x - v) is h - v."""
    if spec.decay_input:
        return h - v_before
    return -(v_before - spec.v_reset if spec.v_reset else v_before)


ENGINE = TorchLoop()
