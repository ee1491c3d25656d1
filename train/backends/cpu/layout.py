"""How tensors lie in memory for the kernels: each time step in one piece, contiguous or channels_last."""

from __future__ import annotations

import torch
from torch import Tensor

from train.backends.cpu import pool


def form_of(x: Tensor) -> torch.memory_format:
    """Return the format of one step [N, *]; what is neither will be copied to the contiguous one."""
    last = x.dim() == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def in_form(x: Tensor, form: torch.memory_format) -> Tensor:
    """Return one step [N, *] in a format; itself if it is so."""
    return x.contiguous(memory_format=form)


def sequence_in_form(x_seq: Tensor, form: torch.memory_format) -> Tensor:
    """Return [T, N, *] in one piece, each step in a format; itself if it is so."""
    if form is torch.contiguous_format:
        return x_seq.contiguous()
    return x_seq.flatten(0, 1).contiguous(memory_format=form).view(x_seq.shape)


def steps_in_form(x_seq: Tensor, form: torch.memory_format) -> Tensor:
    """Return [T, N, *] with each step in a format, whatever lies between the steps; itself if it is so."""
    return x_seq if x_seq[0].is_contiguous(memory_format=form) else sequence_in_form(x_seq, form)


def rest(v: Tensor, form: torch.memory_format, at: float) -> Tensor | None:
    """Return the potential before the first step in a format; None where one number, ``at`` rest, stands for all."""
    one_number = v.numel() > 1 and not any(v.stride()) and not v.requires_grad
    return None if one_number and float(v[(0,) * v.dim()]) == at else in_form(v.float(), form)


def empty(shape: torch.Size, dtype: torch.dtype, form: torch.memory_format) -> Tensor:
    """Return a new [T, N, *] or [N, *] in one piece, each step in a format; its memory is the pool's if it is large."""
    axes = list(range(len(shape)))
    if form is torch.channels_last:
        axes = [*axes[:-3], axes[-2], axes[-1], axes[-3]]
    strides, step = [0] * len(shape), 1
    for axis in reversed(axes):
        strides[axis] = step
        step *= max(1, shape[axis])
    return pool.empty(shape, dtype, strides)
