"""One recording, a folder of them, or an event cache in; a file of another format out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from dvsprep import cache, events, importing
from dvsprep.errors import UsageError
from dvsprep.events import catalog, detect, spikes, vetting, writers
from dvsprep.types import Events

Say = Callable[[str], None]
Sensor = tuple[int, int]
CACHE = ".h5"
ANY = (1 << 14, 1 << 14)  # a sensor that every coordinate fits on
MIRRORED = ("asl-mat",)  # readers that count from the far edge: without the sensor they cannot
LOST = {"aedat4": "frames, IMU and triggers", "aedat3.1": "frames, IMU and triggers", "evt": "triggers"}


class Converted(NamedTuple):
    """What was written."""

    path: Path
    samples: int
    events: int
    sensor: Sensor | None


def convert(
    source: Path,
    target: Path,
    *,
    sensor: Sensor | None = None,
    sample: int | None = None,
    policy: events.Policy | None = None,
    replace: bool = False,
    jobs: int | None = None,
    say: Say = lambda _: None,
) -> Converted:
    """Write the events of ``source`` to ``target``, whose suffix names the format; what cannot be kept is said.

    Parameters
    ----------
    sensor : (H, W), optional
        Of a recording that does not state it.
    sample : int, optional
        Of an event cache.
    replace : bool
        Let the file take the place of another one of this name.
    """
    suffix, policy = target.suffix.lower(), policy or events.Policy()
    if suffix not in (*writers.WRITERS, CACHE):
        raise UsageError(f"{target}: its suffix is to be one of {', '.join((*writers.WRITERS, CACHE))}")
    if source.is_dir() and suffix != CACHE:
        raise UsageError(
            f"{source} is a folder, and {suffix} holds one recording", hint="an event cache holds many: .h5"
        )
    if sample is not None and not _is_cache(source):
        raise UsageError(f"{source} is no event cache, so --sample has no meaning")
    if suffix == CACHE:
        return _to_cache(source, target, sensor, sample, policy, replace, jobs, say)
    found, size = _events(source, sensor, sample, policy, say)
    writers.write(found, target, size, replace=replace)
    if suffix != ".dat" and size is not None:
        say(f"{suffix.removeprefix('.')} has no place for the sensor's size: --sensor {size[0]}x{size[1]} to read it")
    if size is None:
        say("the sensor's size is not known, so no coordinate was checked against it; --sensor HxW does")
    if len(found["t"]) == 0:
        say("no event happened in this sample; readers take an empty file for a mistake")
    return Converted(target, 1, len(found["t"]), size)


def _to_cache(
    source: Path,
    target: Path,
    sensor: Sensor | None,
    sample: int | None,
    policy: events.Policy,
    replace: bool,
    jobs: int | None,
    say: Say,
) -> Converted:
    """Write an event cache: the samples of another one, or one a recording, labelled as `import` does it."""
    if _is_cache(source):
        opened = _open(source, sensor)
        indices = range(len(opened)) if sample is None else [_sample(opened, sample)]
        cache.copy_samples(opened, indices, target, replace=replace)
    else:
        what = importing.Import(source.resolve().stem, [source], sensor=sensor, policy=policy)
        recordings, header = importing.prepare(what, jobs=jobs, say=say)
        for format in dict.fromkeys(recording.format for recording in recordings):
            _say_lost(format, say)
        cache.events_file(target, header, recordings, policy, jobs=jobs, say=say, replace=replace)
    done = cache.EventCache(target)
    return Converted(target, len(done), int(done.small("n_events").sum()), done.sensor)


def _events(
    source: Path, sensor: Sensor | None, sample: int | None, policy: events.Policy, say: Say
) -> tuple[Events, Sensor | None]:
    if _is_cache(source):
        opened = _open(source, sensor)
        if sample is None and len(opened) != 1:
            raise UsageError(f"{source} holds {len(opened)} samples", hint="--sample I tells which")
        return opened.compact(_sample(opened, sample or 0)), opened.sensor
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
    _say_lost(format, say)
    return decoded.events, size


def _say_lost(format: str, say: Say) -> None:
    if format in LOST:
        say(f"events only: {LOST[format]}, if there are any, are not written")


def _open(source: Path, sensor: Sensor | None) -> cache.EventCache:
    if cache.kind_of(source) != "events":
        raise UsageError(f"{source}: a cache of frames, which hold no events", hint="name its event cache")
    opened = cache.EventCache(source)
    if sensor is not None:
        raise UsageError(f"{source} states its sensor, {opened.sensor[0]}x{opened.sensor[1]}; --sensor is for others")
    return opened


def _sample(opened: cache.EventCache, i: int) -> int:
    if not -len(opened) <= i < len(opened):
        raise UsageError(f"sample {i} of {len(opened)}, expected 0 to {len(opened) - 1}")
    return i % len(opened)


def _is_cache(path: Path) -> bool:
    """Tell whether a file is HDF5, and not one of the recordings that are."""
    if path.is_dir():
        return False
    with path.open("rb") as file:
        if file.read(len(spikes.MAGIC)) != spikes.MAGIC:
            return False
    return vetting.layout(path) is None
