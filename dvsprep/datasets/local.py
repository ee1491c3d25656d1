"""Datasets that a user made: imported recordings, known by a ``dataset.json`` beside their event cache."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dvsprep.datasets.dataset import Dataset
from dvsprep.errors import IntegrityError, UsageError
from dvsprep.events import Instances, Recording

FACTS = "dataset.json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # of a dataset: a folder below the root


def load(folder: Path) -> Dataset | None:
    """Return the dataset that was imported into a folder, or None."""
    path = folder / FACTS
    if not path.is_file():
        return None
    try:
        facts = json.loads(path.read_bytes())
        return from_facts(folder.name, facts)
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"{path}: unreadable: {error!r}", hint="delete it and import the recordings again"
        ) from None


def from_facts(name: str, facts: Mapping[str, Any]) -> Dataset:
    """Return the dataset that an import described."""
    return Dataset(
        name=name,
        title=name,
        paper="",
        licence="",
        classes=tuple(facts["classes"]),
        sensor=(int(facts["sensor"][0]), int(facts["sensor"][1])),
        channels=int(facts["channels"]),
        format="",
        resources=(),
        layout=_no_layout,
        splits=("all",),
        imported=facts,
    )


def _no_layout(trees: Mapping[str, Path], dataset: Dataset, instances: Instances) -> list[Recording]:  # noqa: ARG001
    raise UsageError(f"{dataset.name} was imported; its event cache is all there is")
