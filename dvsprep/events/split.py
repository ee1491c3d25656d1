"""A recording and its samples in, each sample's events out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dvsprep.errors import FormatError, LabelError
from dvsprep.events import catalog
from dvsprep.events.labels import Sample
from dvsprep.events.reading import Decoded, Policy, columns, load, select
from dvsprep.types import Events


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
    path, name = recording.path, str(recording.path)
    with _present(path):
        if recording.format in catalog.PATHS:
            return catalog.PATHS[recording.format][0](path, name, sensor, policy)
        return catalog.BYTES[recording.format][0](load(path), name, sensor, policy)


def samples_of(
    recording: Recording, sensor: tuple[int, int], policy: Policy, notes: dict[str, int]
) -> Iterator[tuple[Sample, Events]]:
    """Yield each sample's events; what had to be mended is added to ``notes``.

    A recording is decoded once and cut; a file that holds many samples is read sample by sample.
    """
    if recording.format not in catalog.CONTAINERS:
        decoded = read(recording, sensor, policy)
        notes.update(decoded.notes)
        yield from cut(decoded.events, recording, notes)
        return
    container = catalog.CONTAINERS[recording.format][0]
    with _present(recording.path):
        wanted = [(sample.key, f"{recording.path}:{sample.key}") for sample in recording.samples]
        many = container.read_many(recording.path, wanted, sensor, policy)
        for sample, decoded in zip(recording.samples, many, strict=True):
            for what, count in decoded.notes.items():
                notes[what] = notes.get(what, 0) + count
            yield sample, decoded.events


@contextmanager
def _present(path: Path) -> Iterator[None]:
    if not path.is_file():
        raise FormatError(f"{path}: the recording is gone", hint="delete the folder extract/ and run again")
    yield


def cut(events: Events, recording: Recording, notes: dict[str, int] | None = None) -> Iterator[tuple[Sample, Events]]:
    """Yield each sample's events: views into the recording's columns, ``[start, end)`` by binary search.

    A window in which nothing happened is a sample without events; one that lies outside the recording is an error, but
    where ``notes`` tell that the recording's end was lost and salvage was asked for.
    """
    t = events["t"]
    notes = {} if notes is None else notes
    for sample in recording.samples:
        if sample.windows is None:
            yield sample, events
            continue
        edges = np.searchsorted(t, np.array(sample.windows, np.int64))
        for (start, end), (a, b) in zip(sample.windows, edges, strict=True):
            if a == b and start > t[-1] and "salvaged_bytes_lost" in notes:
                notes["windows_lost"] = notes.get("windows_lost", 0) + 1
            elif a == b and (end <= t[0] or start > t[-1]):
                raise LabelError(
                    f"{recording.labels}:{sample.line}: the window {start} to {end} us lies outside the recording, "
                    f"which runs from {t[0]} to {t[-1]} us"
                )
        parts = [select(events, slice(a, b)) for a, b in edges]
        yield sample, parts[0] if len(parts) == 1 else _join(parts)


def _join(parts: list[Events]) -> Events:
    t, x, y, p = (np.concatenate([part[k] for part in parts]) for k in ("t", "x", "y", "p"))
    return Events(t=t, x=x, y=y, p=p)


def warm_up(formats: Iterable[str]) -> None:
    """Compile these formats' kernels once, before workers start: concurrent first compiles can crash Numba (4807)."""
    from dvsprep.events import _kernels, _kernels_dat, _kernels_es

    raw = np.zeros(0, np.uint8)
    raw.flags.writeable = False
    for format in set(formats):
        for sensor in ((34, 34), (300, 300)):
            c = columns(0, sensor)
            rest = (*sensor, False, c["t"], c["x"], c["y"], c["p"])
            if format == "aedat3.1":
                _kernels.aedat31_decode(raw, *rest)
            elif format.startswith("aedat2"):
                _kernels.aedat2_decode(raw, True, *rest)
            elif format == "atis":
                _kernels.atis_decode(raw, *rest)
            elif "dat" in format:
                _kernels_dat.dat_decode(raw, 14, 14, 4, *rest)
        if format == "aedat3.1":
            _kernels.aedat31_count(raw)
        elif format == "es":
            _kernels_es.es_dvs_walk(raw)
    _kernels.first_backward(np.zeros(0, np.int64))
