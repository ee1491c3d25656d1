"""dvsprep's side of the scale page: what only size shows."""

from __future__ import annotations

from pathlib import Path

from benchmarks.child import Laps, Request, serve, size
from benchmarks.side_dvsprep import TASKS, load


def many(request: Request, laps: Laps) -> None:
    """Write a cache of as many samples as asked for, of one pixel each, through the library's own writer."""
    import numpy as np

    from dvsprep.cache import Header, codec, write
    from dvsprep.cache.layout import Packed, pack_rows

    n = request["samples"]
    spec = {"split_by": "number", "T": 1}
    ids, classes = [f"n{i // 1300:08d}/{i}" for i in range(n)], tuple(map(str, range(1000)))
    labels = [i // 1300 % 1000 for i in range(n)]
    header = Header("frames", "many", "train", (1, 1), classes, ids, labels, {"many": n}, spec, codec="none")
    block = pack_rows(np.ones((1, 1, 2, 1, 1), np.uint8), 1, codec.packing("none", np.dtype(np.uint8)))
    facts = {"n_events": 2, "t_start": 0, "t_end": 1}
    target = Path(request["root"]) / "many.h5"
    with laps("write"):
        write.write_cache(target, header, (Packed(i, dict(facts), {"frames": block}) for i in range(n)), replace=True)
    laps.sizes["frames"] = size(target)


def open_many(request: Request, laps: Laps) -> None:
    """Open that cache, all imports done: its length, all labels and one sample."""
    import dvsprep

    with laps("open"):
        source = dvsprep.open(Path(request["root"]) / "many.h5")
        frames, label = source[len(source) - 1]
        labels = source.labels
    assert len(labels) == request["samples"]
    assert frames.sum() == 2
    assert label == labels[-1]


if __name__ == "__main__":
    serve(load, TASKS | {"many": many, "open": open_many})
