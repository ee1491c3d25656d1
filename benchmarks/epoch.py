"""An epoch through PyTorch's DataLoader, the same for every side. Imports PyTorch and nothing of any side."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from typing import Any

from benchmarks.child import Laps, Request

BATCH = 16


def order(names: Sequence[str], samples: int) -> list[int]:
    """Return positions of ``samples`` draws from a dataset, the same samples for whoever holds the same names."""
    positions = {name: i for i, name in enumerate(names)}
    drawn = random.Random(0).choices(sorted(positions), k=samples)
    return [positions[name] for name in drawn]


def run(dataset: Any, names: Sequence[str], request: Request, laps: Laps) -> None:
    """Time an epoch of float32 batches, workers started and ended within; or compare its content, when asked to.

    Parameters
    ----------
    dataset : map-style dataset
        Returns (frames [T, 2, H, W], label).
    names : sequence of str
        Of its samples, in its own order.
    """
    from torch.utils.data import DataLoader

    workers = request["workers"]
    for x, _ in DataLoader(dataset, BATCH, sampler=order(names, BATCH)):  # opens files, loads code: not timed
        x.float()
    loader = DataLoader(dataset, BATCH, sampler=order(names, request["samples"]), num_workers=workers)
    sums, seen = [], 0
    with laps("epoch"):
        for x, _ in loader:
            x = x.float()
            seen += len(x)
            if request["check"]:
                cut = x[:, :-1].contiguous().numpy()
                sums.append([zlib.crc32(x.contiguous().numpy()), zlib.crc32(cut), int(x.double().sum())])
    assert seen == request["samples"], (seen, request["samples"])
    laps.facts = {"samples": seen, "sums": sums}
