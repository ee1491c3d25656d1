"""SpikingJelly's side: its own dataset class, its default threads, in its own Python. Imports nothing of dvsprep."""

from __future__ import annotations

import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.child import Request, serve

VERSION = "2.0.0"


def load() -> dict[str, str]:
    """Import SpikingJelly."""
    _mend_torchvision()
    import spikingjelly.datasets.dvs128_gesture

    del spikingjelly
    return {name: version(name) for name in ("spikingjelly", "numpy", "torch")}


def _mend_torchvision() -> None:
    """Let torchvision and torchaudio import beside a PyTorch that their compiled parts do not fit.

    PyPI builds them for CUDA, so a CPU build of PyTorch cannot load those parts. The event datasets use none.
    """
    import torch

    try:
        import torchvision
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        _mend_torchvision.library = torch.library.Library("torchvision", "DEF")  # type: ignore[attr-defined]
        for name in ("nms", "qnms"):
            _mend_torchvision.library.define(f"{name}(Tensor a, Tensor b, float c) -> Tensor")  # type: ignore[attr-defined]
        import torchvision
    try:
        import torchaudio
    except OSError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
            del sys.modules[name]
        torchaudio = sys.modules["torchaudio"] = ModuleType("torchaudio")
    del torchvision, torchaudio


def options(spec: dict[str, Any]) -> dict[str, Any]:
    """Return a FrameSpec in SpikingJelly's words."""
    if spec["split_by"] == "duration":
        return {"duration": spec["duration"]}
    return {"frames_number": spec["T"], "split_by": spec["split_by"]}


def folder(request: Request) -> Path:
    """Return where a request's files lie: ``{train,test}/<label>/*.npz`` below it."""
    root, spec = Path(request["root"]), request["spec"]
    if not spec:
        return root / "events_np"
    if spec["split_by"] == "duration":
        return root / f"duration_{spec['duration']}"
    return root / f"frames_number_{spec['T']}_split_by_{spec['split_by']}"


def clear(request: Request) -> None:
    """Remove the stage's output."""
    target = folder(request)
    shutil.rmtree(target, ignore_errors=True)
    target.with_name(f"{target.name}.building").unlink(missing_ok=True)
    if not request["spec"]:
        target.mkdir(parents=True)


def run(request: Request) -> list[Path]:
    """Do the stage."""
    from spikingjelly.datasets.dvs128_gesture import DVS128Gesture

    if request["spec"]:
        DVS128Gesture(request["root"], train=True, data_type="frame", **options(request["spec"]))  # both splits
    else:
        DVS128Gesture.create_raw_from_extracted(Path(request["extracted"]), folder(request))
    return [folder(request)]


if __name__ == "__main__":
    serve(load, clear, run)
