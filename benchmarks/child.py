"""One stage in a fresh process: seconds, seconds until it could begin, peak memory.

Standard library only, because the peer's Python runs it too.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]

Request = dict[str, Any]
Answer = dict[str, Any]


def call(python: str, module: str, request: Request) -> Answer:
    """Run ``python -m module`` with a request; return what it answers.

    Raises
    ------
    SystemExit
        When the child fails; its own words are on stderr.
    """
    text = json.dumps(request | {"spawned": time.time()})
    done = subprocess.run([python, "-m", module, text], cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{module} failed at {request['stage']} (exit code {done.returncode})")
    answer: Answer = json.loads(done.stdout.splitlines()[-1])
    return answer


def serve(
    load: Callable[[], dict[str, str]],
    clear: Callable[[Request], None],
    run: Callable[[Request], list[Path]],
) -> None:
    """Answer the request in ``sys.argv``: import, remove what an earlier run left, then time the stage alone.

    Parameters
    ----------
    load : callable
        Imports everything; returns versions by name.
    run : callable
        Does the stage; returns the files or folders it made.
    """
    request: Request = json.loads(sys.argv[1])
    _pin(request["cores"])
    versions = load()
    start = time.time() - request["spawned"]
    clear(request)
    begin, before = time.perf_counter(), time.process_time()
    made = run(request)
    seconds, cpu = time.perf_counter() - begin, time.process_time() - before
    answer = {"seconds": seconds, "cpu": cpu, "start": start, "peak": _peak(), "bytes": sum(map(size, made))}
    sys.stdout.write("\n" + json.dumps(answer | {"versions": versions}) + "\n")


def size(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder."""
    return path.stat().st_size if path.is_file() else sum(f.stat().st_size for f in path.rglob("*") if f.is_file())


def _pin(cores: int) -> None:
    """Keep to the first ``cores`` CPUs, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def _peak() -> int:
    """Return the peak of resident memory in bytes, pages of mapped files included.

    Linux counts into ``ru_maxrss`` what the parent held when it forked, so its own high-water mark is read there.
    """
    try:
        return int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) * 1024
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
