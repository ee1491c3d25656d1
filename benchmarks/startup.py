"""What it takes until work begins: imports, kernels compiled for the first time, kernels loaded, a second CLI run."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.child import PROJECT, call, users_environment

BAR = 0.5  # seconds before real work


def measure(repeats: int, cores: int) -> list[dict[str, Any]]:
    """Return the rows of start-up; all on the bundled sample, whose work takes about a tenth of a second."""
    with tempfile.TemporaryDirectory(prefix="dvsprep-startup-") as folder:
        return _measure(Path(folder), repeats, cores)


def _measure(folder: Path, repeats: int, cores: int) -> list[dict[str, Any]]:
    environment = users_environment() | {"DVSPREP_ROOT": str(folder / "root"), "NUMBA_CACHE_DIR": str(folder / "numba")}
    frames = ["-m", "dvsprep", "frames", "sample", "--split-by", "number", "-T"]
    bare = [_run(["-c", "pass"], environment) for _ in range(repeats)]
    helped = [_run(["-m", "dvsprep", "--help"], environment) for _ in range(repeats)]
    imported = [_run(["-c", "import dvsprep; dvsprep.open"], environment) for _ in range(repeats)]
    first = []
    for k in range(min(3, repeats)):  # each in an empty compile cache
        cold = environment | {"NUMBA_CACHE_DIR": str(folder / f"numba{k}"), "DVSPREP_ROOT": str(folder / f"root{k}")}
        first.append(_run([*frames, "20"], cold))
    _run([*frames, "20"], environment)
    again = [_run([*frames, "20"], environment) for _ in range(repeats)]
    other = [_run([*frames, str(21 + k)], environment) for k in range(repeats)]
    request = {"task": "nothing", "dataset": "dvs128", "cores": cores}
    ready = [call(sys.executable, "benchmarks.side_dvsprep", request)["start"] for _ in range(repeats)]
    return [
        _line("bare", "python -c pass, to compare with", bare),
        _line("help", "dvsprep --help", helped),
        _line("import", "import dvsprep and all that reading a cache needs", imported),
        _line("cold", "dvsprep frames sample, the very first run: everything is compiled", first),
        _line("ready", "all imports done and kernels loaded: real work begins", ready, BAR),
        _line("again", "dvsprep frames sample, a second run: nothing to do", again, BAR),
        _line("other", "dvsprep frames sample with another T: start-up and the work", other),
    ]


def _run(arguments: list[str], environment: dict[str, str]) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=PROJECT, env=environment, capture_output=True, check=True)
    return time.perf_counter() - begin


def _line(key: str, title: str, seconds: list[float], bar: float | None = None) -> dict[str, Any]:
    figures = {"ours median": median(seconds), "ours least": min(seconds), "ours most": max(seconds)}
    row = {"key": f"startup {key}", "group": "startup", "title": title, "peer": None, "bar": bar, "less": True}
    return row | {"unit": "s", "runs": len(seconds)} | {name: round(value, 4) for name, value in figures.items()}
