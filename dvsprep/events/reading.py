"""What every reader shares: the policy for bad input, the columns, and the checks after decoding."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dvsprep.errors import FormatError
from dvsprep.raw import as_member
from dvsprep.types import Array, Events

MMAP_FROM = 1 << 20  # bytes; below this a plain read is cheaper than a mapping


@dataclass(frozen=True)
class Policy:
    """What to do with input that breaks the rules; the default is to stop and say where.

    Parameters
    ----------
    out_of_range : {"error", "drop"}
        Events outside the sensor.
    unsorted : {"error", "sort"}
        Timestamps that run backward.
    salvage : bool
        Keep what is whole of a truncated recording.
    """

    out_of_range: Literal["error", "drop"] = "error"
    unsorted: Literal["error", "sort"] = "error"
    salvage: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return only what differs from the default, so that a new field never changes an old digest."""
        return {k: v for k, v in asdict(self).items() if v != getattr(Policy, k)}


@dataclass
class Decoded:
    """One recording's events and what had to be mended in them, in counts by name."""

    events: Events
    notes: dict[str, int] = field(default_factory=dict)


class Span(NamedTuple):
    """A part of a file that can be decoded alone: bytes, room for how many events, and how many are before it."""

    start: int
    end: int
    slots: int
    before: int


def size_of(path: Path) -> int:
    """Return a file's size in bytes."""
    member = as_member(path)
    return member.size if member else path.stat().st_size


def load(path: Path) -> Array:
    """Return a file's bytes as read-only uint8[B]; a large file is mapped, not read, one in an archive is inflated."""
    if member := as_member(path):
        raw = np.frombuffer(member.read_bytes(), np.uint8)
        raw.flags.writeable = False  # one type for the kernels
        return raw
    with path.open("rb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size < MMAP_FROM:
            return np.frombuffer(file.read(), np.uint8)
        return np.memmap(file, np.uint8, mode="r").view(np.ndarray)


def columns(n: int, sensor: tuple[int, int]) -> Events:
    """Return uninitialised columns for n events; x and y each in uint8 where its side of the sensor allows."""
    H, W = sensor
    x, y = np.empty(n, np.uint8 if W <= 256 else np.uint16), np.empty(n, np.uint8 if H <= 256 else np.uint16)
    return Events(t=np.empty(n, np.int64), x=x, y=y, p=np.empty(n, np.uint8))


def finish(events: Events, name: str, policy: Policy, notes: dict[str, int]) -> Decoded:
    """Put a whole recording's events in order of time, or say where they are not."""
    from dvsprep.events import _kernels

    if not len(events["t"]):
        raise FormatError(f"{name}: the recording holds no events")
    if policy.unsorted != "sort":
        check_order(events["t"], name)
    elif _kernels.first_backward(events["t"]) >= 0:
        events = select(events, np.argsort(events["t"], kind="stable"))
        notes["sorted"] = 1
    return Decoded(events, {k: v for k, v in notes.items() if v})


def check_order(t: NDArray[np.int64], name: str, first: int = 0) -> None:
    """Raise FormatError where time runs backward; ``first`` is the number of the first event in its recording."""
    from dvsprep.events import _kernels

    at = _kernels.first_backward(t)
    if at >= 0:
        raise backward(name, first + at, int(t[at]), int(t[at - 1]))


def backward(name: str, event: int, now: int, before: int) -> FormatError:
    """Return the error for an event whose time is before that of its predecessor."""
    return FormatError(
        f"{name}: time runs backward at event {event}: {now} us after {before} us",
        hint="--unsorted sort puts the events in order",
    )


def outside(name: str, event: int, sensor: tuple[int, int]) -> FormatError:
    """Return the error for an event that is not on the sensor."""
    return FormatError(
        f"{name}: event {event} lies outside the sensor of {sensor[1]} x {sensor[0]} (width x height)",
        hint="--out-of-range drop leaves such events out",
    )


def select(events: Events, index: Any) -> Events:
    """Return the events at an index: a slice or an array."""
    return Events(t=events["t"][index], x=events["x"][index], y=events["y"][index], p=events["p"][index])


def whole_records(raw: Array, record: int, start: int, name: str, policy: Policy, notes: dict[str, int]) -> Array:
    """Return the payload behind byte ``start`` if it is whole records; a cut one at the end is an error or salvaged."""
    if raw.size == 0:
        raise FormatError(f"{name}: the file is empty")
    rest = (raw.size - start) % record
    if rest:
        if not policy.salvage:
            raise FormatError(
                f"{name}: truncated: the record of {record} bytes at byte {raw.size - rest} has {rest} bytes",
                hint="fetch the file again, or --salvage keeps what is whole",
            )
        notes["salvaged_bytes_lost"] = rest
    return raw[start : raw.size - rest]
