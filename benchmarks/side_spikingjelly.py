"""SpikingJelly's side: its own classes and default threads, in its own Python. Imports nothing of dvsprep."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.child import Laps, Request, serve, size

VERSION = "2.0.0"


def load(request: Request) -> dict[str, str]:
    """Import SpikingJelly."""
    import spikingjelly.datasets.dvs128_gesture
    import spikingjelly.datasets.n_mnist
    from torch.utils.data import DataLoader

    del spikingjelly, DataLoader, request
    return {name: version(name) for name in ("spikingjelly", "numpy", "torch")}


def options(spec: dict[str, Any]) -> dict[str, Any]:
    """Return a FrameSpec in SpikingJelly's words."""
    if spec["split_by"] == "duration":
        return {"duration": spec["duration"]}
    return {"frames_number": spec["T"], "split_by": spec["split_by"]}


def folder(root: str | Path, spec: dict[str, Any] | None) -> Path:
    """Return where its files lie: ``{train,test}/<label>/*.npz`` below it."""
    if not spec:
        return Path(root) / "events_np"
    if spec["split_by"] == "duration":
        return Path(root) / f"duration_{spec['duration']}"
    return Path(root) / f"frames_number_{spec['T']}_split_by_{spec['split_by']}"


def build(request: Request, laps: Laps) -> None:
    """Make events of archives and frames of events; each step is a lap."""
    kind = _kind(request)
    root, download = Path(request["root"]), Path(request["download"])
    extract, events = root / "extract", folder(root, None)
    for old in (extract, events):
        shutil.rmtree(old, ignore_errors=True)
        old.mkdir(parents=True)
    with laps("extract"):
        kind.extract_downloaded_files(download, extract)
    with laps("events"):
        kind.create_raw_from_extracted(extract, events)
    laps.sizes["events"] = size(events)
    frames(request, laps)


def frames(request: Request, laps: Laps) -> None:
    """Make frames of events, both splits."""
    target = folder(request["root"], request["spec"])
    shutil.rmtree(target, ignore_errors=True)
    target.with_name(f"{target.name}.building").unlink(missing_ok=True)
    with laps("frames"):
        _kind(request)(request["root"], train=True, data_type="frame", **options(request["spec"]))
    laps.sizes["frames"] = size(target)


def epoch(request: Request, laps: Laps) -> None:
    """Read an epoch of the training frames."""
    from benchmarks import epoch as epochs

    dataset = _kind(request)(request["root"], train=True, data_type="frame", **options(request["spec"]))
    names = [f"{Path(path).parent.name}/{Path(path).stem}" for path, _ in dataset.samples]
    epochs.run(dataset, names, request, laps)


def _kind(request: Request) -> Any:
    from spikingjelly.datasets.dvs128_gesture import DVS128Gesture
    from spikingjelly.datasets.n_mnist import NMNIST

    return {"dvs128": DVS128Gesture, "nmnist": NMNIST}[request["dataset"]]


if __name__ == "__main__":
    serve(load, {"build": build, "frames": frames, "epoch": epoch})
