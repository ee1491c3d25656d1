"""Samples by number, each with a label and an id: what a cache is, on this disk or served by another machine."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dvsprep.types import Array


class Numbered(ABC):
    """What samples that are numbered have in common."""

    path: Path | str
    dataset: str
    split: str
    classes: Sequence[str]
    labels: NDArray[np.int64]

    @abstractmethod
    def small(self, name: str) -> Array:
        """Return an array of one value a sample: ids, n_events, t_start, t_end, crc32 or rows."""

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r}, {len(self)} samples)"

    @property
    def ids(self) -> NDArray[np.str_]:
        """Sample ids, stable across machines: recording and row, or the dataset's own file name."""
        return self.small("ids")

    def index(self, i: int) -> int:
        """Return i as a position; negative ones count from the end."""
        i = operator.index(i)
        if not -len(self) <= i < len(self):
            raise IndexError(f"{self.path}: sample {i} of {len(self)}")
        return i % len(self)
