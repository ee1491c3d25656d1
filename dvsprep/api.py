"""The Python face of dvsprep: ``open`` a cache, or name a dataset and get its ``frames``."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from dvsprep import config, disk, raw
from dvsprep import events as ev
from dvsprep.cache import EventCache, FrameCache, PreloadedFrames, open_cache
from dvsprep.errors import NotFoundError, UsageError
from dvsprep.events import idx
from dvsprep.pipeline import Job, Options
from dvsprep.types import FrameSpec

if TYPE_CHECKING:
    from dvsprep.remote import RemoteEvents, RemoteFrames

    Opened: TypeAlias = FrameCache | EventCache | RemoteFrames | RemoteEvents


@overload
def open(path: str | os.PathLike[str], *, events: Literal[True]) -> EventCache | RemoteEvents: ...
@overload
def open(path: str | os.PathLike[str], *, preload: Literal[True]) -> PreloadedFrames: ...
@overload
def open(path: str | os.PathLike[str], *, events: Literal[False] = False) -> Opened: ...
@overload
def open(path: str | os.PathLike[str], *, events: bool = False, preload: bool = False) -> Opened | PreloadedFrames: ...


def open(path: str | os.PathLike[str], *, events: bool = False, preload: bool = False) -> Opened | PreloadedFrames:
    """Open a cache.

    A frame cache is a FrameSource: ``source[i] -> (frames [T, C, H, W], label)``. An event cache gives
    ``source[i] -> ({"t", "x", "y", "p"} int64[N], label)``, and ``source.frames(split_by="number", T=20)`` is a
    FrameSource that integrates on the fly.

    Parameters
    ----------
    path : path-like
        Or the address of a cache that ``dvsprep serve`` serves: ``http://HOST:8765/v1/caches/ID``.
    events : bool
        Insist on events: of a frame cache, those it was made from are opened; sample i is the same in both.
    preload : bool
        Unpack all frames into memory, once for all workers of a DataLoader.

    Raises
    ------
    NotFoundError, NotACacheError, UsageError; FetchError of an address
    """
    if disk.is_url(path):
        from dvsprep import remote

        if preload:
            raise UsageError(
                "only a cache on this machine can be preloaded", hint="`dvsprep pull URL` fetches it whole"
            )
        return remote.open_url(str(path), events=events)
    cache = open_cache(path)
    if not preload:
        return _events_of(cache) if events and isinstance(cache, FrameCache) else cache
    if events or not isinstance(cache, FrameCache):
        raise UsageError(f"{path}: only frames can be preloaded", hint="make a frame cache of these events first")
    return cache.preload()


def _events_of(frames: FrameCache) -> EventCache:
    """Open the event cache that a frame cache was made from; sample i is the same in both."""
    where = frames.path.resolve().parents[1] / "events" / str(frames.provenance.get("events"))
    if not where.is_file():
        raise NotFoundError(
            f"{frames.path}: the event cache it was made from is not at {where}",
            hint=f"`dvsprep events {frames.dataset}` makes it and prints its path",
        )
    cache = EventCache(where)
    if not np.array_equal(cache.ids, frames.ids):
        raise UsageError(
            f"{frames.path}: holds a part of {where}, so its samples are not numbered alike",
            hint="open the event cache itself and look samples up by their ids",
        )
    return cache


def frames(
    dataset: str,
    *,
    root: str | os.PathLike[str] | None = None,
    split_by: Literal["number", "time", "duration", "plugin"] | None = None,
    T: int | None = None,
    duration: int | None = None,
    tail: Literal["keep", "drop"] = "keep",
    plugin: str | None = None,
    params: dict[str, Any] | None = None,
    instances: ev.Instances = "rows",
    policy: ev.Policy | None = None,
    split: str | float | os.PathLike[str] | None = None,
    seed: int = 0,
    jobs: int | None = None,
    codec: str | None = None,
    verify: bool = True,
) -> dict[str, FrameCache]:
    """Build whatever is missing of a dataset's frame caches and open them: ``{split: FrameCache}``, each a FrameSource.

    Parameters
    ----------
    dataset : str
        A name that ``dvsprep datasets`` lists.
    root : path-like, optional
        That of ``dvsprep.config`` unless given.
    split_by, T, duration, tail, plugin, params
        The FrameSpec; ``split_by`` may be left out where ``duration`` or ``plugin`` says it.
    instances : {"rows", "first", "merged"}
        Which label rows make a sample.
    split : str, float or path-like, optional
        For sets without an official split: the training part, or a published split's name. For all: a file that
        ``dvsprep split`` made.
    verify : bool
        False accepts files of another MD5 than the published one; the caches remember it.
    """
    if split_by is None:
        split_by = "duration" if duration is not None else "plugin" if plugin is not None else None
    if split_by is None:
        raise UsageError("frames needs split_by with T, a duration or a plugin")
    spec = FrameSpec(split_by, T=T, duration=duration, tail=tail, plugin=plugin, params=params or {})
    options = Options(instances, policy or ev.Policy(), split, seed, jobs, codec or config.codec(), verify)
    job = Job(dataset, root, spec, options)
    job.run()
    return {name: FrameCache(path) for name, path in job.frames_paths().items()}


def read_idx(path: str | os.PathLike[str], kind: Literal["images", "labels"]) -> NDArray[np.uint8]:
    """Return the bytes of an IDX file, MNIST's format, plain or gzipped: images [N, H, W] or labels [N].

    Raises
    ------
    NotFoundError, FormatError
    """
    path = Path(path)
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file")
    return idx.read(path, idx.MAGIC[kind])


def fetch_files(
    files: Mapping[str, str | None],
    url: str,
    folder: str | os.PathLike[str],
    *,
    dataset: str = "",
    offline: bool = False,
    warn: Callable[[str], None] = warnings.warn,
) -> list[Path]:
    """Download files that no dataset of dvsprep names, as ``dvsprep fetch`` would: mirrors first, resumed, verified.

    Parameters
    ----------
    files : mapping
        The published MD5 by file name, or ``sha256:`` and a SHA-256, of which the first digits will do.
    url : str
        Where all of them lie, ``<url>/<file name>``.
    folder : path-like
        Files that are there already and have their MD5 stay; those with another one are set aside as ``*.bad``.
    dataset : str
        The folder that a mirror may have them in.
    warn : callable
        Takes a line about what is not as it should be, but no error.

    Raises
    ------
    FetchError, HashMismatchError
    """
    resources = []
    for name, published in files.items():
        kind, _, digits = (published or "").rpartition(":")
        md5, sha256 = (None, digits) if kind == "sha256" else (published, None)
        resources.append(raw.Resource(name, md5=md5, sha256=sha256, urls=(f"{url}/{name}",)))
    network = raw.Network(offline=offline)
    return raw.fetch_all(resources, Path(folder), dataset=dataset, network=network, warn=warn)
