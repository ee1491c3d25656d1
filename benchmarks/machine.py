"""What was measured on: processor, load, bandwidth, versions, code."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import time
from pathlib import Path

import numpy as np

from benchmarks.child import PROJECT, Answer


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


def described(cores: int) -> str:
    """Return the machine in a few words."""
    return f"{processor()}, {cores} of its cores used, {platform.system()}"


def versions(answers: dict[str, Answer]) -> dict[str, str]:
    """Return the versions of everything that took part; a peer's are marked with its name."""
    found: dict[str, str] = {"Python": platform.python_version()}
    for answer in answers.values():
        has = answer["versions"]
        peer = next((name for name in ("spikingjelly", "tonic") if name in has), None)
        found |= {name if peer in (None, name) else f"{name} ({peer}'s)": version for name, version in has.items()}
    return found


def code() -> str:
    """Return a digest of dvsprep's source: figures of one are not those of another."""
    digest = hashlib.sha256()
    for file in sorted((PROJECT / "dvsprep").rglob("*.py")):
        digest.update(file.relative_to(PROJECT).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:8]
