"""dvsprep's side: each stage through the public pipeline, in a process of its own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from benchmarks.child import Request, serve


def job(request: Request) -> Any:
    """Return the pipeline's job of a request: up to events, or up to frames if it has a spec."""
    from dvsprep.pipeline import Job, Options
    from dvsprep.types import FrameSpec

    spec = FrameSpec.from_dict(request["spec"]) if request["spec"] else None
    return Job("dvs128", request["root"], spec, Options(verify=False))


def adopt(root: Path, archive: Path) -> Path:
    """Take the look-alike's archive over, unverified, and extract it; return the extracted folder."""
    from dvsprep import raw

    made = job({"root": root, "spec": None})
    raw.adopt(made.dataset.archives, [archive], made.download, verify=False, warn=lambda _: None)
    made.run()
    (tree,) = made.trees().values()
    return Path(tree)


def load() -> dict[str, str]:
    """Import all that the stages import, and load the compiled kernels from disk: both are the process's start-up."""
    import h5py
    import numba
    import numpy as np

    import dvsprep
    from dvsprep import events
    from dvsprep.cache import build

    events.warm_up(["aedat3.1"], (128, 128))
    build.warm_up((128, 128))
    return {
        "dvsprep": dvsprep.__version__,
        "numpy": np.__version__,
        "numba": numba.__version__,
        "h5py": h5py.__version__,
    }


def paths(request: Request) -> list[Path]:
    """Return the caches that a request makes."""
    made = job(request)
    return list((made.frames_paths() if request["spec"] else made.events_paths()).values())


def clear(request: Request) -> None:
    """Remove the stage's output, and with the events the frames made from them."""
    below = Path(request["root"]) / "dvs128"
    shutil.rmtree(below / "frames", ignore_errors=True)
    if not request["spec"]:
        shutil.rmtree(below / "events", ignore_errors=True)


def run(request: Request) -> list[Path]:
    """Do the stage; whatever comes before it is there."""
    stages = job(request).run()
    todo = [stage.stage for stage in stages if stage.state != "done"]
    assert todo == ["frames" if request["spec"] else "events"], todo
    return paths(request)


if __name__ == "__main__":
    serve(load, clear, run)
