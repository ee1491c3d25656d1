"""A stand-in for CuPy and torch.cuda on a machine without a GPU: it refuses what CuPy would pass on wrongly.

The engine's own lines run against it: choice of variant, grid, argument list, device and stream. Tensors are on the CPU
and count as being on the device that the world says; kernels run through the shim (cuda_cpu.py).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from cuda_cpu import Argument, Kernel, LaunchError, Variant
from torch import Tensor

from train import surrogate
from train.backends import NeuronSpec
from train.backends.cupy import DERIVATIVES, Cuda, options

NAMES = {torch.float32: "float32", torch.float64: "float64", torch.float16: "float16", torch.bfloat16: "bfloat16"}
# Launch limits of every device since compute capability 3.0 (CUDA programming guide, "Technical specifications").
MOST_BLOCKS, MOST_THREADS = 2**31 - 1, 1024


class World:
    """One pretended machine: its devices, which is current, torch's stream on each, and what was launched."""

    def __init__(self, find: Callable[[str, Variant], Kernel], devices: int = 1) -> None:
        self.find, self.devices = find, devices
        self.current_device = 0
        self.torch_streams = dict.fromkeys(range(devices), 0)  # torch's default stream is CUDA's null stream
        self.cupy_stream: tuple[int, int] | None = None
        self.holder: Callable[[Tensor], int] = lambda x: 0
        self.addresses: dict[int, Tensor] = {}
        self.launches: list[tuple[str, int, int, Variant]] = []  # kernel, device, stream, variant
        self.compiled: list[tuple[int, Variant]] = []
        self.order = 0
        self.cupy = SimpleNamespace(
            RawModule=functools.partial(RawModule, self),
            cuda=SimpleNamespace(
                Device=self.device,
                ExternalStream=self.external_stream,
                runtime=SimpleNamespace(getDeviceCount=lambda: self.devices),
            ),
        )

    @contextmanager
    def device(self, number: int) -> Iterator[None]:
        if not 0 <= number < self.devices:
            raise RuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        before, self.current_device = self.current_device, number
        try:
            yield
        finally:
            self.current_device = before

    @contextmanager
    def external_stream(self, handle: int, device: int = -1) -> Iterator[None]:
        before, self.cupy_stream = self.cupy_stream, (device, handle)
        try:
            yield
        finally:
            self.cupy_stream = before


class RawModule:
    """As ``cupy.RawModule``: keywords only, compiled for the device that is current at the first launch."""

    def __init__(self, world: World, *, code: str, options: tuple[str, ...] = ()) -> None:
        if not isinstance(code, str) or not isinstance(options, tuple):
            raise TypeError("CuPy takes code as str and options as tuple")
        self.world, self.code, self.options = world, code, options
        world.compiled.append((world.current_device, options))

    def get_function(self, name: str) -> Callable[..., None]:
        kernel = self.world.find(self.code, self.options)
        if kernel.name != name:
            raise LaunchError(f"the variant has no kernel {name}, but {kernel.name}: {self.options}")
        return functools.partial(self._launch, kernel)

    def _launch(self, kernel: Kernel, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[object, ...]) -> None:
        world = self.world
        try:
            (blocks,), (threads,) = _sizes(grid, MOST_BLOCKS), _sizes(block, MOST_THREADS)
            if world.cupy_stream != (world.current_device, world.torch_streams[world.current_device]):
                raise LaunchError(f"{kernel.name} is not on torch's current stream, but on {world.cupy_stream}")
            if len(args) != len(kernel.arguments):
                raise LaunchError(f"{kernel.name} takes {len(kernel.arguments)} arguments, got {len(args)}")
            checked = zip(itertools.count(), kernel.arguments, args, strict=False)
            values = [self._value(f"{kernel.name}, argument {i}", a, value) for i, a, value in checked]
            kernel(blocks, threads, values, world.order)
            world.launches.append((kernel.name, world.current_device, world.cupy_stream[1], self.options))
        finally:
            world.addresses.clear()

    def _value(self, where: str, declared: Argument, value: object) -> np.ndarray | None:
        """Return the bytes that CuPy would pass for a value, if they are what the kernel declares."""
        if value is None:
            raise LaunchError(f"{where}: CuPy passes no null pointer for None")
        passed = np.asarray(value)  # a Python int becomes int64, a float float64, as in CuPy
        if declared.direction == "value":
            if passed.dtype != declared.dtype or passed.ndim:
                raise LaunchError(f"{where}: declared {declared.dtype}, CuPy would pass {passed.dtype}")
            return passed.reshape(1)
        if passed.dtype.itemsize != 8 or passed.dtype.kind not in "iu" or passed.ndim:
            raise LaunchError(f"{where}: declared a pointer, CuPy would pass {passed.dtype}")
        if passed == 0:
            return None
        tensor = self.world.addresses.get(int(passed))
        if tensor is None:
            raise LaunchError(f"{where}: no tensor is at {passed:#x}")
        if NAMES[tensor.dtype] != declared.dtype:
            raise LaunchError(f"{where}: declared {declared.dtype}*, the tensor is {tensor.dtype}")
        if self.world.holder(tensor) != self.world.current_device:
            raise LaunchError(f"{where}: the tensor is not on device {self.world.current_device}, which is current")
        return _memory(where, tensor)


def _sizes(sizes: tuple[int, ...], most: int) -> tuple[int]:
    if not isinstance(sizes, tuple) or len(sizes) != 1 or type(sizes[0]) is not int or not 1 <= sizes[0] <= most:
        raise LaunchError(f"grid or block {sizes}: a tuple of one int from 1 to {most} is expected")
    return sizes


def _memory(where: str, x: Tensor) -> np.ndarray:
    """Return a tensor's values as they lie in memory, if they lie there without gaps."""
    order = sorted(range(x.dim()), key=lambda d: (x.stride(d), x.shape[d]), reverse=True)
    dense = x.permute(order)
    if not dense.is_contiguous():
        raise LaunchError(f"{where}: the tensor of shape {list(x.shape)} and strides {x.stride()} has gaps")
    words = dense.detach().view(torch.int16) if x.dtype == torch.bfloat16 else dense.detach()
    return words.numpy().reshape(-1)


class StandIn(Cuda):
    """The engine's view of the pretended machine; all else in ``Cuda`` is the engine's own."""

    device_type = "cpu"

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.cupy = world.cupy  # type: ignore[misc]

    def device(self, x: Tensor) -> int:
        return self.world.holder(x)

    def stream(self, device: int) -> int:
        return self.world.torch_streams[device]

    def address(self, x: Tensor) -> int:
        self.world.addresses[x.data_ptr()] = x
        return super().address(x)


def every_variant(dtype: torch.dtype, kind: Any, surrogates: tuple[str, ...] = tuple(DERIVATIVES)) -> list[Variant]:
    """Return every variant of a kind of neuron that the engine can ask for."""
    variants = []
    for tau, v_reset, decays, detach in itertools.product(
        (2.0, 1.7) if kind == "lif" else (None,), (0.0, None), (True,) if kind == "if" else (True, False), (True, False)
    ):
        for name in surrogates:
            spec = NeuronSpec(kind, surrogate.get(name), 1.0, v_reset, tau, decays, detach)
            variants += [options(spec, dtype, backward=backward) for backward in (False, True)]
    return sorted(set(variants))
