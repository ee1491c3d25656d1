"""The Python face of dvsprep: ``open`` a cache, or name a dataset and get its ``frames``."""

from __future__ import annotations

import os
from typing import Any, Literal, overload

from dvsprep import events as ev
from dvsprep.cache import EventCache, FrameCache, open_cache
from dvsprep.errors import UsageError
from dvsprep.pipeline import Job, Options
from dvsprep.types import FrameSource, FrameSpec


@overload
def open(path: str | os.PathLike[str], *, events: Literal[True]) -> EventCache: ...
@overload
def open(path: str | os.PathLike[str], *, events: Literal[False] = False) -> FrameCache | EventCache: ...
@overload
def open(path: str | os.PathLike[str], *, events: bool) -> FrameCache | EventCache: ...


def open(path: str | os.PathLike[str], *, events: bool = False) -> FrameCache | EventCache:
    """Open a cache.

    A frame cache is a FrameSource: ``source[i] -> (frames [T, C, H, W], label)``. An event cache gives
    ``source[i] -> ({"t", "x", "y", "p"} int64[N], label)``, and ``source.frames(split_by="number", T=20)`` is a
    FrameSource that integrates on the fly.

    Parameters
    ----------
    path : path-like
    events : bool
        Insist on an event cache.

    Raises
    ------
    NotFoundError, NotACacheError
    """
    cache = open_cache(path)
    if events and cache.kind != "events":
        raise UsageError(
            f"{path}: a cache of {cache.kind}",
            hint="`dvsprep events NAME` prints the paths of the event caches",
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
    split: str | float | None = None,
    seed: int = 0,
    jobs: int | None = None,
    codec: str = "deflate",
    verify: bool = True,
) -> dict[str, FrameSource]:
    """Build whatever is missing of a dataset's frame caches and open them: ``{split: FrameSource}``.

    Parameters
    ----------
    dataset : str
        A name that ``dvsprep datasets`` lists.
    root : path-like, optional
        $DVSPREP_ROOT, else the user's cache folder.
    split_by, T, duration, tail, plugin, params
        The FrameSpec; ``split_by`` may be left out where ``duration`` or ``plugin`` says it.
    instances : {"rows", "first", "merged"}
        Which label rows make a sample.
    split : str or float, optional
        For sets without an official split: the training part, or a published split's name.
    verify : bool
        False accepts files of another MD5 than the published one; the caches remember it.
    """
    if split_by is None:
        split_by = "duration" if duration is not None else "plugin" if plugin is not None else None
    if split_by is None:
        raise UsageError("frames needs split_by with T, a duration or a plugin")
    spec = FrameSpec(split_by, T=T, duration=duration, tail=tail, plugin=plugin, params=params or {})
    options = Options(instances, policy or ev.Policy(), split, seed, jobs, codec, verify)
    job = Job(dataset, root, spec, options)
    job.run()
    return {name: FrameCache(path) for name, path in job.frames_paths().items()}
