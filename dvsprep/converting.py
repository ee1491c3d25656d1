"""One recording, or one sample of an event cache, in; a file of another format out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from dvsprep import cache, events
from dvsprep.errors import UsageError
from dvsprep.events import catalog, detect, writers
from dvsprep.types import Events

Say = Callable[[str], None]
Sensor = tuple[int, int]
WRITERS: dict[str, Callable[[Events, Path, Sensor | None], None]] = {
    ".npz": lambda e, path, _: writers.write_npz(e, path),
    ".dat": writers.write_dat_v2,
    ".txt": lambda e, path, _: writers.write_text(e, path),
    ".csv": lambda e, path, _: writers.write_text(e, path, ","),
}
HDF5 = b"\x89HDF\r\n\x1a\n"
ANY = (1 << 14, 1 << 14)  # a sensor that every coordinate fits on
MIRRORED = ("asl-mat",)  # readers that count from the far edge: without the sensor they cannot
LOST = {"aedat4": "frames, IMU and triggers", "aedat3.1": "frames, IMU and triggers", "evt": "triggers"}


class Converted(NamedTuple):
    """What was written."""

    path: Path
    events: int
    sensor: Sensor | None


def convert(
    source: Path,
    target: Path,
    *,
    sensor: Sensor | None = None,
    sample: int | None = None,
    policy: events.Policy | None = None,
    say: Say = lambda _: None,
) -> Converted:
    """Write the events of ``source`` to ``target``, whose suffix names the format; what cannot be kept is said.

    Parameters
    ----------
    sensor : (H, W), optional
        Of a recording that does not state it.
    sample : int, optional
        Of an event cache.
    """
    suffix = target.suffix.lower()
    if suffix not in WRITERS:
        hint = "`dvsprep import` makes event caches" if suffix in (".h5", ".hdf5") else ""
        raise UsageError(f"{target}: its suffix is to be one of {', '.join(WRITERS)}", hint=hint or None)
    if target.exists():
        raise UsageError(f"{target} exists", hint="choose another name, or delete it")
    found, size = _events(source, sensor, sample, policy or events.Policy(), say)
    WRITERS[suffix](found, target, size)
    if suffix != ".dat" and size is not None:
        say(f"{suffix.removeprefix('.')} has no place for the sensor's size: --sensor {size[0]}x{size[1]} to read it")
    if size is None:
        say("the sensor's size is not known, so no coordinate was checked against it; --sensor HxW does")
    if len(found["t"]) == 0:
        say("no event happened in this sample; readers take an empty file for a mistake")
    return Converted(target, len(found["t"]), size)


def _events(
    source: Path, sensor: Sensor | None, sample: int | None, policy: events.Policy, say: Say
) -> tuple[Events, Sensor | None]:
    if _is_cache(source):
        return _from_cache(source, sensor, sample)
    if sample is not None:
        raise UsageError(f"{source} is no event cache, so --sample has no meaning")
    format = detect.detect(source)
    if format in catalog.CONTAINERS:
        raise UsageError(
            f"{source}: {detect.TITLES[format]}, a file of many samples",
            hint="build the dataset's event cache with `dvsprep events`, then convert samples of that",
        )
    if sentence := detect.say_suffix(source, format):
        say(sentence)
    size = sensor or catalog.geometry(source, format)
    if size is None and format in MIRRORED:
        raise UsageError(f"{source} does not state its sensor size", hint="give it with --sensor HxW")
    decoded = events.read(events.Recording(source, format, "all", ()), size or ANY, policy)
    for what, count in decoded.notes.items():
        say(f"{source}: {what.replace('_', ' ')}: {count}")
    if format in LOST:
        say(f"events only: {LOST[format]}, if there are any, are not written")
    return decoded.events, size


def _from_cache(source: Path, sensor: Sensor | None, sample: int | None) -> tuple[Events, Sensor]:
    if cache.kind_of(source) != "events":
        raise UsageError(f"{source}: a cache of frames, which hold no events", hint="name its event cache")
    opened = cache.EventCache(source)
    if sensor is not None:
        raise UsageError(f"{source} states its sensor, {opened.sensor[0]}x{opened.sensor[1]}; --sensor is for others")
    if sample is None and len(opened) != 1:
        raise UsageError(f"{source} holds {len(opened)} samples", hint="--sample I tells which")
    i = sample or 0
    if not -len(opened) <= i < len(opened):
        raise UsageError(f"sample {i} of {len(opened)}, expected 0 to {len(opened) - 1}")
    return opened.compact(i), opened.sensor


def _is_cache(path: Path) -> bool:
    """Tell whether a file is HDF5, and not one of the recordings that are."""
    with path.open("rb") as file:
        if file.read(len(HDF5)) != HDF5:
            return False
    from dvsprep.events import spikes

    return spikes.layout(path) is None
