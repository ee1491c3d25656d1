"""The engine "cpu": a neuron over all time steps in one pass over memory, forwards and backwards.

The kernels are C++ that the machine's own compiler builds at first use (build.py); where there is none, Numba's
(fallback.py). Why C++: measured in benchmarks/train_results.md.
"""

from __future__ import annotations

import functools
import logging
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from train.backends.cpu import build, layout, native
from train.backends.cpu.plan import Plan, plan, refusal
from train.backends.spec import NeuronSpec, inverse_tau


class Kernels(Protocol):
    """What the engine asks of either kind of kernels; tensors are float32 unless said otherwise, steps in one piece."""

    dtypes: tuple[torch.dtype, ...]  # of x, s and their gradients

    def describe(self) -> str:
        """Return what runs, in words."""

    def forward(
        self, plan: Plan, x: Tensor, v_first: Tensor | None, s: Tensor, v_last: Tensor, v_seq: Tensor | None
    ) -> None:
        """Write s, v_last and v_seq; v_first None: all neurons at rest."""

    def backward(
        self,
        plan: Plan,
        x: Tensor,
        v_first: Tensor | None,
        gradients: tuple[Tensor | None, Tensor | None, Tensor | None],
        gx: Tensor,
        gv_first: Tensor | None,
        *,
        decay_learns: bool,
    ) -> float:
        """Write gx and gv_first from the gradients of s, v_last and v_seq; return dL/d(1/tau) (times 1/tau if DI)."""


@functools.cache
def kernels() -> Kernels:
    """Return the C++ kernels, or Numba's; why not the former is said in the log, once."""
    try:
        return native.Native()
    except build.CompilerError as error:
        from train.backends.cpu.fallback import Fallback

        logging.getLogger("train").warning("backend cpu: no C++ kernels (%s); Numba's run, more slowly", error)
        return Fallback(str(error))


class CpuEngine:
    """The engine "cpu"."""

    name = "cpu"

    def why_not(self) -> Exception | None:
        """Return None: Numba is always there."""
        return None

    def refuses(self, spec: NeuronSpec, x: Tensor) -> str | None:
        """Return None, or why this is not for the kernels."""
        return refusal(spec, x)

    def describe(self) -> str:
        """Return which kernels run and why, in words."""
        return kernels().describe()

    def multi_step(
        self, spec: NeuronSpec, x_seq: Tensor, v: Tensor, w: Tensor | None = None, *, store_v_seq: bool = False
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Run the neuron over all steps."""
        s_seq, v_last, v_seq = _Neuron.apply(x_seq, v, w, spec, store_v_seq)  # type: ignore[no-untyped-call]
        return s_seq, v_last, v_seq


class _Neuron(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_seq: Tensor, v: Tensor, w: Tensor | None, spec: NeuronSpec, store_v_seq: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        run = kernels()
        dtype = x_seq.dtype if x_seq.dtype in run.dtypes else torch.float32
        form = layout.form_of(x_seq[0])
        x = layout.steps_in_form(x_seq.to(dtype), form)
        v_first = layout.rest(v, form, spec.v_reset or 0.0)
        q = inverse_tau(w, torch.float32) if w is not None else None
        s = layout.empty(x.shape, dtype, form)
        v_last = layout.empty(v.shape, torch.float32, form)
        v_seq = layout.empty(x.shape, torch.float32, form) if store_v_seq else None
        ctx.plan = plan(spec, None if q is None else float(q))
        run.forward(ctx.plan, x, v_first, s, v_last, v_seq)
        ctx.form, ctx.decay_input, ctx.dtypes = form, spec.decay_input, (x_seq.dtype, v.dtype)
        ctx.set_materialize_grads(False)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(x, v_first, w)
        return s.to(x_seq.dtype), v_last, v_seq

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_s: Tensor | None, grad_v: Tensor | None, grad_v_seq: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        x, v_first, w = ctx.saved_tensors
        form, needs = ctx.form, ctx.needs_input_grad
        gradients = (
            None if grad_s is None else layout.steps_in_form(grad_s.to(x.dtype), form),
            None if grad_v is None else layout.in_form(grad_v, form),
            None if grad_v_seq is None else layout.sequence_in_form(grad_v_seq, form),
        )
        gx = layout.empty(x.shape, x.dtype, form)
        gv_first = layout.empty(x.shape[1:], torch.float32, form) if needs[1] else None
        sum_q = kernels().backward(ctx.plan, x, v_first, gradients, gx, gv_first, decay_learns=needs[2])
        grad_w = None
        if needs[2]:
            q = inverse_tau(w, torch.float32)
            grad_w = (sum_q * ((1 - q) if ctx.decay_input else q * (1 - q))).to(w.dtype)
        return gx.to(ctx.dtypes[0]), None if gv_first is None else gv_first.to(ctx.dtypes[1]), grad_w, None, None


ENGINE = CpuEngine()
