"""Splits of sets that have no official one: chosen by sample id, the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from dvsprep.datasets.dataset import Dataset
from dvsprep.errors import UsageError


def policy(dataset: Dataset, split: str | float | None, seed: int) -> dict[str, Any] | None:
    """Return the canonical description of a split, or None for the official one (or the whole set)."""
    if split is None:
        return None
    if tuple(dataset.splits) != ("all",):
        raise UsageError(
            f"{dataset.name} has an official split ({', '.join(dataset.splits)}); --split is for sets without one"
        )
    if str(split) in dataset.named_splits:
        return {"policy": str(split)}
    try:
        fraction = float(split)
    except ValueError:
        names = "".join(f" or {name}" for name in dataset.named_splits)
        raise UsageError(f"split is {split!r}, expected a fraction between 0 and 1{names}") from None
    if not 0 < fraction < 1:
        raise UsageError(f"split is {split}, expected a fraction between 0 and 1 (the training part)")
    return {"policy": "fraction", "fraction": fraction, "seed": int(seed)}


def assign(dataset: Dataset, chosen: dict[str, Any], ids: Sequence[str], labels: Sequence[int]) -> dict[str, list[int]]:
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
            members.sort(key=lambda i: sha256(f"{chosen['seed']}:{ids[i]}".encode()).digest())
            n = round(len(members) * chosen["fraction"])
            n = min(max(n, 1), len(members) - 1) if len(members) > 1 else n
            for i in members[:n]:
                sides[i] = "train"
    return {side: [i for i, s in enumerate(sides) if s == side] for side in ("train", "test")}
