"""A person's own recordings in, a dataset out: an event cache and the ``dataset.json`` that makes its name known."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from dvsprep import cache, config, datasets, disk, events, parallel, raw
from dvsprep.cache.write import locked
from dvsprep.datasets import layouts, local
from dvsprep.errors import FormatError, LabelError, NotFoundError, UsageError
from dvsprep.events import catalog, detect
from dvsprep.types import digest
from dvsprep.workspace import Workspace, events_name

Say = Callable[[str], None]
Sensor = tuple[int, int]


class Found(NamedTuple):
    """A recording: where it lies, its name below the common folder, its format."""

    path: Path
    name: str
    format: str

    @property
    def id(self) -> str:
        """The name without suffix: the sample's id."""
        return str(Path(self.name).with_suffix("").as_posix())


@dataclass(frozen=True)
class Import:
    """What to import, and how its labels are told.

    Parameters
    ----------
    name : str
        Of the dataset to make.
    inputs : sequence of path
        Recordings, or folders of them.
    labels : path, optional
        A table of :func:`dvsprep.events.read_table`.
    class_from : str
        Without a table: ``parent`` (the folder's name), or a regular expression searched in the path below the common
        folder, whose group ``class`` (or only group) is the class.
    sensor : (H, W), optional
        What the files state, unless told.
    """

    name: str
    inputs: Sequence[Path]
    labels: Path | None = None
    class_from: str | None = None
    sensor: Sensor | None = None
    policy: events.Policy = field(default_factory=events.Policy)

    def __post_init__(self) -> None:
        if self.labels is not None and self.class_from is not None:
            raise UsageError("--labels and --class-from both tell the classes", hint="give one of them")


class Imported(NamedTuple):
    """The result: the event cache, its facts, and whether it was there before."""

    path: Path
    facts: dict[str, Any]
    samples: int
    new: bool


@parallel.seldom_collected()
def run(
    what: Import,
    root: str | os.PathLike[str] | None = None,
    *,
    jobs: int | None = None,
    codec: str | None = None,
    say: Say = lambda _: None,
    progress: Callable[[int], None] = lambda _: None,
) -> Imported:
    """Import recordings; the same ones again change nothing, others under the same name are refused."""
    if not local.NAME.fullmatch(what.name):
        raise UsageError(f"{what.name!r} is no name for a dataset", hint="letters, digits, - _ and .")
    if what.name in datasets.names():
        raise UsageError(f"{what.name} is a known dataset's name", hint="choose another one")
    recordings, header = prepare(what, jobs=jobs, codec=codec, say=say)
    facts = {
        "schema": 1,
        "classes": list(header.classes),
        "sensor": list(header.sensor),
        "channels": header.channels,
        "identity": header.identity,
    }
    folder = (Path(root).expanduser() if root is not None else config.root()) / what.name
    target = folder / "events" / events_name(header.identity, "all")
    done = Imported(target, facts, len(header.ids), new=True)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / local.FACTS, say):
        before = local.load(folder)
        if before and before.imported and before.imported["identity"] != header.identity:
            raise UsageError(
                f"{folder} holds other recordings, labels or options under this name",
                hint="choose another name, or delete the folder",
            )
        if before and target.is_file():
            return done._replace(new=False)
        cache.events_cache(target, header, recordings, what.policy, jobs=jobs, say=say, progress=progress)
        disk.write_whole(folder / local.FACTS, json.dumps(facts, indent=1).encode())
    assert Workspace(what.name, folder.parent).events_paths() == {"all": target}
    return done


def prepare(
    what: Import, *, jobs: int | None = None, codec: str | None = None, say: Say = lambda _: None
) -> tuple[list[events.Recording], cache.Header]:
    """Find the recordings, their labels and their sensor; return them with the head of the event cache to be."""
    found = find(what.inputs, what.labels, say)
    recordings, classes = label(found, what)
    labelled = {recording.path for recording in recordings}
    if without := [f.name for f in found if f.path not in labelled]:
        say(f"{what.labels} has no row of {len(without)} recording(s), which are left out: {', '.join(without[:3])}")
        found = [f for f in found if f.path in labelled]
    sensor = what.sensor or stated_sensor(found)
    samples = [sample for recording in recordings for sample in recording.samples]
    header = cache.Header(
        kind="events",
        dataset=what.name,
        split="all",
        sensor=sensor,
        classes=tuple(classes),
        ids=[s.id for s in samples],
        labels=[s.label for s in samples],
        identity=_identity(what, found, recordings, classes, sensor, jobs),
        provenance={"imported": len(recordings), "title": what.name},
        codec=codec or config.codec(),
    )
    return recordings, header


# -- which files --


def find(inputs: Sequence[Path], labels: Path | None = None, say: Say = lambda _: None) -> list[Found]:
    """Return the recordings among files and folders, by what their bytes are; what a folder holds besides is said."""
    base = _common(inputs)
    found: dict[Path, Found] = {}
    for given in inputs:
        if given.is_dir():
            here = [f for path in _walk(given) if (f := _in_folder(path, base, labels, say))]
            if not here:
                raise NotFoundError(f"{given}: no recording in this folder", hint=f"read here: {detect.SUPPORTED}")
        else:
            if not given.is_file():
                raise NotFoundError(f"{given}: no such file or folder")
            here = [_recording(given, base)]
        found |= {f.path.resolve(): f for f in here}
    ordered = sorted(found.values(), key=lambda f: layouts.by_number(f.id))
    for f in ordered:
        if sentence := detect.say_suffix(f.path, f.format):
            say(sentence)
    by_id: dict[str, Found] = {}
    for f in ordered:
        if (other := by_id.setdefault(f.id, f)) is not f:
            raise UsageError(f"{other.path} and {f.path} would both be the sample {f.id}", hint="rename one of them")
    return ordered


