"""Label CSVs: rows of (class, start, end) in microseconds, and which of them make a sample."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from dvsprep.errors import LabelError, UsageError

Instances = Literal["rows", "first", "merged"]
HEADER = "class,startTime_usec,endTime_usec"
LAST = (1 << 63) - 1  # us; what int64 holds


class Row(NamedTuple):
    """One csv row: 0-based class index, window [start, end) in microseconds, line number in the file."""

    label: int
    start: int
    end: int
    line: int


class Sample(NamedTuple):
    """One labelled sample of a recording: the windows it is cut from, or None for the whole recording.

    ``key`` names it in a file that holds many samples.
    """

    id: str
    label: int
    windows: tuple[tuple[int, int], ...] | None = None
    line: int = 0
    key: str = ""


def read_csv(path: Path, classes: int) -> list[Row]:
    """Read a DVS128 Gesture label file; csv classes count from 1, ours from 0.

    Rows may overlap and classes repeat, as they do in the published files.

    Raises
    ------
    LabelError
        A missing header, a row that is no three whole numbers, an unknown class or a reversed window, with its line.
    """
    lines = path.read_text("utf-8-sig", errors="replace").splitlines()
    if not lines or lines[0].replace(" ", "") != HEADER:
        found = repr(lines[0][:60]) if lines else "an empty file"
        raise LabelError(f"{path}:1: expected the header {HEADER!r}, got {found}")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        try:
            label, start, end = (int(field) for field in line.split(","))
        except ValueError:
            raise LabelError(f"{path}:{number}: expected three whole numbers, got {line[:60]!r}") from None
        if not 1 <= label <= classes:
            raise LabelError(f"{path}:{number}: class {label} is unknown, expected 1 to {classes}")
        if end <= start:
            raise LabelError(f"{path}:{number}: the window ends at {end} us, not after its start at {start} us")
        if start < 0 or end > LAST:
            raise LabelError(f"{path}:{number}: the window {start} to {end} us is no time of a recording")
        rows.append(Row(label - 1, start, end, number))
    if not rows:
        raise LabelError(f"{path}: no rows below the header")
    return rows


def samples(rows: list[Row], recording: str, instances: Instances) -> tuple[Sample, ...]:
    """Turn a recording's rows into samples.

    ``rows``: one a row (DVS128 Gesture: 1,176 + 288). ``first``: the first row of each class. ``merged``: the union of
    all rows of a class, an event in two of them counted once (both: the paper's 1,342).
    """
    if instances == "rows":
        return tuple(
            Sample(f"{recording}_row{k:02d}", r.label, ((r.start, r.end),), r.line) for k, r in enumerate(rows, start=1)
        )
    by_class: dict[int, list[Row]] = {}
    for row in rows:
        by_class.setdefault(row.label, []).append(row)
    if instances == "first":
        by_class = {label: group[:1] for label, group in by_class.items()}
    elif instances != "merged":
        raise UsageError(f"instances is {instances!r}, expected rows, first or merged")
    return tuple(
        Sample(f"{recording}_class{label + 1:02d}", label, _union(group), group[0].line)
        for label, group in sorted(by_class.items())
    )


def _union(rows: list[Row]) -> tuple[tuple[int, int], ...]:
    windows: list[tuple[int, int]] = []
    for _, start, end, _ in sorted(rows, key=lambda r: r.start):
        if windows and start <= windows[-1][1]:
            windows[-1] = (windows[-1][0], max(end, windows[-1][1]))
        else:
            windows.append((start, end))
    return tuple(windows)
