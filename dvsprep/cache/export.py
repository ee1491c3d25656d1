"""Samples of a cache in, plain NumPy files out, in the folders that SpikingJelly's users know."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dvsprep.cache.read import EventCache, FrameCache
from dvsprep.errors import UsageError
from dvsprep.types import FrameSpec


def folder_name(spec: FrameSpec) -> str:
    """Return SpikingJelly's name of a frame folder: ``frames_number_20_split_by_number``, ``duration_50000``."""
    if spec.T is not None:
        return f"frames_number_{spec.T}_split_by_{spec.split_by}"
    return f"duration_{spec.duration}" if spec.duration is not None else spec.describe().removeprefix("plugin-")


def sample_path(cache: FrameCache | EventCache, i: int, suffix: str) -> Path:
    """Return ``<what>/<split>/<label>/<id><suffix>``; a set without an official split has no folder for it."""
    what = folder_name(cache.spec) if isinstance(cache, FrameCache) else "events_np"
    split = [] if cache.split == "all" else [cache.split]
    return Path(what, *split, str(cache.labels[i]), str(cache.ids[i]).replace("/", "_") + suffix)


def export(cache: FrameCache | EventCache, indices: Sequence[int], out: Path, format: str) -> list[Path]:
    """Write samples as ``npz`` (frames under the key ``frames``; events under t, x, y, p) or ``npy``.

    Parameters
    ----------
    out : Path
        A file, if it has the suffix of the format and there is one sample; else a folder.
    """
    if format == "npy" and isinstance(cache, EventCache):
        raise UsageError("events are four arrays: export them as npz")
    suffix = f".{format}"
    single = out.suffix == suffix
    if single and len(indices) != 1:
        raise UsageError(f"{out} is one file, and {len(indices)} samples are asked for", hint="--sample, or a folder")
    written = []
    for i in indices:
        path = out if single else out / sample_path(cache, i, suffix)
        value: Any = cache[i][0]
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            with temporary.open("wb") as file:
                _write(file, value, format)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        written.append(path)
    return written


def _write(file: BinaryIO, value: Any, format: str) -> None:
    if format == "npy":
        np.save(file, value)
    elif isinstance(value, dict):
        np.savez_compressed(file, **value)
    else:
        np.savez_compressed(file, frames=value)
