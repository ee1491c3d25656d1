"""Recordings of one's own, small: what the tests of import, convert, split and dataset files begin with."""

from __future__ import annotations

from pathlib import Path

import formats
import numpy as np

H, W = 24, 32
SENSOR = f"{H}x{W}"


def columns(n: int = 60, seed: int = 0) -> dict[str, np.ndarray]:
    """Return n events that begin at 1,000 us."""
    return formats.events(n, H, W, seed=seed, start=1000)


def text(path: Path, n: int = 60, seed: int = 0) -> dict[str, np.ndarray]:
    """Write a recording as text; return its events."""
    e = columns(n, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = zip(*(e[k].tolist() for k in "txyp"), strict=True)
    path.write_text("t x y p\n" + "".join(" ".join(map(str, row)) + "\n" for row in rows))
    return e


def folders(at: Path, *names: str) -> Path:
    """Write recordings, the k-th from seed k; return the folder."""
    for seed, name in enumerate(names):
        text(at / name, seed=seed)
    return at


def same(found, expected) -> None:
    """Compare events column by column, number by number."""
    for key in "txyp":
        np.testing.assert_array_equal(found[key], expected[key])