def _common(inputs: Sequence[Path]) -> Path:
    """Return the folder that names count from: the only folder given, else what holds everything."""
    if not inputs:
        raise UsageError("no recordings are named")
    if len(inputs) == 1 and inputs[0].is_dir():
        return inputs[0].absolute()
    return Path(os.path.commonpath([str(path.absolute().parent) for path in inputs]))


def _walk(folder: Path) -> Iterable[Path]:
    for at, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(at, name) for name in sorted(names))


def _in_folder(path: Path, base: Path, labels: Path | None, say: Say) -> Found | None:
    if labels is not None and labels.exists() and path.samefile(labels):
        return None
    if path.name.startswith("."):
        say(f"skipped: {path}: a hidden file")
        return None
    if not path.is_file():
        say(f"skipped: {path}: no regular file, or a link to nowhere")
        return None
    try:
        return _recording(path, base)
    except (FormatError, PermissionError) as error:
        why = error.message if isinstance(error, FormatError) else f"{path}: {error.strerror}"
        say(f"skipped: {why}")
        return None


def _recording(path: Path, base: Path) -> Found:
    format = detect.detect(path)
    if format in catalog.CONTAINERS:
        raise FormatError(f"{path}: {detect.TITLES[format]}, a file of many samples, which is no recording")
    return Found(path, Path(os.path.relpath(path.absolute(), base)).as_posix(), format)


def stated_sensor(found: Sequence[Found]) -> Sensor:
    """Return the sensor (H, W) that all files state."""
    stated = {f: catalog.geometry(f.path, f.format) for f in found}
    silent = [f for f, size in stated.items() if size is None]
    if silent:
        raise UsageError(f"{silent[0].path} does not state its sensor size", hint="give it with --sensor HxW")
    first = found[0]
    for f, size in stated.items():
        if size != stated[first]:
            raise UsageError(
                f"{first.path} and {f.path} are of different sensors, {_size(stated[first])} and {_size(size)}",
                hint="--sensor HxW gives one for all, large enough for each",
            )
    sensor = stated[first]
    assert sensor is not None
    return sensor


def _size(sensor: Sensor | None) -> str:
    return f"{sensor[0]}x{sensor[1]}" if sensor else "unknown"


# -- which labels --


def label(found: Sequence[Found], what: Import) -> tuple[list[events.Recording], tuple[str, ...]]:
    """Return the recordings with their labelled samples, and the class names in natural order."""
    if what.labels is not None:
        return _by_table(found, what.labels)
    class_of = {f: _class_of(f, what.class_from or "parent") for f in found}
    classes, index = layouts.number_classes(class_of.values())
    samples = {f: events.Sample(f.id, index[name]) for f, name in class_of.items()}
    return [events.Recording(f.path, f.format, "all", (samples[f],)) for f in found], classes


def _class_of(found: Found, rule: str) -> str:
    if rule == "parent":
        return found.path.absolute().parent.name
    try:
        pattern = re.compile(rule)
    except re.error as error:
        raise UsageError(f"--class-from {rule!r} is no regular expression: {error}") from None
    if pattern.groups != 1 and "class" not in pattern.groupindex:
        raise UsageError(
            f"--class-from {rule!r} has {pattern.groups} groups", hint="one tells the class, or name it: (?P<class>...)"
        )
    match = pattern.search(found.name)
    name = match and match["class" if "class" in pattern.groupindex else 1]
    if not name:
        raise LabelError(f"{found.path}: --class-from {rule!r} finds no class in {found.name!r}")
    return name


def _by_table(found: Sequence[Found], table: Path) -> tuple[list[events.Recording], tuple[str, ...]]:
    rows = events.read_table(table)
    rows_of: dict[Found, list[events.LabelRow]] = {f: [] for f in found}
    for row in rows:
        rows_of[_row_file(row, found, table)].append(row)
    classes, index = layouts.number_classes(row.name for row in rows)
    recordings = []
    for f, here in rows_of.items():
        if here:
            samples = events.table_samples(here, f.id, lambda row: index[row.name], table)
            recordings.append(events.Recording(f.path, f.format, "all", samples, table))
    return recordings, classes


def _row_file(row: events.LabelRow, found: Sequence[Found], table: Path) -> Found:
    where = f"{table}:{row.line}"
    if not row.file:
        if len(found) > 1:
            raise LabelError(f"{where}: which of the {len(found)} recordings?", hint="add a column file")
        return found[0]
    asked = row.file.replace("\\", "/").removeprefix("./")
    matches = [f for f in found if f.name == asked] or [f for f in found if f.path.name == asked]
    if not matches:
        raise LabelError(f"{where}: no recording is named {row.file!r}; the first is {found[0].name}")
    if len(matches) > 1:
        raise LabelError(f"{where}: {row.file!r} may be {matches[0].name} or {matches[1].name}", hint="give its path")
    return matches[0]


# -- the cache --


def _identity(
    what: Import,
    found: Sequence[Found],
    recordings: Sequence[events.Recording],
    classes: Sequence[str],
    sensor: Sensor,
    jobs: int | None,
) -> dict[str, Any]:
    md5s = parallel.run(raw.md5_file, [f.path for f in found], jobs=jobs)
    samples = [[s.id, s.label, s.windows] for r in recordings for s in r.samples]
    return {
        "kind": "events",
        "schema": 1,
        "dataset": what.name,
        "files": dict(zip((f.name for f in found), md5s, strict=True)),
        "reader": {format: events.version(format) for format in sorted({f.format for f in found})},
        "labels": digest({"classes": list(classes), "samples": samples}),
        "sensor": list(sensor),
        "policy": what.policy.to_dict(),
    }
