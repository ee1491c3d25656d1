"""Layouts that several datasets share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from dvsprep.datasets.dataset import Dataset, Layout, files, find_folder
from dvsprep.errors import ArchiveError
from dvsprep.events import Instances, Recording, Sample, catalog, read_csv, samples

ClassOf = Callable[[Path], str]


def by_number(text: str) -> list[tuple[int, str]]:
    """Return a sort key that puts 10 after 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text)]


def part(i: int) -> ClassOf:
    """Return a ``class_of``: field i of a file name whose fields are joined by ``_``; "" where there are fewer."""
    return lambda path: dict(enumerate(path.stem.split("_"))).get(i, "")


def number_classes(names: Iterable[str]) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return class names in natural order, and the label of each name as it was written.

    Where all are whole numbers, 01 and 1 are one class, and 10 comes after 9.
    """
    written = set(names)
    as_numbers = all(name.isdecimal() for name in written)
    plain = {name: str(int(name)) if as_numbers else name for name in written}
    classes = tuple(sorted(set(plain.values()), key=by_number))
    return classes, {name: classes.index(plain[name]) for name in written}


def class_folders(
    suffix: str,
    *,
    folders: Mapping[str, str] | None = None,
    class_of: ClassOf = lambda path: path.parent.name,
    skip: Callable[[Path], bool] = lambda path: False,  # noqa: ARG005
) -> Layout:
    """Return a layout: one recording a file, its class told by its path, ordered by class and number.

    Parameters
    ----------
    suffix : str
        Of the recordings.
    folders : mapping, optional
        The folder below which each split's files lie; by default everything is the split ``all``.
    class_of : callable
        File to class name; the name of its folder unless told.
    skip : callable
        Files that are no recordings.
    """

    def layout(trees: Mapping[str, Path], dataset: Dataset, instances: Instances) -> list[Recording]:  # noqa: ARG001
        index = {name: i for i, name in enumerate(dataset.classes)}
        found: dict[str, list[Recording]] = {split: [] for split in dataset.splits}
        for tree in dict.fromkeys(trees.values()):  # an adopted folder stands for all archives
            paths = [path for path in files(tree, suffix) if not skip(path)]
            if not paths:
                raise ArchiveError(f"{tree}: holds no {suffix} file")
            for path in paths:
                name = class_of(path)
                if name not in index:
                    raise ArchiveError(f"{path}: {name!r} is no class of {dataset.name}")
                split = _split_of(path.relative_to(tree), folders)
                if split is not None:
                    sample = Sample(f"{name}/{path.stem}", index[name])
                    found[split].append(Recording(path, dataset.format, split, (sample,)))
        for split, recordings in found.items():
            if not recordings:
                raise ArchiveError(f"{', '.join(map(str, trees.values()))}: no {suffix} file of the split {split}")
            recordings.sort(key=lambda r: (r.samples[0].label, by_number(r.samples[0].id)))
        return [recording for recordings in found.values() for recording in recordings]

    return layout


def _split_of(path: Path, folders: Mapping[str, str] | None) -> str | None:
    if folders is None:
        return "all"
    return next((split for split, folder in folders.items() if folder in path.parts[:-1]), None)


def trial_lists(trees: Mapping[str, Path], dataset: Dataset, instances: Instances) -> list[Recording]:
    """Read ``trials_to_<split>.txt``; the split is theirs alone. Recordings are ordered by name, samples by csv row."""
    (tree,) = trees.values()
    recordings = []
    for split in dataset.splits:
        listing = f"trials_to_{split}.txt"
        folder = find_folder(tree, listing)
        names = sorted({line.strip() for line in (folder / listing).read_text().splitlines() if line.strip()})
        if not names:
            raise ArchiveError(f"{folder / listing}: lists no recording")
        for name in names:
            path, labels = folder / name, folder / _labels_of(name)
            for needed in (path, labels):
                if not needed.is_file():
                    raise ArchiveError(f"{folder / listing}: {needed.name} is listed, but not in the archive")
            recordings.append(_labelled(path, split, dataset, instances))
    return recordings


def trial(path: Path, dataset: Dataset, instances: Instances) -> Recording | None:
    """Return the recording in an .aedat file once its csv is there: the ``recording_of`` of :func:`trial_lists`."""
    if path.suffix != ".aedat" or path.name.startswith("."):
        return None
    return _labelled(path, "", dataset, instances)


def _labels_of(name: str) -> str:
    return f"{name.removesuffix('.aedat')}_labels.csv"


def _labelled(path: Path, split: str, dataset: Dataset, instances: Instances) -> Recording:
    labels = path.parent / _labels_of(path.name)
    cut = samples(read_csv(labels, len(dataset.classes)), path.stem, instances)
    return Recording(path, dataset.format, split, cut, labels)


def containers(trees: Mapping[str, Path], dataset: Dataset, instances: Instances) -> list[Recording]:  # noqa: ARG001
    """Lay out files that each hold many samples, in the file's own order; ``x.h5.zip`` holds ``x.h5``.

    There is one source a split, or one file with all splits in it.
    """
    recordings: list[Recording] = []
    sources = list(trees.items()) * (len(dataset.splits) if len(trees) == 1 else 1)
    for split, (archive, tree) in zip(dataset.splits, sources, strict=True):
        name = archive.removesuffix(".zip")
        path = tree if tree.is_file() else next(files(tree, name), None) if tree.is_dir() else None
        if path is None:
            raise ArchiveError(f"{tree}: holds no {name}")
        recordings += _container(path, dataset, split)
    return recordings


def idx_pairs(trees: Mapping[str, Path], dataset: Dataset, instances: Instances) -> list[Recording]:  # noqa: ARG001
    """Lay out MNIST's four files: ``train-images-idx3-ubyte.gz`` and its labels, ``t10k-...``."""
    images = {"train": "train-images-idx3-ubyte.gz", "test": "t10k-images-idx3-ubyte.gz"}
    for path in trees.values():
        if not path.is_file():
            raise ArchiveError(f"{path}: is missing")
    return [recording for split in dataset.splits for recording in _container(trees[images[split]], dataset, split)]


def _container(path: Path, dataset: Dataset, split: str) -> list[Recording]:
    """Return a file's samples in recordings of up to 256, so that workers share it."""
    container = catalog.CONTAINERS[dataset.format][0]
    several = dataset.format == "ntidigits-h5"
    found = container.labels(path, split) if several else container.labels(path)
    samples = []
    for key, label in found:
        if not 0 <= label < len(dataset.classes):
            raise ArchiveError(f"{path}: sample {key} has label {label}, expected 0 to {len(dataset.classes) - 1}")
        samples.append(Sample(key.removeprefix(f"{split}/"), label, key=key))
    return [Recording(path, dataset.format, split, tuple(samples[i : i + 256])) for i in range(0, len(samples), 256)]
