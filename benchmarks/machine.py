"""What was measured on: processor, cores, load, bandwidth; and the peer's environment."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
import venv
from pathlib import Path

import numpy as np

from benchmarks.peer import VERSION


def processor() -> str:
    """Return the processor's name."""
    try:
        return re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())[0].strip()
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def load() -> str:
    """Return the load average of the last minute: what else the machine had to do."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def copy_bandwidth(megabytes: int) -> float:
    """Return bytes read and written a second by a copy within memory; the best of five."""
    source = np.ones(megabytes << 20, np.uint8)
    target = np.zeros_like(source)
    return 2 * source.nbytes / min(_seconds(lambda: np.copyto(target, source)) for _ in range(5))


def read_seconds(files: list[Path]) -> float:
    """Return what reading files into one buffer takes, page cache warm; the best of five."""
    buffer = bytearray(1 << 20)

    def read() -> None:
        for file in files:
            with file.open("rb", buffering=0) as handle:
                while handle.readinto(buffer):
                    pass

    return min(_seconds(read) for _ in range(5))


def _seconds(work) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def peer_python(folder: Path) -> str:
    """Return a Python that has the peer, from an environment made below ``folder`` unless it is there."""
    home = folder / f"spikingjelly-{VERSION}"
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    has = [str(python), "-c", f"from importlib.metadata import version as v; assert v('spikingjelly') == '{VERSION}'"]
    if not python.exists() or subprocess.run(has, stderr=subprocess.DEVNULL, check=False).returncode:
        print(
            f"making an environment with spikingjelly {VERSION}; it holds PyTorch, so this takes a while",
            file=sys.stderr,
        )
        venv.create(home, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", f"spikingjelly=={VERSION}"], check=True)
    return str(python)
