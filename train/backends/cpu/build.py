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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import platformdirs
from filelock import FileLock

FORBID = "DVSPREP_NO_COMPILER"
HERE = Path(__file__).parent
SOURCES = ("multi_step.cpp", "block.cpp", "recurrent.cpp")
HEADERS = ("rows.hpp", "strips.hpp", "surrogate.hpp")
# No contraction and nothing of -ffast-math: numbers are the torch engine's. Kernels neither read errno nor trap.
FLAGS = ("-std=c++17", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fPIC")
OPENMP = (("-fopenmp",), ())  # tried in this order: Apple's clang has none
SECONDS = 300


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
            library = _opened(_built(command, path))
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
    import llvmlite.binding

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
        objects = [Path(work) / f"{name}.o" for name in SOURCES]
        jobs = [[*command, "-c", str(HERE / o.stem), "-o", str(o)] for o in objects]
        with ThreadPoolExecutor() as pool:
            list(pool.map(_run, jobs))
        _run([*command, "-shared", *map(str, objects), "-o", str(made)])
        made.replace(path)
    return path


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        raise CompilerError(f"{command[0]} does not run: {error}") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
        raise CompilerError(f"{command[0]} failed: {lines[0].strip() if lines else f'exit code {done.returncode}'}")


def _opened(path: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        path.unlink(missing_ok=True)
        raise CompilerError(f"{path} does not load: {error}") from error
