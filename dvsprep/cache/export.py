"""Samples of a cache in, plain NumPy files out, in the folders that SpikingJelly's users know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dvsprep.cache.read import EventCache, FrameCache
from dvsprep.disk import make_folder, whole
from dvsprep.errors import IntegrityError, UsageError
from dvsprep.types import FrameSpec


def folder_name(spec: FrameSpec) -> str:
    """Return SpikingJelly's name of a frame folder: ``frames_number_20_split_by_number``, ``duration_50000``."""
    if spec.T is not None:
        return f"frames_number_{spec.T}_split_by_{spec.split_by}"
    return f"duration_{spec.duration}" if spec.duration is not None else spec.describe().removeprefix("plugin-")


def sample_path(cache: FrameCache | EventCache, i: int, suffix: str) -> Path:
    """Return ``<what>/<split>/<label>/<id><suffix>``; a set without an official split has no folder for it.

    Raises
    ------
    IntegrityError
        A split or id of the cache is no file name: nothing may be written outside the folder that was named.
    """
    what = folder_name(cache.spec) if isinstance(cache, FrameCache) else "events_np"
    name = str(cache.ids[i]).replace("/", "_")
    for part in (what, cache.split, name):
        if part in ("", ".", "..") or set(part) & set("/\\:\0"):
            raise IntegrityError(f"{cache.path}: {part!r} is no name for a file", hint="the cache was tampered with")
    split = [] if cache.split == "all" else [cache.split]
    return Path(what, *split, str(cache.labels[i]), name + suffix)


def sample_paths(cache: FrameCache | EventCache, indices: Sequence[int], suffix: str) -> list[Path]:
    """Return the path of each sample; two of one name are refused before anything is written."""
    paths = [sample_path(cache, i, suffix) for i in indices]
    if len(set(paths)) < len(paths):
        twice = next(path for path, n in Counter(paths).items() if n > 1)
        raise UsageError(f"{cache.path}: several samples would be the file {twice}", hint="export them one by one")
    return paths


def export(
    cache: FrameCache | EventCache, indices: Sequence[int], out: Path, format: str, *, replace: bool = False
) -> list[Path]:
    """Write samples as ``npz`` (frames under the key ``frames``; events under t, x, y, p) or ``npy``.

    Parameters
    ----------
    out : Path
        A file, if it has the suffix of the format and there is one sample; else a folder.
    replace : bool
        Let files take the place of others of their names.
    """
    if format == "npy" and isinstance(cache, EventCache):
        raise UsageError("events are four arrays: export them as npz")
    suffix = f".{format}"
    single = out.suffix == suffix
    if single and len(indices) != 1:
        raise UsageError(f"{out} is one file, and {len(indices)} samples are asked for", hint="--sample, or a folder")
    paths = [out] if single else [out / path for path in sample_paths(cache, indices, suffix)]
    for i, path in zip(indices, paths, strict=True):
        value: Any = cache[i][0]
        make_folder(path.parent)
        with whole(path, replace=replace) as file:
            _write(file, value, format)
    return paths


def _write(file: BinaryIO, value: Any, format: str) -> None:
    if format == "npy":
        np.save(file, value)
    elif isinstance(value, dict):
        np.savez_compressed(file, **value)
    else:
        np.savez_compressed(file, frames=value)
