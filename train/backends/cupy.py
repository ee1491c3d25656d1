"""The engine "cupy": all time steps of a neuron in one CUDA kernel, forwards and backwards, compiled by CuPy.

The kernels are in neuron.cu; here is what chooses the variant, lays the arrays out and launches on torch's stream.
"""

from __future__ import annotations

import functools
import math
import threading
from importlib.resources import files
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dvsprep.errors import UsageError
from train.backends.spec import NeuronSpec, inverse_tau
from train.surrogate import SURROGATES, Surrogate

if TYPE_CHECKING:
    from collections.abc import Sequence

INSTALL = "install dvsprep[cuda12] or dvsprep[cuda13], whichever CUDA the GPU's driver has"
BLOCK = 256  # threads a block, as in neuron.cu
IO = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
# The surrogates that neuron.cu knows: those of the package that fire at the threshold; PoissonPass draws lots.
DERIVATIVES = {
    name: kind
    for name, kind in SURROGATES.items()
    if kind.__module__ == Surrogate.__module__ and kind.fire is Surrogate.fire
}


def source() -> str:
    """Return the CUDA text of all variants."""
    return files("train.backends").joinpath("neuron.cu").read_text(encoding="utf-8")


def options(spec: NeuronSpec, dtype: torch.dtype, *, backward: bool) -> tuple[str, ...]:
    """Return what the compiler is told to make of the text: a neuron's variant, for inputs of ``dtype``."""
    switches: dict[str, object] = {
        "IO": IO[dtype],
        "KIND": spec.kind.upper(),
        "HARD": int(spec.v_reset is not None),
        "DECAY_INPUT": int(spec.kind != "if" and spec.decay_input),
        "DIVIDE": int(spec.kind == "lif" and not _is_power_of_two(spec.tau)),
    }
    if backward:
        switches |= {"DETACH": int(spec.detach_reset), "SURROGATE": f"d_{spec.surrogate.name}"}
    # Without contraction into fused multiply-add the bits are those of the torch engine; the kernels wait for memory.
    return ("-std=c++17", "--fmad=false", *(f"-D{name}={value}" for name, value in switches.items()))


def _is_power_of_two(tau: float | None) -> bool:
    return tau is not None and math.frexp(tau)[0] == 0.5


