"""Tensors in, C++ kernels run on their memory."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from train.backends.cpu import build
from train.backends.cpu.plan import Plan

PARALLEL_FROM = 1 << 17  # numbers: below, a second thread brings less than waiting for it costs
STREAM_FROM = 16 << 20  # bytes: outputs of this size go past the caches
SIGNATURES = {  # n: Neuron, b: Block, p: pointer, l: int64, i: int, f: float
    "neuron_forward": ("nii ll pl p ppp i", None),
    "neuron_backward": ("nii ll pl p pl pp pp ii", ctypes.c_double),
    "feedback_forward": ("ni lll pppp ppp", None),
    "feedback_backward": ("ni lll ppp pp ppp i", ctypes.c_double),
    "synapse_forward": ("i ll fi ppp", None),
    "synapse_backward": ("i ll f pppp pp", ctypes.c_double),
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

    def forward(
        self, plan: Plan, x: Tensor, v_first: Tensor | None, s: Tensor, v_last: Tensor, v_seq: Tensor | None
    ) -> None:
        """Write s, v_last and v_seq."""
        self.library.neuron_forward(
            *_start(plan, x), len(x), v_last.numel(), *_steps(x), _address(v_first),
            _address(s), _address(v_last), _address(v_seq), _past_cache(s),
        )  # fmt: skip

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
        """Write gx and gv_first; return the gradient of 1/tau."""
        gs, gv, gv_seq = gradients
        total: float = self.library.neuron_backward(
            *_start(plan, x), len(x), x[0].numel(), *_steps(x), _address(v_first), *_steps(gs),
            _address(gv), _address(gv_seq), _address(gx), _address(gv_first), decay_learns, _past_cache(gx),
        )  # fmt: skip
        return total

    def feedback_forward(
        self,
        plan: Plan,
        x: Tensor,
        weight: Tensor,
        s_first: Tensor | None,
        v_first: Tensor,
        current: Tensor,
        s: Tensor,
        v_last: Tensor,
    ) -> None:
        """Write current, s and v_last; ``weight`` is [from, to]."""
        tensors = x, weight, s_first, v_first, current, s, v_last
        self.library.feedback_forward(_neuron(plan), _matrix_threads(x), *x.shape, *map(_address, tensors))

    def feedback_backward(
        self,
        plan: Plan,
        current: Tensor,
        weight: Tensor,
        v_first: Tensor,
        g_s: Tensor | None,
        g_v: Tensor | None,
        g: Tensor,
        g_s_first: Tensor,
        g_v_first: Tensor,
        *,
        decay_learns: bool,
    ) -> float:
        """Write g, g_s_first and g_v_first; ``weight`` is [to, from]; return the gradient of 1/tau."""
        tensors = current, weight, v_first, g_s, g_v, g, g_s_first, g_v_first
        start = _neuron(plan), _matrix_threads(current), *current.shape
        total: float = self.library.feedback_backward(*start, *map(_address, tensors), decay_learns)
        return total

    def synapse_forward(self, x: Tensor, y_first: Tensor, decay: float, *, divide: bool, y: Tensor) -> None:
        """Write y; ``decay`` is tau where it divides, else 1/tau."""
        start = _threads(x.numel()), len(x), y_first.numel()
        self.library.synapse_forward(*start, decay, divide, *map(_address, (x, y_first, y)))

    def synapse_backward(
        self, q: float, x: Tensor, y_first: Tensor, y: Tensor, g_y: Tensor, g_x: Tensor, g_first: Tensor
    ) -> float:
        """Write g_x and g_first; return the gradient of 1/tau."""
        start = _threads(x.numel()), len(x), y_first.numel()
        total: float = self.library.synapse_backward(*start, q, *map(_address, (x, y_first, y, g_y, g_x, g_first)))
        return total

    def statistics(self, y: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor]:
        """Return mean and biased variance of each channel, in float64."""
        mean, variance = (torch.empty(y.shape[1], dtype=torch.float64) for _ in range(2))
        self.library.block_statistics(
            _block(shape, y, pool=False), y.dtype == torch.bfloat16, *map(_address, (y, mean, variance))
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
        start = _neuron(plan), _block(shape, y, pool=pool), y.dtype == torch.bfloat16
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
        start = _neuron(plan), _block(shape, y, pool=pool), y.dtype == torch.bfloat16
        mean, rstd, scale, shift = norm
        tensors = y, scale, shift, mean, rstd, v_first, g_out, g_last, gy, g_first, g_weight, g_bias
        total: float = self.library.block_backward(*start, *map(_address, tensors), training, decay_learns)
        return total


def _neuron(plan: Plan) -> Any:
    return ctypes.byref(Neuron(*vars(plan).values()))


def _block(shape: torch.Size, y: Tensor, *, pool: bool) -> Any:
    """Return a sequence for the kernels; ``y`` has all its steps, or the one that is the same at all times."""
    T, N, C, H, W = shape
    still = len(y) < T * N
    return ctypes.byref(Block(T, N, H, W, C, pool, _threads(shape.numel()), still))


def _threads(numbers: int) -> int:
    return 1 if numbers < PARALLEL_FROM else torch.get_num_threads()


def _matrix_threads(x: Tensor) -> int:
    return _threads(x.numel() * x.shape[-1] // 16)  # a number of a product takes a sixteenth of a neuron's time


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
        *((name, ctypes.c_int32) for name in ("pool", "threads", "still")),
    )


def _declare(library: ctypes.CDLL) -> None:
    """Tell ctypes the signatures, one letter an argument."""
    numbers = {"p": ctypes.c_void_p, "l": ctypes.c_int64, "i": ctypes.c_int, "f": ctypes.c_float}
    kinds = {"n": ctypes.POINTER(Neuron), "b": ctypes.POINTER(Block), **numbers}
    for name, (arguments, result) in SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes = [kinds[letter] for letter in arguments.replace(" ", "")]
        function.restype = result
