"""CUDA C on the CPU: g++ compiles the kernels' own text against shim/, and a launcher that trusts nobody runs it.

Hundreds of variants go into one library, which the compiler finishes in the time of a few.
"""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import subprocess
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

SHIM = Path(__file__).parent / "shim"
FAULTS = {
    1: "some threads of a block wait at a barrier that others never reach",
    2: "reads or writes outside its arrays",
}
POISON = 0xFF
LIBC = ctypes.CDLL(None, use_errno=True)
OWN = [*sorted(SHIM.iterdir()), Path(__file__)]
Variant = tuple[str, ...]
Unit = tuple[str, Variant]  # a text, and what is made of it


class LaunchError(Exception):
    """A launch that a GPU would have carried out wrongly, or not at all."""


class Argument(NamedTuple):
    """A parameter as the kernel declares it: "float32" by value, "in float32" and "out float32" by address."""

    direction: str
    dtype: str


def kernel_of(variant: Variant) -> str:
    """Return the name of the one kernel that a variant of the text holds."""
    return "backward" if any(option.startswith("-DSURROGATE=") for option in variant) else "forward"


def translation_unit(units: list[Unit], files: dict[str, Path]) -> str:
    """Return one C++ text that holds every unit, each in a namespace, with its kernel numbered."""
    lines = [f'#include "{header}.h"' for header in ("cuda_cpu", "cuda_fp16", "cuda_bf16")]
    for i, (text, variant) in enumerate(units):
        switches = [option[2:].split("=") for option in variant if option.startswith("-D")]
        kernel = kernel_of(variant)
        switches.append([kernel, f"{kernel}_{i}"])  # one name, one kernel: C linkage does not see the namespace
        lines += [f"namespace unit_{i} {{"]
        lines += [f"#define {name} {value}" for name, value in switches]
        lines += [f'#include "{files[text]}"', f"CUDA_CPU_EXPORT({kernel}_{i})"]
        lines += [f"#undef {name}" for name, _ in switches]
        lines += ["}"]
    return "\n".join(lines)


def compile_library(units: list[Unit], folder: Path) -> ctypes.CDLL:
    """Return the library of all units; made once for the same units and shim."""
    if any("--fmad=false" not in variant for _, variant in units):
        raise LaunchError("without --fmad=false a GPU contracts a * b + c, and the bits are not those of torch")
    library = folder / f"{_digest(repr(units), *(p.read_text() for p in OWN))}.so"
    if not library.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as made:  # several runs may make it at a time
            _compile(units, Path(made)).replace(library)
    return ctypes.CDLL(str(library))


def _compile(units: list[Unit], folder: Path) -> Path:
    files = {text: folder / f"{_digest(text)}.cu" for text, _ in units}
    for text, path in files.items():
        path.write_text(text)
    made = folder / "library.so"
    flags = ["-std=c++20", "-Og", "-ffp-contract=off", "-fPIC", "-shared", "-Wno-unknown-pragmas", f"-I{SHIM}"]
    flags += ["-fsanitize=bounds", "-fsanitize-undefined-trap-on-error"]  # arrays of a thread and of a block
    command = ["g++", *flags, "-x", "c++", "-", "-o", str(made)]
    done = subprocess.run(command, input=translation_unit(units, files), capture_output=True, text=True, check=False)
    if done.returncode:
        raise LaunchError(f"g++ refuses the kernels:\n{done.stderr[:4000]}")
    return made


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]


class Kernels:
    """Many kernels, compiled in a few libraries, two at a time."""

    def __init__(self, units: Iterable[Unit], folder: Path, libraries: int = 1) -> None:
        ordered = sorted(set(units))
        shares = [ordered[i::libraries] for i in range(libraries)]
        with ThreadPoolExecutor(2) as pool:
            made = list(pool.map(lambda share: compile_library(share, folder), shares))
        self._where = {unit: (made[i % libraries], i // libraries) for i, unit in enumerate(ordered)}

    def get(self, text: str, variant: Variant) -> Kernel:
        """Return the one kernel of a variant of a text."""
        library, i = self._where[text, variant]
        return Kernel(library, f"{kernel_of(variant)}_{i}", kernel_of(variant))


class Kernel:
    """A kernel and the one way to launch it: arrays between fences, outputs poisoned."""

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
        passed = list(zip(self.arguments, values, strict=True))
        fenced = [None if v is None or a.direction == "value" else Fenced(v, a.direction == "in") for a, v in passed]
        pointers = (ctypes.c_void_p * len(values))()
        keep = []
        for i, ((a, value), copy) in enumerate(zip(passed, fenced, strict=True)):
            if a.direction != "value":
                keep.append(ctypes.c_void_p(0 if copy is None else copy.data.ctypes.data))
                pointers[i] = ctypes.addressof(keep[-1])
            else:
                assert value is not None
                pointers[i] = value.ctypes.data
        if result := self._launch(grid, block, order, pointers):
            raise LaunchError(f"{self.name}: {FAULTS[result]}")
        for i, ((a, value), copy) in enumerate(zip(passed, fenced, strict=True)):
            if copy is not None and value is not None:
                if (copy.slack != POISON).any():
                    raise LaunchError(f"{self.name} writes before the beginning of argument {i}")
                if a.direction == "out":
                    value.view(np.uint8).reshape(-1)[:] = copy.data


class Fenced:
    """A copy of an array that ends where a page begins that nobody may touch; another such page lies before it.

    What is not filled is 0xFF, which is NaN in every type: outputs until they are written, and the slack before.
    """

    def __init__(self, value: np.ndarray, filled: bool) -> None:
        fence = 4 * mmap.PAGESIZE
        self._map = mmap.mmap(-1, -(-value.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE + 2 * fence)
        memory = np.frombuffer(self._map, np.uint8)
        inside = memory[fence:-fence]
        inside[:] = POISON
        self.slack, self.data = np.split(inside, [inside.size - value.nbytes])
        if filled:
            self.data[:] = value.view(np.uint8).reshape(-1)
        for start in (memory.ctypes.data, memory.ctypes.data + memory.size - fence):
            no_access = 0
            if LIBC.mprotect(ctypes.c_void_p(start), ctypes.c_size_t(fence), no_access):
                raise OSError(ctypes.get_errno(), "mprotect")
