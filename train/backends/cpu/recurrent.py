"""Layers that feed their output back, over all time steps at once: neurons through a matrix, and the synapse filter."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from train.backends.cpu import kernels, layout
from train.backends.cpu.native import Native
from train.backends.cpu.plan import plan, refusal
from train.backends.spec import NeuronSpec, inverse_tau

WIDEST = 256  # neurons; the matrix of more leaves the caches, and one product a step by BLAS is faster


def why_not(x: Tensor, spec: NeuronSpec | None = None) -> str | None:
    """Return None if this can run here on this input and, with ``spec``, on these neurons, else why not."""
    if x.device.type != "cpu" or not x.is_floating_point() or x.dtype == torch.float64 or x.numel() == 0:
        return f"the input is {x.dtype} {list(x.shape)} on {x.device}"
    run = kernels()
    if not isinstance(run, Native):
        return run.describe()
    if spec is None:
        return None
    if x.shape[-1] > WIDEST:
        return f"{x.shape[-1]} neurons are more than {WIDEST}"
    return refusal(spec, x)


def feedback(
    spec: NeuronSpec, x_seq: Tensor, weight: Tensor, s_first: Tensor | None, v_first: Tensor, w: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the spikes of neurons that take x[t] + weight s[t-1], and the potential after the last step.

    Parameters
    ----------
    x_seq : floating[T, N, H]
    weight : float32[H, H], to which neuron and from which
    s_first, v_first : [N, H]
        The spikes and the potential before the first step; no spikes if None.
    """
    shape = x_seq.shape
    x = x_seq.float().reshape(len(x_seq), -1, shape[-1])
    first = None if s_first is None else s_first.float().reshape(x.shape[1:])
    s_seq, v_last = _Feedback.apply(x, weight, first, v_first.reshape(x.shape[1:]), w, spec)  # type: ignore[no-untyped-call]
    return s_seq.to(x_seq.dtype).view(shape), v_last.view(shape[1:])


def synapse_filter(x_seq: Tensor, y_first: Tensor | None, tau: float, w: Tensor | None) -> Tensor:
    """Return y[t] = y[t-1] - (1 - x[t]) y[t-1] / tau + x[t], with 1/tau = sigmoid(w) if ``w`` is given."""
    first = torch.zeros(x_seq.shape[1:]) if y_first is None else y_first
    y_seq: Tensor = _Synapse.apply(x_seq.float(), first.float(), w, tau)  # type: ignore[no-untyped-call]
    return y_seq.to(x_seq.dtype)


class _Feedback(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x_seq: Tensor,
        weight: Tensor,
        s_first: Tensor | None,
        v_first: Tensor,
        w: Tensor | None,
        spec: NeuronSpec,
    ) -> tuple[Tensor, Tensor]:
        x, v = x_seq.contiguous(), v_first.contiguous()
        s_first = None if s_first is None else s_first.contiguous()
        q = inverse_tau(w, torch.float32) if w is not None else None
        current, s, v_last = torch.empty_like(x), torch.empty_like(x), torch.empty_like(v)
        ctx.plan = plan(spec, None if q is None else float(q))
        _native().feedback_forward(ctx.plan, x, weight.t().contiguous(), s_first, v, current, s, v_last)
        ctx.decay_input = spec.decay_input
        ctx.set_materialize_grads(False)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(current, weight, s, s_first, v, w)
        return s, v_last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_s: Tensor | None, grad_v: Tensor | None) -> tuple[Tensor | None, ...]:
        current, weight, s, s_first, v, w = ctx.saved_tensors
        needs = ctx.needs_input_grad
        g_s, g_v = (None if g is None else g.contiguous() for g in (grad_s, grad_v))
        g, g_s_first, g_v_first = torch.empty_like(current), torch.empty_like(v), torch.empty_like(v)
        tensors = current, weight.contiguous(), v, g_s, g_v, g, g_s_first, g_v_first
        sum_q = _native().feedback_backward(ctx.plan, *tensors, decay_learns=needs[4])
        g_weight = g_w = None
        if needs[1]:
            g_weight = g[1:].flatten(0, 1).t() @ s[:-1].flatten(0, 1)
            if s_first is not None:
                g_weight += g[0].t() @ s_first
        if needs[4]:
            q = inverse_tau(w, torch.float32)
            g_w = (sum_q * ((1 - q) if ctx.decay_input else q * (1 - q))).to(w.dtype)
        return g, g_weight, g_s_first if needs[2] else None, g_v_first if needs[3] else None, g_w, None


class _Synapse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_seq: Tensor, y_first: Tensor, w: Tensor | None, tau: float) -> Tensor:
        form = layout.form_of(x_seq[0])
        x, first = layout.sequence_in_form(x_seq, form), layout.in_form(y_first, form)
        exact = math.frexp(tau)[0] == 0.5  # a power of two: to multiply is as good and faster
        ctx.q = float(inverse_tau(w, torch.float32)) if w is not None else 1 / tau
        ctx.form = form
        y = layout.empty(x.shape, x.dtype, form)
        divide = w is None and not exact
        _native().synapse_forward(x, first, tau if divide else ctx.q, divide=divide, y=y)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(x, first, y, w)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, first, y, w = ctx.saved_tensors
        g_x, g_first = layout.empty(x.shape, x.dtype, ctx.form), torch.empty_like(first)
        g_y = layout.sequence_in_form(grad, ctx.form)
        sum_q = _native().synapse_backward(ctx.q, x, first, y, g_y, g_x, g_first)
        g_w = None if w is None else torch.tensor(sum_q * ctx.q * (1 - ctx.q), dtype=w.dtype)
        return g_x, g_first if ctx.needs_input_grad[1] else None, g_w, None


def _native() -> Native:
    run = kernels()
    assert isinstance(run, Native), run.describe()  # the caller asked why_not
    return run
