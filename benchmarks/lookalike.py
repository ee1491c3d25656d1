"""Look-alikes of DVS128 Gesture's archive and N-MNIST's, with recordings of realistic size and statistics.

A bar swings over the sensor and its two edges make the events, ON before it and OFF behind; a tenth is noise, some
pixels are hot. A packet holds 10 ms. An event carries about 18 bits, like a real one, so that files pack about as well
as real ones do.
"""

from __future__ import annotations

import itertools
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SIZE = 128
CLASSES = (1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 10, 11)  # of the 12 csv rows, as in most real trials
GAP = 5.0  # us between events, in the mean
BEGIN = 80_000_000  # us; recordings do not begin at 0
PACKET = 10_000  # us
HEADER = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n"


def names(recordings: int) -> dict[str, list[str]]:
    """Return the trials of each split: one in six is for the test, at least one."""
    tests = max(1, recordings // 6)
    return {
        "train": [f"user{k:02d}_led" for k in range(1, recordings - tests + 1)],
        "test": [f"user{k:02d}_led" for k in range(24, 24 + tests)],
    }


def dvs128(folder: Path, recordings: int, events: int) -> tuple[Path, Path]:
    """Write the archive and the folder extracted from it unless they are there; return both paths."""
    archive, extracted = folder / "download" / "DvsGesture.tar.gz", folder / "extracted"
    if archive.exists():
        return archive, extracted
    tree, unfinished = extracted / "DvsGesture", archive.with_suffix(".part")
    tree.mkdir(parents=True, exist_ok=True)
    archive.parent.mkdir(parents=True, exist_ok=True)
    seed = 0
    for split, trials in names(recordings).items():
        (tree / f"trials_to_{split}.txt").write_text("".join(f"{trial}.aedat\n" for trial in trials))
        for trial in trials:
            t, x, y, p = recording(events, seed)
            (tree / f"{trial}.aedat").write_bytes(aedat31(t, x, y, p))
            (tree / f"{trial}_labels.csv").write_text(labels(t, overlap=seed == 0))
            seed += 1
    with tarfile.open(unfinished, "w:gz", compresslevel=1) as tar:
        tar.add(tree, "DvsGesture")
    unfinished.replace(archive)
    return archive, extracted


def nmnist(folder: Path, samples: int) -> list[Path]:
    """Write Train.zip and Test.zip with ``samples`` recordings, one in seven for the test; return their paths.

    Each is one of 200 of about 4,000 events in 300 ms, as N-MNIST's are, in a file of its own.
    """
    contents = [_digit(seed) for seed in range(200)]
    tests = max(1, samples // 7)
    made = []
    for split, n in (("Train", samples - tests), ("Test", tests)):
        target, unfinished = folder / "download" / f"{split}.zip", folder / f"{split}.part"
        made.append(target)
        if target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for i in range(n):
                archive.writestr(f"{split}/{i % 10}/{i + 1:05d}.bin", contents[i % len(contents)])
        unfinished.replace(target)
    return made


def _digit(seed: int) -> bytes:
    """Return an ATIS file: a ring that moves in three saccades, two edges of events, some noise."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3_000, 5_000))
    t = np.sort(rng.integers(0, 300_000, n))
    swing, angle, edge = np.sin(2 * np.pi * t / 200_000), rng.uniform(0, 2 * np.pi, n), rng.integers(0, 2, n)
    radius = 8 + 2 * edge + rng.normal(0, 0.7, n)
    x = np.clip(17 + 4 * swing + radius * np.cos(angle), 0, 33).astype(np.uint8)
    y = np.clip(17 + 2 * swing + radius * np.sin(angle), 0, 33).astype(np.uint8)
    p = np.where(rng.random(n) < 0.1, 1 - edge, edge)
    return np.column_stack([x, y, p << 7 | t >> 16, t >> 8 & 0xFF, t & 0xFF]).astype(np.uint8).tobytes()


def recording(n: int, seed: int) -> tuple[Array, Array, Array, Array]:
    """Return n events t, x, y, p in order."""
    rng = np.random.default_rng(seed)
    phase = np.linspace(0, 12, n, endpoint=False)  # row and how far into it; each row is another motion
    row = phase.astype(np.int64)
    swing = np.sin(2 * np.pi * 3 * phase)  # three swings a row
    # The faster the bar moves, the denser its events; the camera's clock ticks in whole microseconds.
    pace = 1.6 - np.abs(np.cos(2 * np.pi * 3 * phase))
    gaps = rng.exponential(pace * GAP / pace.mean(), n)
    t = BEGIN + np.floor(np.cumsum(gaps)).astype(np.int64)

    angle = row * 0.7 + 1.2 * swing
    along, edge = rng.uniform(-45, 45, n), rng.integers(0, 2, n)
    across = np.where(edge == 1, 4.0, -4.0) + rng.normal(0, 2.0, n) + 14 * swing
    x = 64 + 3 * (row - 5.5) + along * np.cos(angle) - across * np.sin(angle)
    y = 60 + along * np.sin(angle) + across * np.cos(angle)
    forward = np.cos(2 * np.pi * 3 * phase) > 0
    p = (edge == forward).astype(np.int64)

    kind = rng.random(n)
    noise, hot = kind < 0.1, kind > 0.98
    x[noise], y[noise] = rng.uniform(0, SIZE, (2, int(noise.sum())))
    pixels = rng.integers(0, SIZE, (2, 8))
    x[hot], y[hot] = pixels[:, rng.integers(0, 8, int(hot.sum()))]
    p[noise | hot] = rng.integers(0, 2, int((noise | hot).sum()))
    return t, np.clip(x, 0, SIZE - 1).astype(np.int64), np.clip(y, 0, SIZE - 1).astype(np.int64), p


def aedat31(t: Array, x: Array, y: Array, p: Array) -> bytes:
    """Return an AEDAT 3.1 file of polarity packets."""
    words = np.empty((len(t), 2), "<u4")
    words[:, 0] = x << 17 | y << 2 | p << 1 | 1
    words[:, 1] = t
    parts = [HEADER]
    edges = [0, *(np.flatnonzero(np.diff(t // PACKET)) + 1).tolist(), len(t)]
    for a, b in itertools.pairwise(edges):
        parts += [struct.pack("<hhiiiiii", 1, 1, 8, 4, 0, b - a, b - a, b - a), words[a:b].tobytes()]
    return b"".join(parts)


def labels(t: Array, *, overlap: bool) -> str:
    """Return the csv of 12 rows with pauses between them; in a few real recordings two rows overlap."""
    first, lasts = int(t[0]), int(t[-1] - t[0])
    lines = ["class,startTime_usec,endTime_usec"]
    for k, label in enumerate(CLASSES):
        end = k + 1.1 if overlap and k == 9 else k + 0.965
        lines.append(f"{label},{first + int(lasts * (k + 0.035) / 12)},{first + int(lasts * end / 12)}")
    return "\n".join(lines) + "\n"


def bits(t: Array, x: Array, y: Array, p: Array) -> dict[str, float]:
    """Return the entropy of each column, in bits an event; of times, that of their differences."""
    return {name: _entropy(column) for name, column in (("dt", np.diff(t)), ("x", x), ("y", y), ("p", p))}


def _entropy(values: Array) -> float:
    counts = np.bincount(values)
    share = counts[counts > 0] / len(values)
    return float(-(share * np.log2(share)).sum())
