"""CUDA C on the CPU: g++ compiles the kernels' own text against shim/, and a launcher that trusts nobody runs it.

Many variants of one text go into one library, which the compiler finishes in little more than the time of one.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

SHIM = Path(__file__).parent / "shim"
GUARD = 256  # bytes on both sides of an array that a kernel must leave alone
Variant = tuple[str, ...]


class LaunchError(Exception):
    """A launch that a GPU would have carried out wrongly, or not at all."""


class Argument(NamedTuple):
    """A parameter as the kernel declares it: "float32" by value, "in float32" and "out float32" by address."""

    direction: str
    dtype: str


def kernel_of(variant: Variant) -> str:
    """Return the name of the one kernel that a variant of the text holds."""
    return "backward" if any(option.startswith("-DSURROGATE=") for option in variant) else "forward"


def translation_unit(text: Path, variants: list[Variant]) -> str:
    """Return one C++ text that holds every variant, each in a namespace, with its kernels numbered."""
    lines = [f'#include "{header}.h"' for header in ("cuda_cpu", "cuda_fp16", "cuda_bf16")]
    for i, variant in enumerate(variants):
        switches = [option[2:].split("=") for option in variant if option.startswith("-D")]
        kernel = kernel_of(variant)
        switches.append([kernel, f"{kernel}_{i}"])  # one name, one kernel: C linkage does not see the namespace
        lines += [f"namespace variant_{i} {{"]
        lines += [f"#define {name} {value}" for name, value in switches]
        lines += [f'#include "{text}"', f"CUDA_CPU_EXPORT({kernel}_{i})"]
        lines += [f"#undef {name}" for name, _ in switches]
        lines += ["}"]
    return "\n".join(lines)


def compile_library(text: str, variants: list[Variant], folder: Path) -> ctypes.CDLL:
    """Return the library of all variants; made once for the same text, variants and shim."""
    if any("--fmad=false" not in variant for variant in variants):
        raise LaunchError("without --fmad=false a GPU contracts a * b + c, and the bits are not those of torch")
    parts = [text, repr(variants), *(p.read_text() for p in sorted(SHIM.iterdir())), Path(__file__).read_text()]
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]
    library = folder / f"{key}.so"
    if not library.exists():
        folder.mkdir(parents=True, exist_ok=True)
        made = folder / f"{key}-{os.getpid()}"  # several runs may make it at a time; the last rename wins
        source = made.with_suffix(".cu")
        source.write_text(text)
        flags = ["-std=c++20", "-O1", "-ffp-contract=off", "-fPIC", "-shared", "-Wno-unknown-pragmas", f"-I{SHIM}"]
        command = ["g++", *flags, "-x", "c++", "-", "-o", str(made)]
        unit = translation_unit(source, variants)
        done = subprocess.run(command, input=unit, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LaunchError(f"g++ refuses the kernels:\n{done.stderr[:4000]}")
        made.replace(library)
    return ctypes.CDLL(str(library))


class Kernels:
    """The variants of one text, compiled in a few libraries, two at a time."""

    def __init__(self, text: str, variants: list[Variant], folder: Path, libraries: int = 1) -> None:
        self.variants = sorted(set(variants))
        shares = [self.variants[i::libraries] for i in range(libraries)]
        with ThreadPoolExecutor(2) as pool:
            made = list(pool.map(lambda share: compile_library(text, share, folder), shares))
        self._where = {variant: (made[i % libraries], i // libraries) for i, variant in enumerate(self.variants)}

    def get(self, variant: Variant, name: str) -> Kernel:
        """Return one kernel of one variant."""
        if name != kernel_of(variant):
            raise LaunchError(f"the variant has no kernel {name}: {variant}")
        library, i = self._where[variant]
        return Kernel(library, f"{name}_{i}", name)


class Kernel:
    """A kernel and the one way to launch it: arrays between guards, outputs poisoned, every type checked."""

    def __init__(self, library: ctypes.CDLL, symbol: str, name: str) -> None:
        self.name = name
        self._launch = getattr(library, f"{symbol}__launch")
        signature = getattr(library, f"{symbol}__signature")
        signature.restype = ctypes.c_char_p
        self.arguments = [
            Argument(*(parts if len(parts) == 2 else ("value", *parts)))
            for parts in (p.split() for p in signature().decode().rstrip(",").split(","))
        ]

    def __call__(self, grid: int, block: int, values: list[np.ndarray | None], order: int = 0) -> None:
        """Run the kernel; each value is an array of the bytes to pass: itself by value, or by address."""
        guarded = [
            None if value is None or a.direction == "value" else self._guard(a, value)
            for a, value in zip(self.arguments, values, strict=True)
        ]
        pointers = (ctypes.c_void_p * len(values))()
        keep = []
        for i, (a, value, copy) in enumerate(zip(self.arguments, values, guarded, strict=True)):
            if a.direction != "value":
                keep.append(ctypes.c_void_p(0 if copy is None else copy.ctypes.data + GUARD))
                pointers[i] = ctypes.addressof(keep[-1])
            else:
                assert value is not None
                pointers[i] = value.ctypes.data
        if self._launch(grid, block, order, pointers):
            raise LaunchError(f"{self.name}: some threads of a block wait at a barrier that others never reach")
        for i, (a, value, copy) in enumerate(zip(self.arguments, values, guarded, strict=True)):
            if copy is not None and value is not None:
                self._check_guards(i, copy)
                if a.direction == "out":
                    value.view(np.uint8).reshape(-1)[:] = copy[GUARD:-GUARD]

    @staticmethod
    def _guard(a: Argument, value: np.ndarray) -> np.ndarray:
        """Return a copy between guards of 0xFF, which is NaN in every type; outputs are NaN until written."""
        copy = np.full(value.nbytes + 2 * GUARD, 0xFF, np.uint8)
        if a.direction == "in":
            copy[GUARD:-GUARD] = value.view(np.uint8).reshape(-1)
        return copy

    def _check_guards(self, i: int, copy: np.ndarray) -> None:
        if not ((copy[:GUARD] == 0xFF).all() and (copy[-GUARD:] == 0xFF).all()):
            raise LaunchError(f"{self.name}: argument {i} is written to outside its bounds")
