"""A finished cache in: what it holds in words and numbers, whether it is undamaged, and copies of parts of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dvsprep.cache import codec as codecs
from dvsprep.cache.layout import Header, Packed, pack_rows, packing_of
from dvsprep.cache.numbered import Numbered
from dvsprep.cache.read import Cache, EventCache, FrameCache, kind_of
from dvsprep.cache.spool import FACTS
from dvsprep.cache.write import write_cache
from dvsprep.errors import IntegrityError
from dvsprep.types import Array


def open_cache(path: str | os.PathLike[str]) -> FrameCache | EventCache:
    """Open a cache of either kind."""
    return EventCache(path) if kind_of(path) == "events" else FrameCache(path)


def describe(cache: FrameCache | EventCache) -> dict[str, Any]:
    """Return what ``dvsprep info`` shows; no frame is read."""
    counts = np.bincount(cache.labels, minlength=len(cache.classes))
    n_events, lasts = cache.small("n_events"), cache.small("t_end") - cache.small("t_start")
    columns = {name: cache.column(name) for name in cache.columns}
    return {
        "path": str(cache.path),
        "kind": cache.kind,
        "dataset": cache.dataset,
        "split": cache.split,
        "samples": len(cache),
        "classes": {name: int(n) for name, n in zip(cache.classes, counts, strict=True)},
        "sensor": list(cache.sensor),
        "spec": cache.spec.to_dict() if isinstance(cache, FrameCache) else None,
        "columns": {
            name: {
                "shape": list(d.shape),
                "dtype": str(d.dtype),
                "chunk": list(d.chunks or ()),
                "bytes": d.packed,
            }
            for name, d in columns.items()
        },
        "codec": cache.codec,
        "bytes": cache.path.stat().st_size,
        "events": _range(n_events) | {"total": int(n_events.sum())},
        "microseconds": _range(lasts),
        "key": cache.key,
        "unverified": cache.provenance.get("unverified", []),
        "provenance": cache.provenance,
    }


def _range(values: Array) -> dict[str, int]:
    if not len(values):
        return {"min": 0, "median": 0, "max": 0}
    return {"min": int(values.min()), "median": int(np.median(values)), "max": int(values.max())}


def describe_sample(cache: Numbered, i: int) -> dict[str, Any]:
    """Return one sample's facts: id, label, class, split, events, microseconds."""
    i = cache.index(i)
    label = int(cache.labels[i])
    return {
        "index": i,
        "id": str(cache.ids[i]),
        "label": label,
        "class": cache.classes[label],
        "dataset": cache.dataset,
        "split": cache.split,
        "events": int(cache.small("n_events")[i]),
        "microseconds": int(cache.small("t_end")[i] - cache.small("t_start")[i]),
    }


def packed_samples(cache: Cache, indices: Sequence[int]) -> Iterator[Packed]:
    """Yield samples as they are stored, numbered from 0."""
    for index, i in enumerate(indices):
        blocks = {name: cache.block(name, cache.index(i)) for name in cache.columns}
        facts = {name: int(cache.small(name)[i]) for name in FACTS}
        yield Packed(index, facts, blocks)


def _repacked(cache: Cache, samples: Iterator[Packed], indices: Sequence[int], codec: str) -> Iterator[Packed]:
    """Yield samples packed by another codec than their cache's."""
    for sample, i in zip(samples, indices, strict=True):
        for name, block in sample.blocks.items():
            packing = packing_of(codec, name, np.dtype(block.dtype), cache.sensor)
            sample.blocks[name] = pack_rows(cache.rows(name, *cache.run(i)), block.chunk, packing)
        yield sample


def damaged(cache: Cache, progress: Callable[[int], None] = lambda _: None) -> list[str]:
    """Return the ids of samples whose stored bytes no longer match their checksum."""
    checksums = cache.small("crc32")
    bad = []
    for i in range(len(cache)):
        try:
            (sample,) = packed_samples(cache, [i])
            intact = sample.crc32 == checksums[i]
        except IntegrityError:
            intact = False
        if not intact:
            bad.append(str(cache.ids[i]))
        progress(1)
    return bad


def copy_samples(
    cache: FrameCache | EventCache,
    indices: Sequence[int],
    target: Path,
    *,
    codec: str | None = None,
    replace: bool = False,
) -> Path:
    """Write some samples of a cache to a cache of their own, packed as they are unless a codec is named."""
    indices = [cache.index(i) for i in indices]
    codec = codec or (cache.codec if cache.codec in codecs.CODECS else codecs.DEFAULT)
    ids = [str(cache.ids[i]) for i in indices]
    header = Header(
        kind="events" if cache.kind == "events" else "frames",
        dataset=cache.dataset,
        split=cache.split,
        sensor=cache.sensor,
        classes=tuple(cache.classes),
        ids=ids,
        labels=[int(cache.labels[i]) for i in indices],
        identity={"kind": cache.kind, "part_of": cache.key, "ids": ids},
        spec=cache.spec.to_dict() if isinstance(cache, FrameCache) else {},
        provenance=cache.provenance | {"part_of": cache.key},
        channels=cache.channels,
        codec=codec,
    )
    samples = packed_samples(cache, indices)
    if codec != cache.codec:
        samples = _repacked(cache, samples, indices, codec)
    return write_cache(target, header, samples, replace=replace)
