"""BatchNorm2d, a neuron and MaxPool2d(2, 2) as one operation on all time steps: one pass over memory each way.

Its numbers are those of the three; what lies between them is never stored, and backwards it is computed again.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from train.backends.cpu import kernels, layout
from train.backends.cpu.native import Native
from train.backends.cpu.plan import plan, refusal
from train.backends.spec import NeuronSpec, inverse_tau


class Normalisation(NamedTuple):
    """What BatchNorm does to a channel: x = (y - mean) rstd weight + bias."""

    mean: Tensor
    rstd: Tensor
    scale: Tensor
    shift: Tensor


def why_not(spec: NeuronSpec, x_seq: Tensor) -> str | None:
    """Return None if this operation can run here on this input, else why not."""
    if (refused := refusal(spec, x_seq)) is not None:
        return refused
    run = kernels()
    if not isinstance(run, Native):
        return run.describe()
    if x_seq.dtype not in run.dtypes:
        return f"the input is {x_seq.dtype}"
    if x_seq.dim() != 5 or x_seq.numel() == 0:
        return f"the input is {list(x_seq.shape)}, not [T, N, C, H, W]"
    return None


def batch_statistics(x_seq: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance of each channel over T, N, H and W, in float64."""
    return _native().statistics(_flat(x_seq), x_seq.shape)  # of one step, if it is shown at all times: the same


def run_block(
    spec: NeuronSpec,
    x_seq: Tensor,
    T: int,
    statistics: tuple[Tensor, Tensor],
    affine: tuple[Tensor, Tensor],
    eps: float,
    v: Tensor | None,
    w: Tensor | None,
    *,
    of_batch: bool,
    pool: bool,
) -> tuple[Tensor, Tensor]:
    """Return the spikes, pooled if ``pool``, and the potential after the last step, before pooling.

    Parameters
    ----------
    x_seq : [T, N, C, H, W], or [1, N, C, H, W]
        Where there is one step only, it is shown at all times, and its gradient is the sum over them.
    statistics : mean and biased variance of each channel
    of_batch : bool
        Whether they are those of ``x_seq``, and gradients flow through them.
    v : float32[N, C, H, W] or None
        The potential before the first step; None for ``v_reset`` (0 where the reset is soft).
    """
    mean, variance = (each.detach().double() for each in statistics)
    rstd = (variance + eps).rsqrt()
    scale = affine[0].detach().double() * rstd
    shift = affine[1].detach().double() - mean * scale
    norm = Normalisation(*(each.float() for each in (mean, rstd, scale, shift)))
    s_seq, v_last = _Block.apply(x_seq, *affine, v, w, spec, T, norm, of_batch, pool)  # type: ignore[no-untyped-call]
    return s_seq, v_last


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x_seq: Tensor,
        _weight: Tensor,  # part of norm; here for its gradient
        _bias: Tensor,
        v: Tensor | None,
        w: Tensor | None,
        spec: NeuronSpec,
        T: int,
        norm: Normalisation,
        of_batch: bool,
        pool: bool,
    ) -> tuple[Tensor, Tensor]:
        N, C, H, W = x_seq.shape[1:]
        y, whole = _flat(x_seq), torch.Size((T, N, C, H, W))
        q = inverse_tau(w, torch.float32) if w is not None else None
        v_first = None if v is None else v.float().contiguous(memory_format=torch.channels_last)
        shape = torch.Size((T, N, C, H // 2, W // 2)) if pool else whole
        s = layout.empty(shape, y.dtype, torch.channels_last)
        v_last = layout.empty(whole[1:], torch.float32, torch.channels_last)
        ctx.plan = plan(spec, None if q is None else float(q))
        _native().block_forward(ctx.plan, pool, whole, y, norm.scale, norm.shift, v_first, s, v_last)
        ctx.norm, ctx.of_batch, ctx.pool, ctx.decay_input, ctx.shape = norm, of_batch, pool, spec.decay_input, whole
        ctx.set_materialize_grads(False)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(y, v_first, w)
        return s, v_last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_s: Tensor | None, grad_v: Tensor | None) -> tuple[Tensor | None, ...]:
        y, v_first, w = ctx.saved_tensors
        T, N, C, H, W = ctx.shape
        needs, form = ctx.needs_input_grad, torch.channels_last
        if grad_s is None:
            grad_s = y.new_zeros((T, N, C, H // 2, W // 2) if ctx.pool else ctx.shape)
        g_out = layout.sequence_in_form(grad_s.to(y.dtype), form)
        g_last = None if grad_v is None else layout.in_form(grad_v, form)
        gy = layout.empty(y.shape, y.dtype, form)
        g_first = torch.empty_like(v_first) if needs[3] else None
        g_weight, g_bias = torch.empty_like(ctx.norm.scale), torch.empty_like(ctx.norm.scale)
        sum_q = _native().block_backward(
            *(ctx.plan, ctx.pool, ctx.shape, y, ctx.norm, v_first, g_out, g_last, gy, g_first, g_weight, g_bias),
            training=ctx.of_batch,
            decay_learns=needs[4],
        )
        g_w = None
        if needs[4]:
            q = inverse_tau(w, torch.float32)
            g_w = (sum_q * ((1 - q) if ctx.decay_input else q * (1 - q))).to(w.dtype)
        return gy.view(-1, N, C, H, W), g_weight, g_bias, g_first, g_w, None, None, None, None, None


def _native() -> Native:
    run = kernels()
    assert isinstance(run, Native), run.describe()  # the caller asked why_not
    return run


def _flat(x_seq: Tensor) -> Tensor:
    """Return [T N, C, H, W] in channels_last; a view where the sequence lies so."""
    return x_seq.flatten(0, 1).contiguous(memory_format=torch.channels_last)
