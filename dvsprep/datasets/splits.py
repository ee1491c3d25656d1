"""Splits of sets that have no official one: chosen by sample id, the same on every machine, and files that cite them.

A split file is JSON: ``dataset``, how it was made (``policy``, ``seed``, ``ratio``, ``by``), the ids of each part and
``hash``, the SHA-256 of :func:`ids_hash`. One part may be a number in place of ids: it is all samples that no other
part names, and the hash tells whether they are the same ones.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from dvsprep.datasets.dataset import Dataset
from dvsprep.errors import IntegrityError, NotFoundError, UsageError
from dvsprep.types import digest

FROZEN = Path(__file__).with_name("frozen")
VALIDATION = ("val", "valid", "validation")

Chosen = dict[str, Any]
Sides = dict[str, list[int]]


@dataclass(frozen=True)
class SplitFile:
    """The content of a split file; ``None`` in place of ids stands for all that the other parts do not name."""

    path: str
    dataset: str
    parts: Mapping[str, tuple[str, ...] | None]
    sizes: Mapping[str, int]
    hash: str

    def sides(self, ids: Sequence[str]) -> Sides:
        """Return the positions of each part's samples, in the order of ``ids``; they must be the file's ids exactly."""
        named = {id: part for part, members in self.parts.items() for id in members or ()}
        rest = next((part for part, members in self.parts.items() if members is None), None)
        known = set(ids)
        if unknown := [id for id in named if id not in known]:
            raise IntegrityError(f"{self.path}: {self.dataset} has no sample {_some(unknown)}", hint=_OTHER)
        if rest is None and (missing := [id for id in ids if id not in named]):
            raise IntegrityError(f"{self.path}: in no part of the split: {_some(missing)}", hint=_OTHER)
        sides: Sides = {part: [] for part in self.parts}
        for i, id in enumerate(ids):
            sides[named.get(id, str(rest))].append(i)
        if ids_hash({part: [ids[i] for i in found] for part, found in sides.items()}) != self.hash:
            found = ", ".join(f"{len(side)} {part}" for part, side in sides.items())
            meant = ", ".join(f"{n} {part}" for part, n in self.sizes.items())
            raise IntegrityError(f"{self.path}: made for other samples: {meant}; here are {found}", hint=_OTHER)
        return sides


_OTHER = "the split was made from other files, or with other --instances"


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")


def ids_hash(parts: Mapping[str, Sequence[str]]) -> str:
    """Return what identifies a split: SHA-256 of the canonical JSON of ``{part: sorted ids}``."""
    return digest({part: sorted(ids) for part, ids in parts.items()})


def frozen(dataset: str) -> list[str]:
    """Return the names of a dataset's splits that ship with dvsprep."""
    return sorted(path.stem for path in FROZEN.glob(f"{dataset}-*.json"))


def find(dataset: Dataset, split: str | float | os.PathLike[str] | None) -> SplitFile | None:
    """Return the split file that ``split`` names, by path or as one that ships; None if it names none."""
    text = os.fspath(split) if isinstance(split, os.PathLike) else split
    if not isinstance(text, str):
        return None
    shipped = text in {path.stem for path in FROZEN.glob("*.json")}
    if not (shipped or isinstance(split, os.PathLike) or text.endswith(".json")):
        return None
    file = _load(FROZEN / f"{text}.json" if shipped else Path(text))
    if file.dataset != dataset.name:
        raise UsageError(f"{text} is a split of {file.dataset}, not of {dataset.name}")
    allowed = {"train", held_out_name(dataset)}
    if set(file.parts) != allowed:
        raise UsageError(f"{text} has the parts {', '.join(file.parts)}; of {dataset.name}: {', '.join(allowed)}")
    return file


