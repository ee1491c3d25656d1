"""The peers' environments: made once, kept in the user's cache folder."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks import side_spikingjelly, side_tonic

# tonic's caching and PyTorch's DataLoader both need what tonic itself does not ask for.
PEERS = {
    "spikingjelly": (side_spikingjelly.VERSION, ()),
    "tonic": (side_tonic.VERSION, ("torch",)),
}


def python(name: str) -> str:
    """Return a Python that has the peer ``name``, from an environment of its own that is made unless it is there."""
    import platformdirs

    version, besides = PEERS[name]
    home = Path(platformdirs.user_cache_dir("dvsprep")) / "benchmarks" / f"{name}-{version}"
    path = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    has = [str(path), "-c", f"from importlib.metadata import version as v; assert v({name!r}) == {version!r}"]
    if not path.exists() or subprocess.run(has, stderr=subprocess.DEVNULL, check=False).returncode:
        print(f"making an environment with {name} {version}; it holds PyTorch, so this takes a while", file=sys.stderr)
        venv.create(home, with_pip=True)
        subprocess.run([path, "-m", "pip", "install", "--quiet", f"{name}=={version}", *besides], check=True)
    return str(path)
