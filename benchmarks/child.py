"""One task in a fresh process: seconds, CPU and memory of each of its laps, and what it took until it could begin.

Standard library only, because the peers' Pythons run it too.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]

# glibc gives large blocks back to the system at once, and each new batch is 10,000 page faults; told to keep them, it
# serves the next batch from the last one's. Read when a process starts.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(4 << 30), "MALLOC_TRIM_THRESHOLD_": str(4 << 30)}

Request = dict[str, Any]
Answer = dict[str, Any]


class Laps:
    """What a task measures of itself: only what runs inside a lap is timed.

    Attributes
    ----------
    times : dict
        ``{lap: {"seconds", "cpu", "peak"}}``; a lap that is run again adds up.
    sizes : dict
        Bytes on disk by name.
    facts : dict
        Whatever else the task has to tell, such as checksums to compare.
    """

    def __init__(self) -> None:
        self.times: dict[str, dict[str, float]] = {}
        self.sizes: dict[str, int] = {}
        self.facts: dict[str, Any] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time one lap."""
        begin, cpu = time.perf_counter(), time.process_time()
        yield
        seconds, used = time.perf_counter() - begin, time.process_time() - cpu
        lap = self.times.setdefault(name, {"seconds": 0.0, "cpu": 0.0, "peak": 0})
        lap["seconds"] += seconds
        lap["cpu"] += used
        lap["peak"] = max(lap["peak"], peak())


Task = Callable[[Request, Laps], None]


def call(python: str, module: str, request: Request, *, watch: bool = False) -> Answer:
    """Run ``python -m module`` with a request; return what it answers.

    Parameters
    ----------
    watch : bool
        Follow the memory of the process and all its children, too; looking disturbs, so never in a timed run.

    Raises
    ------
    SystemExit
        When the child fails; its own words are on stderr.
    """
    text = json.dumps(request | {"spawned": time.time()})
    environment = users_environment() | (KEEP_MEMORY if request.get("keep") else {})
    command = [python, "-m", module, text]
    child = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True)
    tree = _Watch(child.pid) if watch else None
    out, _ = child.communicate()
    if child.returncode:
        raise SystemExit(f"{module} failed at {request['task']} (exit code {child.returncode})")
    answer: Answer = json.loads(out.splitlines()[-1])
    if tree is not None:
        answer["tree"], answer["anonymous"] = tree.stop()
    return answer


def users_environment() -> dict[str, str]:
    """Return the environment, in which Python keeps the bytecode it compiled, as it does unless told not to.

    Else each process compiles all of this project again, and nothing of a peer, whose bytecode was made by pip.
    """
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def serve(load: Callable[[Request], dict[str, str]], tasks: Mapping[str, Task]) -> None:
    """Answer the request in ``sys.argv``: import, then do its task.

    Parameters
    ----------
    load : callable
        Imports everything that the task needs; returns versions by name.
    tasks : mapping
        ``f(request, laps)`` by name.
    """
    request: Request = json.loads(sys.argv[1])
    pin(request["cores"])
    versions = load(request)
    start, laps = time.time() - request["spawned"], Laps()
    tasks[request["task"]](request, laps)
    answer = {"laps": laps.times, "sizes": laps.sizes, "facts": laps.facts, "start": start, "peak": peak()}
    sys.stdout.write("\n" + json.dumps(answer | {"versions": versions}) + "\n")


def size(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder."""
    return path.stat().st_size if path.is_file() else sum(f.stat().st_size for f in path.rglob("*") if f.is_file())


def pin(cores: int) -> None:
    """Keep to the first ``cores`` CPUs, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def peak() -> int:
    """Return the peak of this process's resident memory in bytes, pages of mapped files included.

    Linux counts into ``ru_maxrss`` what the parent held when it forked, so its own high-water mark is read there.
    """
    try:
        return int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) * 1024
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class _Watch:
    """The most memory that a process and its children held together: all of it, and what no file stands behind.

    A page that n processes share counts once. Zero where there is no /proc.
    """

    def __init__(self, pid: int) -> None:
        self._pid, self._most, self._stopped = pid, (0, 0), threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._stopped.wait(0.05):
            held = [_held(pid) for pid in _family(self._pid)]
            self._most = tuple(
                max(most, sum(now)) for most, now in zip(self._most, zip(*held, strict=True), strict=True)
            )

    def stop(self) -> tuple[int, int]:
        self._stopped.set()
        self._thread.join()
        return self._most


def _family(pid: int) -> list[int]:
    """Return a process and all that it started."""
    found = [pid]
    for one in found:
        try:
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return found


def _held(pid: int) -> tuple[int, int]:
    """Return a process's resident memory, all and anonymous; of a page shared by n processes the n-th part."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        whole, anonymous = (re.findall(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)[0] for name in ("Pss", "Pss_Anon"))
        return int(whole) * 1024, int(anonymous) * 1024
    except (OSError, IndexError):
        return 0, 0
