"""A recording and its samples in, each sample's events out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dvsprep.errors import FormatError, LabelError
from dvsprep.events import aedat2, aedat3, atis
from dvsprep.events.labels import Sample
from dvsprep.events.reading import Decoded, Policy, columns, load, select
from dvsprep.types import Array, Events

Reader = Callable[[Array, str, tuple[int, int], Policy], Decoded]

# A change in what a reader returns for the same bytes gets a new version: it is part of every cache key.
READERS: dict[str, tuple[Reader, int]] = {
    "aedat3.1": (aedat3.read, 1),
    "aedat2-dvs128": (aedat2.read, 1),
    "atis": (atis.read, 1),
}


@dataclass(frozen=True)
class Recording:
    """One file of events, which split it belongs to, and the samples cut from it."""

    path: Path
    format: str
    split: str
    samples: tuple[Sample, ...]
    labels: Path | None = None


def read(recording: Recording, sensor: tuple[int, int], policy: Policy) -> Decoded:
    """Decode a recording's file."""
    try:
        raw = load(recording.path)
    except FileNotFoundError:
        raise FormatError(
            f"{recording.path}: the recording is gone", hint="delete the folder extract/ and run again"
        ) from None
    return READERS[recording.format][0](raw, str(recording.path), sensor, policy)


def cut(events: Events, recording: Recording) -> Iterator[tuple[Sample, Events]]:
    """Yield each sample's events: views into the recording's columns, ``[start, end)`` by binary search.

    A window in which nothing happened is a sample without events; one that lies outside the recording is an error.
    """
    t = events["t"]
    for sample in recording.samples:
        if sample.windows is None:
            yield sample, events
            continue
        edges = np.searchsorted(t, np.array(sample.windows, np.int64))
        for (start, end), (a, b) in zip(sample.windows, edges, strict=True):
            if a == b and (end <= t[0] or start > t[-1]):
                raise LabelError(
                    f"{recording.labels}:{sample.line}: the window {start} to {end} us lies outside the recording, "
                    f"which runs from {t[0]} to {t[-1]} us"
                )
        parts = [select(events, slice(a, b)) for a, b in edges]
        yield sample, parts[0] if len(parts) == 1 else _join(parts)


def _join(parts: list[Events]) -> Events:
    t, x, y, p = (np.concatenate([part[k] for part in parts]) for k in ("t", "x", "y", "p"))
    return Events(t=t, x=x, y=y, p=p)


def warm_up() -> None:
    """Compile every decoder once, before workers start: concurrent first compiles can crash Numba (4807)."""
    from dvsprep.events import _kernels

    raw = np.zeros(0, np.uint8)
    raw.flags.writeable = False
    for sensor in ((34, 34), (300, 300)):
        c = columns(0, sensor)
        for decode in (_kernels.aedat31_decode, _kernels.aedat2_decode, _kernels.atis_decode):
            decode(raw, *sensor, False, c["t"], c["x"], c["y"], c["p"])
    _kernels.aedat31_count(raw)
    _kernels.first_backward(np.zeros(0, np.int64))
