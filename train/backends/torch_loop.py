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


def charge(spec: NeuronSpec, x: Tensor, v: Tensor, rate: Tensor | None) -> Tensor:
    """Return the potential before the spike, h; the order of operations is the contract of all engines."""
    if spec.kind == "if":
        return v + x
    from_rest = v - spec.v_reset if spec.v_reset else v
    if spec.decay_input:
        return _decay(spec, x - from_rest, rate).add_(v)
    return (v - _decay(spec, from_rest, rate)).add_(x)


def decay_rate(spec: NeuronSpec, like: Tensor, w: Tensor | None) -> Tensor | None:
    """Return what the leak is divided by (LIF's tau) or multiplied with (PLIF's 1/tau)."""
    if spec.kind == "plif" and w is not None:
        return inverse_tau(w, like.dtype)
    # A tensor on the device: by a Python number, torch's CUDA kernels multiply with its rounded inverse instead.
    return None if spec.tau is None else torch.full((), spec.tau, dtype=like.dtype, device=like.device)


def _decay(spec: NeuronSpec, y: Tensor, rate: Tensor | None) -> Tensor:
    return y * rate if spec.kind == "plif" else y / rate  # type: ignore[operator]


def _fire(spec: NeuronSpec, h: Tensor) -> Tensor:
    """Return the spikes: bools where the threshold alone decides, else the surrogate's own floats."""
    surrogate = spec.surrogate
    if not surrogate.spiking:
        return surrogate.primitive(h - spec.v_threshold)
    return h >= spec.v_threshold if surrogate.fires_at_threshold else surrogate.fire(h - spec.v_threshold)


def _reset(spec: NeuronSpec, h: Tensor, s: Tensor) -> Tensor:
    if s.dtype == torch.bool:
        return torch.where(s, h - spec.v_threshold if spec.v_reset is None else spec.v_reset, h)
    return h - s * spec.v_threshold if spec.v_reset is None else (1 - s) * h + s * spec.v_reset


class _Neuron(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_seq: Tensor, v: Tensor, w: Tensor | None, spec: NeuronSpec, store_v_seq: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        dtype = state_dtype(x_seq.dtype)
        v_first = v = v.to(dtype)
        rate = decay_rate(spec, v, w)
        s_seq = torch.empty_like(x_seq)
        v_seq = torch.empty_like(x_seq, dtype=dtype) if store_v_seq else None
        potentials = []
        for t, (x, s_out) in enumerate(zip(x_seq.unbind(0), s_seq.unbind(0), strict=True)):
            h = charge(spec, x.to(dtype), v, rate)
            s = _fire(spec, h)
            v = _reset(spec, h, s)
            s_out.copy_(s)
            potentials.append(h)
            if v_seq is not None:
                v_seq[t] = v
        ctx.spec, ctx.x_dtype, ctx.stride = spec, x_seq.dtype, s_seq.stride()
        ctx.set_materialize_grads(False)
        drawn = spec.surrogate.spiking and not spec.surrogate.fires_at_threshold  # h alone does not tell the spikes
        ctx.save_for_backward(v_first, w, s_seq if drawn else None, *potentials)
        return s_seq, v, v_seq

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_s: Tensor | None, grad_v: Tensor | None, grad_v_seq: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        spec: NeuronSpec = ctx.spec
        v_first, w, s_seq, *potentials = ctx.saved_tensors
        dtype, rate = v_first.dtype, decay_rate(spec, v_first, w)
        g = torch.zeros_like(v_first) if grad_v is None else grad_v.to(dtype)
        shape = (len(potentials), *v_first.shape)
        grad_x = torch.empty_strided(shape, ctx.stride, dtype=ctx.x_dtype, device=v_first.device)
        grad_w = v_first.new_zeros(()) if ctx.needs_input_grad[2] else None
        for t in range(len(potentials) - 1, -1, -1):
            h = potentials[t]
            s = _fire(spec, h) if s_seq is None else s_seq[t].to(dtype)
            slope = spec.surrogate.derivative(h - spec.v_threshold)
            if grad_v_seq is not None:
                g = g + grad_v_seq[t]
            gh = _through_reset(spec, g, h, s, slope)
            if grad_s is not None:
                gh = gh.addcmul_(grad_s[t].to(dtype), slope)
            if grad_w is not None:
                before = v_first
                if t:
                    s_before = _fire(spec, potentials[t - 1]) if s_seq is None else s_seq[t - 1].to(dtype)
                    before = _reset(spec, potentials[t - 1], s_before)
                grad_w += (gh * _charge_slope(spec, h, before)).sum()
            if spec.kind == "if":
                g = grad_x[t] = gh
            else:
                decayed = _decay(spec, gh, rate)
                grad_x[t] = decayed if spec.decay_input else gh
                g = gh - decayed
        if grad_w is not None and rate is not None:
            grad_w = (grad_w * ((1 - rate) if spec.decay_input else rate * (1 - rate))).to(w.dtype)
        return grad_x, g, grad_w, None, None


def _through_reset(spec: NeuronSpec, g: Tensor, h: Tensor, s: Tensor, slope: Tensor) -> Tensor:
    """Return g dv/dh as a tensor of its own."""
    if spec.v_reset is None:
        return g.clone() if spec.detach_reset else g * (1 - spec.v_threshold * slope)
    if spec.detach_reset:
        return g.masked_fill(s, 0) if s.dtype == torch.bool else g * (1 - s)
    kept = (spec.v_reset - h).mul_(slope)
    return kept.add_(~s if s.dtype == torch.bool else 1 - s).mul_(g)


def _charge_slope(spec: NeuronSpec, h: Tensor, v_before: Tensor) -> Tensor:
    """Return dh/dq of PLIF's charge, times q where the input decays: q (x - v) is h - v."""
    if spec.decay_input:
        return h - v_before
    return -(v_before - spec.v_reset if spec.v_reset else v_before)


ENGINE = TorchLoop()
