"""Datasets that a TOML file describes, for two common layouts: a folder a class, and a label csv beside each recording.

name = "my-gestures"
layout = "csv"                  # or "folders"
format = "text"
suffix = ".txt"
sensor = [128, 128]             # height, width
labels = "{stem}_labels.csv"    # of layout csv; folders has class_from = "parent" or a regular expression

[[files]]
name = "my-gestures.zip"
md5 = "0123456789abcdef0123456789abcdef"
url = "https://example.org/my-gestures.zip"

[splits]                        # a folder's name, or a .txt that lists recordings; all are "all" without it
train = "trials_to_train.txt"
test = "trials_to_test.txt"     # a recording in no split is an error, unless the file says left_out = true
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from dvsprep.datasets.dataset import Dataset, files
from dvsprep.datasets.layouts import by_number, number_classes
from dvsprep.datasets.local import NAME
from dvsprep.errors import ArchiveError, LabelError, NotFoundError, UsageError
from dvsprep.events import READERS, Instances, LabelRow, Recording, Sample, read_table, table_samples
from dvsprep.events.catalog import CONTAINERS
from dvsprep.raw import Resource
from dvsprep.types import digest

TEXT: dict[str, type] = {"name": str, "title": str, "paper": str, "licence": str, "note": str}
RULES: dict[str, type] = {
    "layout": str, "format": str, "suffix": str, "sensor": list, "classes": list, "first_class": int,
    "class_from": str, "labels": str, "splits": dict, "left_out": bool,
}  # fmt: skip
KEYS = TEXT | RULES | {"files": list}
FILE_KEYS: dict[str, type] = {
    "name": str, "md5": str, "sha256": str, "size": int, "url": str, "urls": list, "page": str, "optional": bool,
}  # fmt: skip
SPLIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
NEEDED = ("name", "layout", "format", "suffix", "sensor", "files")


def load(path: Path) -> Dataset:
    """Return the dataset that a file describes.

    Raises
    ------
    UsageError
        What is wrong with the file; an unknown key with the nearest one that is known.
    """
    try:
        facts = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: no TOML: {error}") from None
    _check(facts, KEYS, str(path))
    if missing := [key for key in NEEDED if not facts.get(key)]:
        raise UsageError(f"{path}: needs {', '.join(missing)}")
    rules = _rules(facts, path)
    splits = tuple(facts.get("splits", {})) or ("all",)
    return Dataset(
        name=facts["name"],
        title=facts.get("title", facts["name"]),
        paper=facts.get("paper", ""),
        licence=facts.get("licence", ""),
        classes=rules.classes,
        sensor=(facts["sensor"][0], facts["sensor"][1]),
        format=facts["format"],
        resources=tuple(_resource(entry, str(path)) for entry in facts["files"]),
        layout=rules.recordings,
        splits=splits,
        class_names=None if rules.classes else rules.class_names,
        defined_by=digest({key: facts[key] for key in RULES if key in facts}),
        note=facts.get("note", ""),
    )


def _check(facts: Mapping[str, Any], known: Mapping[str, type], where: str) -> None:
    for key, value in facts.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            raise UsageError(
                f"{where}: unknown key {key!r}",
                hint=f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}",
            )
        if type(value) is not known[key]:
            raise UsageError(f"{where}: {key} is {value!r}, expected a {known[key].__name__}")


def _rules(facts: Mapping[str, Any], path: Path) -> Rules:
    """Check what decides the samples."""
    layout, format, sensor = facts["layout"], facts["format"], facts["sensor"]
    if not NAME.fullmatch(facts["name"]):
        raise UsageError(f"{path}: name {facts['name']!r}: letters, digits, - _ and . make a name")
    if layout not in ("folders", "csv"):
        raise UsageError(f"{path}: layout is {layout!r}, expected folders or csv")
    alien = {"folders": ("labels", "first_class"), "csv": ("class_from",)}[layout]
    if wrong := [key for key in alien if key in facts]:
        raise UsageError(f"{path}: {wrong[0]} does not go with layout {layout}")
    if format not in READERS or format in CONTAINERS:
        near = difflib.get_close_matches(format, sorted(set(READERS) - set(CONTAINERS)), n=3, cutoff=0.3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(sorted(READERS))}"
        raise UsageError(f"{path}: format {format!r} is unknown", hint=hint)
    if len(sensor) != 2 or not all(type(side) is int and 0 < side < 1 << 15 for side in sensor):
        raise UsageError(f"{path}: sensor is {sensor}, expected [height, width]")
    for key, values in (("classes", facts.get("classes", [])), ("splits", list(facts.get("splits", {}).values()))):
        if any(type(value) is not str or not value for value in values):
            raise UsageError(f"{path}: {key}: expected text, got {values}")
    for split in facts.get("splits", {}):
        if not SPLIT.fullmatch(split) or split == "all":
            raise UsageError(f"{path}: [splits]: {split!r} is no name for a split", hint="for example train, val, test")
    if facts.get("left_out") and not facts.get("splits"):
        raise UsageError(f"{path}: left_out is about [splits], which there are none")
    classes = tuple(facts.get("classes", ()))
    if len(set(classes)) < len(classes):
        raise UsageError(f"{path}: a class stands there twice")
    if "first_class" in facts and (not classes or any(name.isdecimal() for name in classes)):
        raise UsageError(f"{path}: first_class numbers the names in classes, which are to be there, and no numbers")
    rule = facts.get("class_from", "parent")
    try:
        pattern = None if rule == "parent" else re.compile(rule)
    except re.error as error:
        raise UsageError(f"{path}: class_from {rule!r} is no regular expression: {error}") from None
    if pattern and pattern.groups != 1 and "class" not in pattern.groupindex:
        raise UsageError(f"{path}: class_from {rule!r} has {pattern.groups} groups, expected one, or one named class")
    labels = facts.get("labels", "{stem}_labels.csv")
    if PurePosixPath(labels).is_absolute() or ".." in PurePosixPath(labels).parts or "\\" in labels:
        raise UsageError(
            f"{path}: labels is {labels!r}, expected a path below the recording's folder",
            hint="the folders above it are searched too, so no .. is needed",
        )
    if "{stem}" not in labels or labels.replace("{stem}", "").strip("{}") != labels.replace("{stem}", ""):
        raise UsageError(f"{path}: labels is {labels!r}, expected a name with {{stem}}, such as {{stem}}_labels.csv")
    return Rules(
        file=path,
        layout=layout,
        suffix=facts["suffix"],
        classes=classes,
        first_class=facts.get("first_class"),
        pattern=pattern,
        labels=labels,
        splits=dict(facts.get("splits", {})),
        left_out=facts.get("left_out", False),
    )


def _resource(entry: object, where: str) -> Resource:
    if not isinstance(entry, dict):
        raise UsageError(f"{where}: files is a list of tables [[files]]")
    _check(entry, FILE_KEYS, f"{where}: [[files]]")
    name = entry.get("name", "")
    if not name or name.startswith(".") or "/" in name or "\\" in name:
        raise UsageError(f"{where}: [[files]]: name is {name!r}, expected a file name")
    for key, digits in (("md5", 32), ("sha256", 64)):
        if key in entry and not re.fullmatch(rf"[0-9a-fA-F]{{{digits}}}", entry[key]):
            raise UsageError(f"{where}: {name}: {key} is {entry[key]!r}, expected {digits} hex digits")
    return Resource(
        name,
        md5=entry["md5"].lower() if "md5" in entry else None,
        size=entry.get("size"),
        sha256=entry["sha256"].lower() if "sha256" in entry else None,
        urls=(*([entry["url"]] if "url" in entry else []), *entry.get("urls", [])),
        page=entry.get("page", ""),
        optional=entry.get("optional", False),
    )


class Found(NamedTuple):
    """A recording: where it lies, the folder its names count from, and its id, the path below it without suffix."""

    path: Path
    root: Path
    id: str

    def names(self, folder: Path) -> set[str]:
        """Return the names by which a list in ``folder`` may call it."""
        below = [at for at in (self.root, folder) if self.path.is_relative_to(at)]
        return {self.path.name, *(self.path.relative_to(at).as_posix() for at in below)}


@dataclass(frozen=True)
class Rules:
    """Where recordings lie, which split they are of, and what tells their labels."""

    file: Path
    layout: str
    suffix: str
    classes: tuple[str, ...]
    first_class: int | None
    pattern: re.Pattern[str] | None
    labels: str
    splits: Mapping[str, str]
    left_out: bool

    def recordings(self, trees: Mapping[str, Path], dataset: Dataset, instances: Instances) -> list[Recording]:  # noqa: ARG002
        """Return the recordings, split by split, each in natural order of their names."""
        label_of = self._labels(trees)
        recordings: list[Recording] = []
        for split, found in self._parts(trees).items():
            for path, root, id in found:
                samples, table = self._samples(path, root, id, label_of)
                recordings.append(Recording(path, dataset.format, split, samples, table))
        ids: set[tuple[str, str]] = set()
        for recording in recordings:
            for sample in recording.samples:
                if (recording.split, sample.id) in ids:
                    raise ArchiveError(f"{recording.path}: another recording has the id {sample.id}")
                ids.add((recording.split, sample.id))
        return recordings

    def class_names(self, trees: Mapping[str, Path]) -> tuple[str, ...]:
        """Return the classes that the files show, in natural order."""
        return self._found_classes(trees)[0]

    # -- which recordings --

    def _parts(self, trees: Mapping[str, Path]) -> dict[str, list[Found]]:
        """Return the recordings of each split; each is in one, or in none if the file says that this may be."""
        found = self._found(trees)
        if not self.splits:
            if not found:
                raise ArchiveError(f"{', '.join(map(str, trees.values()))}: no {self.suffix} file")
            return {"all": found}
        parts: dict[str, list[Found]] = {}
        split_of: dict[Path, str] = {}
        for split, rule in self.splits.items():
            parts[split] = self._listed(found, trees, rule) if rule.endswith(".txt") else _below(found, rule)
            if not parts[split]:
                raise ArchiveError(f"{', '.join(map(str, trees.values()))}: no {self.suffix} file of the split {split}")
            for one in parts[split]:
                if (other := split_of.setdefault(one.path, split)) != split:
                    raise ArchiveError(f"{one.path}: in the splits {other} and {split}")
        rest = [one for one in found if one.path not in split_of]
        if rest and not self.left_out:
            raise ArchiveError(
                f"{len(rest)} of {len(found)} recordings are in no split, the first is {rest[0].path}",
                hint=f"name them, or say in {self.file} that it may be: left_out = true",
            )
        return parts

    def _found(self, trees: Mapping[str, Path]) -> list[Found]:
        """Return every recording, in natural order; lists of splits and label files are none."""
        found = []
        for tree in dict.fromkeys(trees.values()):
            root = _root(tree)
            here = files(tree, self.suffix) if tree.is_dir() else [p for p in (tree,) if p.name.endswith(self.suffix)]
            found += [
                Found(path, root, path.relative_to(root).as_posix().removesuffix(self.suffix))
                for path in here
                if path.name not in self.splits.values()
            ]
        if self.layout == "csv":
            tables = {table for one in found if (table := self._table(one.path, one.root)) is not None}
            found = [one for one in found if one.path not in tables]
        return sorted(found, key=lambda one: by_number(one.id))

    def _listed(self, found: Sequence[Found], trees: Mapping[str, Path], rule: str) -> list[Found]:
        """Return the recordings that a list names, by file name or by path."""
        listing = next((path for tree in trees.values() if (path := _find(_root(tree), rule))), None)
        if listing is None:
            raise ArchiveError(
                f"{', '.join(map(str, trees.values()))}: holds no {rule}", hint=f"{self.file} names it in [splits]"
            )
        named: dict[str, list[Found]] = {}
        for one in found:
            for name in one.names(listing.parent):
                named.setdefault(name, []).append(one)
        here: dict[Path, Found] = {}
        for number, line in enumerate(listing.read_text("utf-8-sig").splitlines(), 1):
            if not (name := line.strip()):
                continue
            match named.get(name, ()):
                case [one]:
                    here[one.path] = one
                case []:
                    raise LabelError(f"{listing}:{number}: no recording is named {name!r}")
                case [one, other, *_]:
                    raise LabelError(f"{listing}:{number}: {name!r} may be {one.path} or {other.path}")
        return [one for one in found if one.path in here]

    # -- which labels --

    def _samples(
        self, path: Path, root: Path, id: str, label_of: Callable[[str, str], int]
    ) -> tuple[tuple[Sample, ...], Path | None]:
        if self.layout == "folders":
            return (Sample(id, label_of(self._class_of(path, id), str(path))),), None
        rows = self._rows(path, root)
        table = self._table(path, root)
        assert table is not None

        def of_row(row: LabelRow) -> int:
            return label_of(row.name, f"{table}:{row.line}")

        return table_samples(rows, id, of_row, table), table

    def _table(self, path: Path, root: Path) -> Path | None:
        """Return a recording's label file: below its own folder, or below the nearest one above it that has it."""
        name = self.labels.replace("{stem}", path.name.removesuffix(self.suffix))
        for folder in path.parents:
            if (folder / name).is_file():
                return folder / name
            if folder == root:
                break
        return None

    def _rows(self, path: Path, root: Path) -> list[LabelRow]:
        table = self._table(path, root)
        if table is None:
            raise ArchiveError(
                f"{path}: no label file {self.labels.replace('{stem}', path.name.removesuffix(self.suffix))} in its "
                "folder or one above",
                hint=f"the key labels in {self.file} tells its name",
            )
        rows = read_table(table)
        if any(row.file for row in rows):
            raise LabelError(f"{table}:1: a column file, in a table of one recording")
        return rows

    def _class_of(self, path: Path, id: str) -> str:
        if self.pattern is None:
            return path.parent.name
        match = self.pattern.search(id + self.suffix)
        name = match and match["class" if "class" in self.pattern.groupindex else 1]
        if not name:
            raise LabelError(f"{path}: class_from {self.pattern.pattern!r} finds no class in {id + self.suffix!r}")
        return name

    def _labels(self, trees: Mapping[str, Path]) -> Callable[[str, str], int]:
        """Return a function of (class as it is written, where) to its label."""
        index = {name: i for i, name in enumerate(self.classes)} or self._found_classes(trees)[1]
        if self.first_class is not None:
            index |= {str(i + self.first_class): i for i in range(len(self.classes))}

        def label_of(name: str, where: str) -> int:
            if name not in index:
                raise LabelError(f"{where}: {name!r} is none of the classes {', '.join(self.classes)}")
            return index[name]

        return label_of

    def _found_classes(self, trees: Mapping[str, Path]) -> tuple[tuple[str, ...], dict[str, int]]:
        names: set[str] = set()
        for found in self._parts(trees).values():
            for path, root, id in found:
                if self.layout == "folders":
                    names.add(self._class_of(path, id))
                else:
                    names |= {row.name for row in self._rows(path, root)}
        return number_classes(names)


def _root(tree: Path) -> Path:
    """Return the folder of a tree; a file that is no archive is its own tree."""
    return tree if tree.is_dir() else tree.parent


def _find(folder: Path, name: str) -> Path | None:
    return next((path for path in files(folder, name) if path.name == name), None)


def _below(found: Sequence[Found], folder: str) -> list[Found]:
    """Return the recordings that a folder of this name is above of."""
    return [one for one in found if folder in one.path.relative_to(one.root).parts[:-1]]
