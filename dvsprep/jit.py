"""What kernels are made with: one Numba decorator (no GIL, compiled once a machine), words of 8 bytes, a maximum."""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def _without_blas() -> Iterator[None]:
    """Have Numba not import SciPy to see whether there is BLAS: much of its start-up, and no kernel asks for it.

    A user's own Numba function that multiplies matrices finds SciPy all the same: Numba imports it again where it
    compiles one, and what it had noted is put right.
    """
    if not {"numba", "scipy"}.isdisjoint(sys.modules) or importlib.util.find_spec("scipy") is None:
        yield
        return
    sys.modules["scipy"] = None  # type: ignore[assignment]  # which makes its import an ImportError
    try:
        yield
    finally:
        del sys.modules["scipy"]
    numba.np.arraymath._HAVE_BLAS = True


@contextmanager
def _uncollected() -> Iterator[None]:
    """Have Python not look for garbage in what Numba builds up at its start: a sixth of that time, and all is kept."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


with _uncollected(), _without_blas():
    import numba
    import numba.np.arraymath  # where it looks; with the first kernel it would be imported anyway
    from llvmlite import binding, ir
    from numba.core import config, types
    from numba.core.registry import cpu_target
    from numba.extending import intrinsic

    cpu_target.target_context.refresh()  # a third of the start, else done at the first call of a kernel

NUMBA = numba.__version__
Kernel = Callable[..., Any]
settings: Any = config  # built at import from the environment; type checkers do not see what is in it


def kernel(function: Kernel) -> Kernel:
    """Compile a kernel lazily, without the GIL, and keep the result on disk where that is possible.

    Numba puts its cache beside the source or below HOME and raises at decoration when it can write to neither
    (read-only install, no HOME: numba issues 4908, 5566). Then our own folder serves, and failing that, memory.
    """
    for folder in (None, _own_cache()):
        before = settings.CACHE_DIR
        try:
            if folder is not None:
                settings.CACHE_DIR = folder
            return _compile(function, cache=True)
        except RuntimeError:
            continue
        finally:
            settings.CACHE_DIR = before
    return _compile(function, cache=False)


def _compile(function: Kernel, *, cache: bool) -> Kernel:
    compiled: Kernel = numba.njit(function, nogil=True, error_model="numpy", cache=cache)
    return compiled


def _own_cache() -> str:
    import platformdirs

    root = os.environ.get("DVSPREP_ROOT") or platformdirs.user_cache_dir("dvsprep")
    return str(Path(root) / ".numba")


def _word(function: Kernel) -> Kernel:
    made: Kernel = intrinsic(function)  # what Numba makes of it takes other arguments than the function
    return made


def _address(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, args[0])
    base = builder.bitcast(array.data, ir.IntType(8).as_pointer())
    return builder.bitcast(builder.gep(base, [args[1]]), ir.IntType(64).as_pointer())


@_word
def load64(_: Any, array: Any, at: Any) -> Any:  # noqa: ARG001
    """Return eight bytes of a contiguous array from byte ``at`` on as a little-endian uint64, aligned or not.

    Numba assembles a word from eight loads, which no longer vectorise; a kernel that walks packed bytes needs this one.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_address(context, builder, signature, args), align=1)

    return types.uint64(array, types.intp), generate


@_word
def store64(_: Any, array: Any, at: Any, word: Any) -> Any:  # noqa: ARG001
    """Write a uint64 to bytes ``at`` to ``at + 8`` of a contiguous array, little-endian, aligned or not."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], _address(context, builder, signature, args), align=1)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.uint64), generate


@_word
def store32(_: Any, array: Any, at: Any, word: Any) -> Any:  # noqa: ARG001
    """Write a uint32 to bytes ``at`` to ``at + 4``, as :func:`store64` does."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _address(context, builder, signature, args)
        builder.store(args[2], builder.bitcast(place, ir.IntType(32).as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.uint32), generate


@_word
def swap64(_: Any, word: Any) -> Any:  # noqa: ARG001
    """Reverse the bytes of a uint64."""

    def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
        return builder.bswap(args[0])

    return types.uint64(types.uint64), generate


def moves_bits() -> bool:
    """Tell whether this processor has PDEP and PEXT (BMI2) as instructions: AMD's before Zen 3 take a bit at a time.

    Where Numba is told what to compile for, they are not counted on.
    """
    if settings.CPU_NAME is not None or settings.CPU_FEATURES is not None:
        return False
    slow = ("bdver4", "znver1", "znver2")
    return bool(binding.get_host_cpu_features().get("bmi2")) and binding.get_host_cpu_name() not in slow


def _bmi2(name: str) -> Kernel:
    def typed(_: Any, word: Any, mask: Any) -> Any:  # noqa: ARG001
        def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
            word = ir.IntType(64)
            function = ir.FunctionType(word, [word, word])
            return builder.call(builder.module.declare_intrinsic(f"llvm.x86.bmi.{name}.64", (), function), args)

        return types.uint64(types.uint64, types.uint64), generate

    return _word(typed)


deposit64, extract64 = _bmi2("pdep"), _bmi2("pext")
"""Give the lowest bits of a uint64 the places of a mask's bits, and the reverse; only where :func:`moves_bits`."""


@_word
def nonzero64(_: Any, array: Any, at: Any) -> Any:  # noqa: ARG001
    """Return a bit for each of 64 bytes of a contiguous uint8 array from ``at`` on, set where the byte is not zero."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        many = ir.VectorType(ir.IntType(8), 64)
        place = builder.bitcast(_address(context, builder, signature, args), many.as_pointer())
        set_bytes = builder.icmp_unsigned("!=", builder.load(place, align=1), ir.Constant(many, [0] * 64))
        return builder.bitcast(set_bytes, ir.IntType(64))

    return types.uint64(array, types.intp), generate


@_word
def lowest64(_: Any, word: Any) -> Any:  # noqa: ARG001
    """Return the position of the lowest bit that is set in a uint64 other than 0."""

    def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate


@kernel
def largest_of(values: Any) -> Any:
    """Return the largest of whole numbers, of which there is at least one: 32 bytes an instruction."""
    largest = values[0]
    for value in values:
        largest = max(largest, value)
    return largest
