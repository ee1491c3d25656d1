"""Every format by name: one dict a kind of reader. A new format is one file and one line here.

A version belongs to each reader: a change in what it returns for the same bytes gets a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from dvsprep.events import aedat2, aedat3, aedat4, atis, dat, es, evt, mat, npy, smnist, spikes, text
from dvsprep.events.reading import Decoded, Policy, Span
from dvsprep.types import Array

Sensor = tuple[int, int]
BytesReader = Callable[[Array, str, Sensor, Policy], Decoded]
PathReader = Callable[[Path, str, Sensor | None, Policy], Decoded]


class Container(NamedTuple):
    """How a file of many samples is read: its labels cheaply, then samples by (key, name), one or many at a time."""

    labels: Callable[..., list[tuple[str, int]]]
    read_one: Callable[[Path, str, str, Sensor, Policy], Decoded]
    read_many: Callable[[Path, Iterable[tuple[str, str]], Sensor, Policy], Iterator[Decoded]]
    sensor: Sensor


class InSpans(NamedTuple):
    """How a long recording is read in parts: found by a walk that decodes nothing, then each part alone."""

    spans: Callable[[Array, str, Policy, int], tuple[list[Span], dict[str, int]]]
    read_span: Callable[[Array, Span, str, Sensor, Policy], Decoded]


# bytes of a file -> events
BYTES: dict[str, tuple[BytesReader, int]] = {
    "aedat2-dvs128": (aedat2.read, 1),
    "aedat2-jaer": (aedat2.read_jaer, 1),
    "aedat3.1": (aedat3.read, 1),
    "atis": (atis.read, 1),
    "dat": (dat.read, 1),
    "dat-v1": (dat.read_v1, 1),
    "dat-v2": (dat.read_v2, 1),
    "navgesture-dat": (dat.read_navgesture, 1),
    "asl-mat": (mat.read_asldvs, 1),
    "stmnist-mat": (mat.read_stmnist, 1),
    "dvslip-npy": (npy.read_structured, 1),
    "npz": (npy.read_npz, 1),
    "hardvs-npz": (npy.read_npz, 1),
    "es-imagenet-npz": (npy.read_es_imagenet, 1),
    "es-imagenet-npz-ms": (partial(npy.read_es_imagenet, step=1000), 1),
    "bullying10k-npy": (npy.read_bullying10k, 1),
    "gesture-ms-npy": (npy.read_gesture_ms, 1),
    "pokerdvs-npy": (npy.read_poker, 1),
    "text": (text.read, 1),
}

# path of a file -> events: other packages open it themselves
PATHS: dict[str, tuple[PathReader, int]] = {
    "aedat4": (aedat4.read, 1),
    "es": (es.read, 1),
    "evt": (evt.read, 1),
}

# path of a file of many samples
CONTAINERS: dict[str, tuple[Container, int]] = {
    "spikes-h5": (Container(spikes.labels, spikes.read_one, spikes.read_many, (1, spikes.SHD_CHANNELS)), 1),
    "ntidigits-h5": (Container(spikes.labels, spikes.read_one, spikes.read_many, (1, spikes.NTIDIGITS_CHANNELS)), 1),
    "smnist-idx": (Container(smnist.labels, smnist.read_one, smnist.read_many, (1, smnist.CHANNELS)), 1),
}

# formats whose recordings may be too long for memory, and which can be decoded in parts
SPANS: dict[str, InSpans] = {"aedat3.1": InSpans(aedat3.spans, aedat3.read_span)}

# bytes of an event on disk, where it is not about eight: enough to guess how many events a file has
EVENT_BYTES = {"atis": 5}

READERS: dict[str, tuple[object, int]] = {**BYTES, **PATHS, **CONTAINERS}

# formats whose files may state their sensor
GEOMETRY: dict[str, Callable[[Path], Sensor | None]] = {
    "aedat4": aedat4.geometry,
    "dat": dat.geometry,
    "dat-v1": dat.geometry,
    "dat-v2": dat.geometry,
    "es": es.geometry,
    "evt": evt.geometry,
}


def version(format: str) -> int:
    """Return the version of a format's reader, which is part of every cache key."""
    return READERS[format][1]


def geometry(path: Path, format: str) -> Sensor | None:
    """Return the sensor (H, W) that a file states, or None."""
    return GEOMETRY[format](path) if format in GEOMETRY else None