def _load(path: Path) -> SplitFile:
    if not path.is_file():
        raise NotFoundError(f"{path}: no such split file", hint="`dvsprep split NAME -o split.json` makes one")
    try:
        facts = json.loads(path.read_bytes())
        found = {part: facts[part] for part in ("train", "val", "test") if part in facts}
        parts = {part: None if isinstance(ids, int) else tuple(map(str, ids)) for part, ids in found.items()}
        sizes = {part: ids if isinstance(ids, int) else len(ids) for part, ids in found.items()}
        file = SplitFile(str(path), str(facts["dataset"]), parts, sizes, str(facts["hash"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(f"{path}: no split file: {type(error).__name__}: {error}") from None
    named = [ids for ids in parts.values() if ids is not None]
    flat = [id for ids in named for id in ids]
    if len(parts) != 2 or len(named) == 0:
        raise IntegrityError(f"{path}: no split file: expected two parts, train and test or train and val")
    if len(set(flat)) < len(flat):
        raise IntegrityError(f"{path}: names a sample twice: {_some([id for id in flat if flat.count(id) > 1][:1])}")
    if len(named) == 2 and ids_hash({part: ids or () for part, ids in parts.items()}) != file.hash:
        raise IntegrityError(f"{path}: its ids are not those of its hash", hint="the file was changed: make it anew")
    return file


def policy(dataset: Dataset, split: str | float | os.PathLike[str] | None, seed: int) -> Chosen | None:
    """Return the canonical description of a split, or None for the official one (or the whole set)."""
    if split is None:
        return None
    if file := find(dataset, split):
        return {"policy": "ids", "hash": file.hash}
    if tuple(dataset.splits) != ("all",):
        raise UsageError(
            f"{dataset.name} has an official split ({', '.join(dataset.splits)}); --split is for sets without one, or "
            "takes a file of `dvsprep split`"
        )
    if str(split) in dataset.named_splits:
        return {"policy": str(split)}
    try:
        fraction = float(os.fspath(split) if isinstance(split, os.PathLike) else split)
    except ValueError:
        names = "".join(f" or {name}" for name in [*dataset.named_splits, *frozen(dataset.name)])
        raise UsageError(
            f"split is {split!r}, expected a fraction between 0 and 1{names} or a file *.json of `dvsprep split`"
        ) from None
    return {"policy": "fraction", "fraction": _fraction(fraction), "seed": int(seed)}


def _fraction(fraction: float) -> float:
    if not 0 < fraction < 1:
        raise UsageError(f"split is {fraction}, expected a fraction between 0 and 1 (the training part)")
    return fraction


def assign(dataset: Dataset, chosen: Chosen, ids: Sequence[str], labels: Sequence[int]) -> Sides:
    """Return the positions of the train and test samples, each in the order of the whole set.

    A fraction is taken class by class. A hash of seed and id decides which samples are in it, so neither the order of
    files nor the version of a random generator has a say; a class of two samples or more is on both sides.
    """
    if chosen["policy"] != "fraction":
        part = dataset.named_splits[chosen["policy"]]
        sides = [part(id) for id in ids]
    else:
        sides = ["test"] * len(ids)
        by_class: dict[int, list[int]] = {}
        for i, label in enumerate(labels):
            by_class.setdefault(label, []).append(i)
        for members in by_class.values():
            for i in _first_by_hash(members, chosen["fraction"], chosen["seed"], lambda i: ids[i]):
                sides[i] = "train"
    return {side: [i for i, s in enumerate(sides) if s == side] for side in ("train", "test")}


def by_user(user_of: Callable[[str], str], ids: Sequence[str], fraction: float, seed: int) -> Sides:
    """Return the positions of the train and test samples where no person is on both sides."""
    users = [user_of(id) for id in ids]
    everyone = sorted(set(users))
    if len(everyone) < 2:
        raise UsageError(f"a split by user needs two persons at least, and all samples are of {everyone or 'nobody'}")
    train = set(_first_by_hash(everyone, fraction, seed, str))
    return {
        side: [i for i, user in enumerate(users) if (user in train) == (side == "train")] for side in ("train", "test")
    }


def _first_by_hash(members: Sequence[Any], fraction: float, seed: int, name: Callable[[Any], str]) -> Sequence[Any]:
    """Return a fraction of the members, in an order that only their names and the seed decide; some are left over."""
    order = sorted(members, key=lambda m: sha256(f"{seed}:{name(m)}".encode()).digest())
    n = round(len(order) * fraction)
    return order[: min(max(n, 1), len(order) - 1) if len(order) > 1 else n]


def make(
    dataset: Dataset, ids: Sequence[str], labels: Sequence[int], *, ratio: float, seed: int = 0, by: str = "sample"
) -> dict[str, Any]:
    """Return what a split file holds; of a set with an official split, ``ids`` are those of its training part.

    Parameters
    ----------
    by : {"sample", "user"}
        ``user`` puts all samples of a person on one side.
    """
    _fraction(ratio)
    held_out = held_out_name(dataset)
    if by == "user":
        if dataset.user_of is None:
            raise UsageError(f"{dataset.name}: its sample ids do not tell who is seen", hint="--by sample")
        sides = by_user(dataset.user_of, ids, ratio, seed)
    else:
        sides = assign(dataset, {"policy": "fraction", "fraction": ratio, "seed": seed}, ids, labels)
    parts = {"train": [ids[i] for i in sides["train"]], held_out: [ids[i] for i in sides["test"]]}
    if empty := [part for part, members in parts.items() if not members]:
        raise UsageError(f"{dataset.name}: {len(ids)} sample(s) leave {', '.join(empty)} empty")
    facts = {"dataset": dataset.name, "policy": "fraction", "seed": seed, "ratio": ratio, "by": by}
    return facts | {"hash": ids_hash(parts)} | parts


def held_out_name(dataset: Dataset) -> str:
    """Return what the part that is held out is called: test, or val where there is an official test set."""
    if tuple(dataset.splits) == ("all",):
        return "test"
    if "train" not in dataset.splits or set(dataset.splits) & set(VALIDATION):
        raise UsageError(f"{dataset.name} comes with the parts {', '.join(dataset.splits)}; there is nothing to split")
    return "val"
