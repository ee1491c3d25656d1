"""Tensors in, C++ kernels run on their memory."""

from __future__ import annotations

import ctypes
from dataclasses import astuple
from typing import Any

import torch
from torch import Tensor

from train.backends.cpu import build
from train.backends.cpu.plan import Plan

PARALLEL_FROM = 1 << 15  # numbers: below, a second thread costs more than it brings
STREAM_FROM = 16 << 20  # bytes: outputs of this size go past the caches
SIGNATURES = {  # n: Neuron, b: Block, p: pointer, l: int64, i: int
    "neuron_forward": ("nii ll pl p ppp i", None),
    "neuron_backward": ("nii ll pl p pl pp pp ii", ctypes.c_double),
    "block_statistics": ("bi ppp", None),
    "block_forward": ("nbi ppp ppp", None),
    "block_backward": ("nbi ppppp p pp pp pp ii", ctypes.c_double),
}


class Native:
    """The C++ kernels, as the engine calls them."""

    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16)

    def __init__(self) -> None:
        self.library, self.made_by = build.load()
        _declare(self.library)

    def describe(self) -> str:
        """Return what runs, in words."""
        return f"C++ kernels, made here by {self.made_by}"

    def forward(self, plan: Plan, x: Tensor, v_first: Tensor, s: Tensor, v_last: Tensor, v_seq: Tensor | None) -> None:
        """Write s, v_last and v_seq."""
        self.library.neuron_forward(
            *_start(plan, x), len(x), v_first.numel(), *_steps(x), _address(v_first),
            _address(s), _address(v_last), _address(v_seq), _past_cache(s),
        )  # fmt: skip

    def backward(
        self,
        plan: Plan,
        x: Tensor,
        v_first: Tensor,
        gradients: tuple[Tensor | None, Tensor | None, Tensor | None],
        gx: Tensor,
        gv_first: Tensor | None,
        *,
        decay_learns: bool,
    ) -> float:
        """Write gx and gv_first; return the gradient of 1/tau."""
        gs, gv, gv_seq = gradients
        total: float = self.library.neuron_backward(
            *_start(plan, x), len(x), v_first.numel(), *_steps(x), _address(v_first), *_steps(gs),
            _address(gv), _address(gv_seq), _address(gx), _address(gv_first), decay_learns, _past_cache(gx),
        )  # fmt: skip
        return total

    def statistics(self, y: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor]:
        """Return mean and biased variance of each channel, in float64."""
        mean, variance = (torch.empty(y.shape[1], dtype=torch.float64) for _ in range(2))
        self.library.block_statistics(
            _block(shape, pool=False), y.dtype == torch.bfloat16, *map(_address, (y, mean, variance))
        )
        return mean, variance

    def block_forward(
        self,
        plan: Plan,
        pool: bool,
        shape: torch.Size,
        y: Tensor,
        scale: Tensor,
        shift: Tensor,
        v_first: Tensor | None,
        s: Tensor,
        v_last: Tensor,
    ) -> None:
        """Write s and v_last."""
        start = _neuron(plan), _block(shape, pool=pool), y.dtype == torch.bfloat16
        self.library.block_forward(*start, *map(_address, (y, scale, shift, v_first, s, v_last)))

    def block_backward(
        self,
        plan: Plan,
        pool: bool,
        shape: torch.Size,
        y: Tensor,
        norm: tuple[Tensor, Tensor, Tensor, Tensor],
        v_first: Tensor | None,
        g_out: Tensor,
        g_last: Tensor | None,
        gy: Tensor,
        g_first: Tensor | None,
        g_weight: Tensor,
        g_bias: Tensor,
        *,
        training: bool,
        decay_learns: bool,
    ) -> float:
        """Write gy, g_first, g_weight and g_bias; return the gradient of 1/tau."""
        start = _neuron(plan), _block(shape, pool=pool), y.dtype == torch.bfloat16
        mean, rstd, scale, shift = norm
        tensors = y, scale, shift, mean, rstd, v_first, g_out, g_last, gy, g_first, g_weight, g_bias
        total: float = self.library.block_backward(*start, *map(_address, tensors), training, decay_learns)
        return total


def _neuron(plan: Plan) -> Any:
    return ctypes.byref(Neuron(*astuple(plan)))


def _block(shape: torch.Size, *, pool: bool) -> Any:
    T, N, C, H, W = shape
    return ctypes.byref(Block(T, N, H, W, C, pool, _threads(shape.numel())))


def _threads(numbers: int) -> int:
    return 1 if numbers < PARALLEL_FROM else torch.get_num_threads()


def _start(plan: Plan, x: Tensor) -> tuple[Any, int, int]:
    """Return what every kernel takes first: the neuron, whether x is bfloat16, the threads."""
    return _neuron(plan), x.dtype == torch.bfloat16, _threads(x.numel())


def _address(x: Tensor | None) -> int | None:
    return None if x is None else x.data_ptr()


def _steps(x: Tensor | None) -> tuple[int | None, int]:
    """Return where a sequence lies and how far apart its steps are."""
    return (None, 0) if x is None else (x.data_ptr(), x.stride(0))


def _past_cache(x: Tensor) -> bool:
    return x.numel() * x.element_size() >= STREAM_FROM


class Neuron(ctypes.Structure):
    """The neuron as the kernels see it; the fields of rows.hpp."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("charge", "hard", "detach", "surrogate")),
        *((name, ctypes.c_float) for name in ("decay", "threshold", "reset", "a", "b")),
    )


class Block(ctypes.Structure):
    """A sequence of images as the kernels see it; the fields of block.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("T", "B", "H", "W", "C")),
        *((name, ctypes.c_int32) for name in ("pool", "threads")),
    )


def _declare(library: ctypes.CDLL) -> None:
    """Tell ctypes the signatures, one letter an argument."""
    numbers = {"p": ctypes.c_void_p, "l": ctypes.c_int64, "i": ctypes.c_int}
    kinds = {"n": ctypes.POINTER(Neuron), "b": ctypes.POINTER(Block), **numbers}
    for name, (arguments, result) in SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes = [kinds[letter] for letter in arguments.replace(" ", "")]
        function.restype = result