class Cuda:
    """What the engine asks of CUDA: CuPy to compile and launch, torch for streams and addresses."""

    device_type = "cuda"

    def __init__(self) -> None:
        self._modules: dict[tuple[int, tuple[str, ...]], Any] = {}
        self._lock = threading.Lock()  # autograd runs the backward of every device in a thread of its own

    @functools.cached_property
    def cupy(self) -> Any:
        """The package; imported when first needed."""
        import cupy

        return cupy

    def device(self, x: Tensor) -> int:
        """Return the number of the device that holds ``x``."""
        return x.get_device()

    def stream(self, device: int) -> int:
        """Return the handle of torch's current stream on a device."""
        return int(torch.cuda.current_stream(device).cuda_stream)

    def address(self, x: Tensor) -> int:
        """Return where the values of ``x`` are on its device."""
        return x.data_ptr()

    def launch(self, name: str, variant: tuple[str, ...], neurons: int, like: Tensor, args: Sequence[object]) -> None:
        """Run a kernel, one thread a neuron, on the device of ``like`` and torch's current stream there.

        ``args`` are tensors, None for a null pointer, and NumPy scalars of the kernel's own types: CuPy would pass a
        Python float as double and a Python int as 64 bits.
        """
        pointers = tuple(
            np.uintp(0) if a is None else np.uintp(self.address(a)) if isinstance(a, Tensor) else a for a in args
        )
        device = self.device(like)
        with self.cupy.cuda.Device(device), self.cupy.cuda.ExternalStream(self.stream(device), device):
            kernel = self._module(device, variant).get_function(name)
            kernel((-(-neurons // BLOCK),), (BLOCK,), pointers)

    def _module(self, device: int, variant: tuple[str, ...]) -> Any:
        with self._lock:
            if (device, variant) not in self._modules:
                self._modules[device, variant] = self.cupy.RawModule(code=source(), options=variant)
            return self._modules[device, variant]


class CupyEngine:
    """The engine "cupy"."""

    name = "cupy"

    def __init__(self, cuda: Cuda | None = None) -> None:
        self.cuda = cuda or Cuda()

    def why_not(self) -> Exception | None:
        """Return None, or why CuPy cannot run here: not installed, no driver, no device, a torch without CUDA."""
        try:
            devices = self.cuda.cupy.cuda.runtime.getDeviceCount()
        except (ImportError, RuntimeError) as error:  # CuPy's CUDARuntimeError says: no driver, or one too old
            kind = ImportError if isinstance(error, ImportError) else RuntimeError
            return kind(f"{error}; {INSTALL}")
        if devices == 0:
            return RuntimeError("CuPy finds no CUDA device")
        if self.cuda.device_type == "cuda" and not torch.cuda.is_available():
            return RuntimeError(f"torch {torch.__version__} finds no CUDA device")
        return None

    def refuses(self, spec: NeuronSpec, x: Tensor) -> str | None:
        """Return None, or why this is not for the kernels."""
        if x.device.type != self.cuda.device_type:
            return f"the input is on {x.device}, the kernels run on {self.cuda.device_type}"
        if x.dtype not in IO:
            return f"the kernels compute in float32, the input is {x.dtype}"
        if not spec.surrogate.spiking:
            return f"the kernels spike, {spec.surrogate.name} has spiking=False"
        if DERIVATIVES.get(spec.surrogate.name) is not type(spec.surrogate):
            return f"the kernels have no surrogate {spec.surrogate.name}"
        return None

    def multi_step(
        self, spec: NeuronSpec, x_seq: Tensor, v: Tensor, w: Tensor | None = None, *, store_v_seq: bool = False
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Run the neuron over all steps."""
        for name, other in (("v", v), ("w", w)):
            if other is not None and other.device != x_seq.device:
                raise UsageError(f"{name} is on {other.device}, the input on {x_seq.device}")
        needs_grad = torch.is_grad_enabled() and any(a is not None and a.requires_grad for a in (x_seq, v, w))
        outputs = _Neuron.apply(x_seq, v, w, spec, store_v_seq, needs_grad, self.cuda)  # type: ignore[no-untyped-call]
        s_seq, v_last, v_seq = outputs
        return s_seq, v_last, v_seq


class _Neuron(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        v: Tensor,
        w: Tensor | None,
        spec: NeuronSpec,
        store_v_seq: bool,
        needs_grad: bool,
        cuda: Cuda,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        s = torch.empty_like(x)
        if not _is_flat(x, s):
            x = x.contiguous()
            s = torch.empty_like(x)
        q = inverse_tau(w, torch.float32) if w is not None else None
        v_first = _laid_out_as(x[0], v, torch.float32)
        v_last = torch.empty_like(v_first)
        h_seq = torch.empty_like(x, dtype=torch.float32) if needs_grad else None
        v_seq = torch.empty_like(x, dtype=torch.float32) if store_v_seq else None
        if x.numel():
            args = (x, v_first, q, s, v_last, h_seq, v_seq, *_scalars(spec), np.int32(len(x)), np.int64(x[0].numel()))
            cuda.launch("forward", options(spec, x.dtype, backward=False), x[0].numel(), x, args)
        ctx.spec, ctx.cuda, ctx.dtype, ctx.w_dtype = spec, cuda, x.dtype, w.dtype if w is not None else None
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(h_seq, v_first, q)
        return s, v_last, v_seq

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_s: Tensor | None, grad_v: Tensor | None, grad_v_seq: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        spec: NeuronSpec = ctx.spec
        h, v_first, q = ctx.saved_tensors
        grad_x, grad_v_first = torch.empty_like(h, dtype=ctx.dtype), torch.empty_like(v_first)
        neurons = v_first.numel()
        sums = None if q is None else torch.empty(-(-neurons // BLOCK), dtype=torch.float64, device=h.device)
        if neurons:
            upstream = (
                _laid_out_as(h, grad_s, ctx.dtype),
                _laid_out_as(v_first, grad_v, torch.float32),
                _laid_out_as(h, grad_v_seq, torch.float32),
            )
            parameters = [np.float32(p) for p in spec.surrogate.params.values()]
            scalars = (*_scalars(spec), *parameters, *[np.float32(0)] * (2 - len(parameters)))
            args = (*upstream, h, v_first, q, grad_x, grad_v_first, sums, *scalars, np.int32(len(h)), np.int64(neurons))
            ctx.cuda.launch("backward", options(spec, ctx.dtype, backward=True), neurons, h, args)
        grad_w = None
        if sums is not None and q is not None:
            # The sum of a few numbers in float64, in torch's fixed order: no float atomics anywhere.
            grad_w = (sums.sum() * ((1 - q) if spec.decay_input else q * (1 - q))).to(ctx.w_dtype)
        return grad_x, grad_v_first, grad_w, None, None, None, None


def _scalars(spec: NeuronSpec) -> tuple[np.float32, np.float32, np.float32]:
    """Return threshold, v_reset and k: tau to divide by, or 1/tau where that is exact; PLIF reads its k from q."""
    k = 1.0 if spec.tau is None else 1.0 / spec.tau if _is_power_of_two(spec.tau) else spec.tau
    return np.float32(spec.v_threshold), np.float32(spec.v_reset or 0.0), np.float32(k)


def _is_flat(x: Tensor, like: Tensor) -> bool:
    """Whether step after step lies in memory without gaps; the neurons may lie in any order, as in channels_last."""
    return x.stride() == like.stride() and (len(x) == 1 or x.stride(0) == x[0].numel())


@overload
def _laid_out_as(like: Tensor, x: Tensor, dtype: torch.dtype) -> Tensor: ...
@overload
def _laid_out_as(like: Tensor, x: None, dtype: torch.dtype) -> None: ...
def _laid_out_as(like: Tensor, x: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Return ``x`` in a dtype and with the strides of ``like``; itself if it is so already."""
    if x is None or (x.dtype == dtype and x.stride() == like.stride()):
        return x
    return torch.empty_like(like, dtype=dtype).copy_(x)


ENGINE = CupyEngine()
