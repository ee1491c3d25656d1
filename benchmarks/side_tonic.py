"""tonic's side: frames made by its ToFrame, kept by its DiskCachedDataset. Imports nothing of dvsprep.

As its tutorial "Fast data loading with Tonic" does it; batches are put together by PyTorch, because all samples have T
frames and tonic's PadTensors would only copy them once more.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.child import Laps, Request, serve, size

VERSION = "1.7.0"


def load(request: Request) -> dict[str, str]:
    """Import tonic."""
    import tonic
    from torch.utils.data import DataLoader

    del tonic, DataLoader, request
    return {name: version(name) for name in ("tonic", "numpy", "torch")}


class Events:
    """Events of the look-alike as tonic's DVSGesture gives them, and its transform; read only to fill the cache."""

    def __init__(self, folder: str, transform: Any) -> None:
        self.files = sorted(Path(folder).rglob("*.npy"))
        self.names = [f"{file.parent.name}/{file.stem}" for file in self.files]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> tuple[Any, int]:
        import numpy as np

        return self.transform(np.load(self.files[i])), int(self.files[i].parent.name)


def epoch(request: Request, laps: Laps) -> None:
    """Read an epoch of the training frames, all of them cached before."""
    from tonic import DiskCachedDataset, transforms

    from benchmarks import epoch as epochs

    source = Events(request["events"], transforms.ToFrame((128, 128, 2), n_event_bins=request["spec"]["T"]))
    cache = Path(request["root"]) / "cache"
    dataset = DiskCachedDataset(source, cache_path=str(cache))
    with laps("fill"):
        for i in range(len(dataset)):
            if not (cache / f"{i}_0.hdf5").exists():
                dataset[i]
    laps.sizes["frames"] = size(cache)
    epochs.run(dataset, source.names, request, laps)


if __name__ == "__main__":
    serve(load, {"epoch": epoch})
