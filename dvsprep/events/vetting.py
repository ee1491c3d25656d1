"""HDF5 files that no hash vouches for are opened in a process of their own first.

libhdf5 trusts what a file says of its own types, and a lie can crash it. A crash there is an error here that names the
file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

from dvsprep.errors import DvsprepError, FormatError
from dvsprep.events import spikes

How = Literal["layout", "samples"]
SECONDS, BYTES_A_SECOND = 60, 1 << 20  # how long a child may take; a sound file needs a hundredth
_CHILD = "import sys; from dvsprep.events import vetting; vetting.child(*sys.argv[1:])"


def layout(path: Path) -> str | None:
    """Return what :func:`dvsprep.events.spikes.layout` does, of a file that nobody vouches for."""
    found = _in_child(path, "layout")
    return str(found) if found else None


def samples(path: Path) -> None:
    """Read every sample of an HDF5 file once, so that it can be read here."""
    _in_child(path, "samples")


def _in_child(path: Path, how: How) -> object:
    seconds = SECONDS + path.stat().st_size / BYTES_A_SECOND
    # -P: what lies in the current folder is nothing to import, unless we were started so.
    command = [sys.executable, "-P", "-c", _CHILD, how, str(path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds, env=environment, check=False)
    except subprocess.TimeoutExpired:
        raise FormatError(f"{path}: a damaged HDF5 file: reading it does not end") from None
    if done.returncode < 0:
        raise FormatError(f"{path}: a damaged HDF5 file: it crashes the HDF5 library (signal {-done.returncode})")
    try:
        told = json.loads(done.stdout)
    except ValueError:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise FormatError(f"{path}: a damaged HDF5 file: its reader ended with {done.returncode}: {last}") from None
    if "error" in told:
        raise FormatError(told["error"], hint=told["hint"])
    return told["found"]


def child(how: How, name: str) -> None:
    """Do in the child what is asked for; print the result or the error as JSON."""
    path = Path(name)
    try:
        found = spikes.layout(path)
        if how == "samples" and found is not None:
            spikes.touch(path)
        told = {"found": found}
    except DvsprepError as error:
        told = {"error": error.message, "hint": error.hint}
    print(json.dumps(told))  # noqa: T201 - to the parent
