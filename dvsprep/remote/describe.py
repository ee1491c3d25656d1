"""A served cache in, what ``dvsprep info`` tells of one on disk out."""

from __future__ import annotations

from typing import Any

import numpy as np

from dvsprep.errors import IntegrityError
from dvsprep.remote.source import RemoteCache

TELLS = (
    "kind", "dataset", "split", "samples", "classes", "sensor", "spec", "codec", "bytes", "events", "microseconds",
    "key", "unverified", "provenance",
)  # fmt: skip
AT_ONCE = 64


def describe(source: RemoteCache) -> dict[str, Any]:
    """Return what ``cache.describe`` tells of the same cache on the service's disk; no frame is fetched."""
    told = source.facts()
    rows = source.small("rows") if source.varies else np.ones(len(source), np.int64)
    columns = {
        column.name: {
            # A sample begins a chunk, so its last one is filled up.
            "shape": [int((-(-rows // column.chunk) * column.chunk).sum()), *column.row_shape],
            "dtype": str(np.dtype(column.dtype)),
            "chunk": [column.chunk, *column.row_shape],
            "bytes": int(facts["bytes"]),
        }
        for column, facts in zip(source.columns, told["columns"], strict=True)
    }
    return {"path": source.path} | {name: told[name] for name in TELLS} | {"columns": columns}


def damaged(source: RemoteCache) -> list[str]:
    """Return the ids of samples whose bytes do not match their checksum, on the service's disk or on the way.

    Parameters
    ----------
    source : RemoteCache
        Without a mirror: what that one has is no longer what the service would send.
    """
    bad = []
    for start in range(0, len(source), AT_ONCE):
        indices = range(start, min(start + AT_ONCE, len(source)))
        if not _intact(source, indices):
            bad += [i for i in indices if not _intact(source, [i])]
    return [str(source.ids[i]) for i in bad]


def _intact(source: RemoteCache, indices: range | list[int]) -> bool:
    try:
        source.fetch(list(indices))
    except IntegrityError:
        return False
    return True
