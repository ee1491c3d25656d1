"""C++ text in, a loaded library out: compiled once a machine, at first use, by the compiler that is there."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import astuple
from pathlib import Path
from typing import Any

import llvmlite.binding
import platformdirs
import torch
from filelock import FileLock
from torch import Tensor

from train.backends.cpu.plan import Plan

FORBID = "DVSPREP_NO_COMPILER"
HERE = Path(__file__).parent
SOURCES = ("surrogate.cpp", "multi_step.cpp")
HEADERS = ("rows.hpp",)
# No contraction and nothing of -ffast-math: numbers are the torch engine's. Kernels neither read errno nor trap.
FLAGS = ("-std=c++17", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared")
OPENMP = (("-fopenmp",), ())  # tried in this order: Apple's clang has none
SECONDS = 300
SIGNATURES = {  # n: Neuron, p: pointer, l: int64, i: int
    "neuron_forward": ("nii ll pl p ppp i", None),
    "neuron_backward": ("nii ll pl p pl pp pp ii", ctypes.c_double),
}
PARALLEL_FROM = 1 << 15  # numbers: below, a second thread costs more than it brings
STREAM_FROM = 16 << 20  # bytes: outputs of this size go past the caches


class Native:
    """The C++ kernels, as the engine calls them."""

    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16)

    def __init__(self) -> None:
        self.library, self.made_by = load()

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


def _start(plan: Plan, x: Tensor) -> tuple[Any, int, int]:
    """Return what every kernel takes first: the neuron, whether x is bfloat16, the threads."""
    small = x.numel() < PARALLEL_FROM
    return ctypes.byref(Neuron(*astuple(plan))), x.dtype == torch.bfloat16, 1 if small else torch.get_num_threads()


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


class CompilerError(RuntimeError):
    """No library, and why: there is no compiler, it is forbidden, or it failed."""


@functools.cache
def load() -> tuple[ctypes.CDLL, str]:
    """Return the library and how it was made, in words.

    Raises
    ------
    CompilerError
        With what failed and why.
    """
    if os.environ.get(FORBID, "0") not in ("", "0"):
        raise CompilerError(f"the environment variable {FORBID} forbids it")
    compiler = _compiler()
    try:
        version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise CompilerError(f"{compiler} does not run: {error}") from error
    problems = []
    for openmp in OPENMP:
        command = [compiler, *FLAGS, _tuned(), *openmp]
        path = _folder() / f"kernels-{_key(command, version)}.so"
        try:
            library = _declared(_built(command, path))
        except CompilerError as error:
            problems.append(str(error))
            continue
        return library, f"{version.splitlines()[0]}{'' if openmp else ', without OpenMP: one thread'}"
    raise CompilerError(problems[0])


def _compiler() -> str:
    asked = os.environ.get("CXX")
    for name in [asked] if asked else ["g++", "clang++"]:
        if found := shutil.which(name):
            return found
    raise CompilerError(f"no C++ compiler: {f'CXX={asked} was' if asked else 'neither g++ nor clang++ were'} found")


def _tuned() -> str:
    return "-march=native" if platform.machine().lower() in ("x86_64", "amd64") else "-mcpu=native"


def _key(command: list[str], version: str) -> str:
    """Return what tells two libraries apart: the text, the compiler, its flags and the processor (a shared HOME)."""
    digest = hashlib.sha256()
    for name in (*SOURCES, *HEADERS):
        digest.update((HERE / name).read_bytes())
    cpu = llvmlite.binding.get_host_cpu_name(), llvmlite.binding.get_host_cpu_features().flatten()
    digest.update(repr((command[1:], version, platform.platform(), cpu)).encode())
    return digest.hexdigest()[:16]


@functools.cache
def _folder() -> Path:
    """Return where libraries are kept; a private folder for this process where ours cannot be written."""
    root = os.environ.get("DVSPREP_ROOT") or platformdirs.user_cache_dir("dvsprep")
    folder = Path(root).expanduser() / ".native"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return Path(tempfile.mkdtemp(prefix="dvsprep-native-"))


def _built(command: list[str], path: Path) -> Path:
    """Compile unless it is there. One process compiles, others wait; the file has its name only when it is whole."""
    if path.exists():
        return path
    with FileLock(path.with_suffix(".lock")), tempfile.TemporaryDirectory(dir=path.parent) as work:
        if path.exists():
            return path
        made = Path(work) / path.name
        command = [*command, "-o", str(made), *(str(HERE / name) for name in SOURCES)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            raise CompilerError(f"{command[0]} does not run: {error}") from error
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
            words = lines[0] if lines else f"exit code {done.returncode}"
            raise CompilerError(f"{command[0]} failed: {words.strip()}")
        made.replace(path)
    return path


def _declared(path: Path) -> ctypes.CDLL:
    """Load the library and tell ctypes the signatures, one letter an argument."""
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        path.unlink(missing_ok=True)
        raise CompilerError(f"{path} does not load: {error}") from error
    kinds = {"n": ctypes.POINTER(Neuron), "p": ctypes.c_void_p, "l": ctypes.c_int64, "i": ctypes.c_int}
    for name, (arguments, result) in SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes = [kinds[letter] for letter in arguments.replace(" ", "")]
        function.restype = result
    return library
