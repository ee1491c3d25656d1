"""Label tables that a user wrote: a csv with a line of names, one row a sample or a window of a recording."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from dvsprep.errors import LabelError, NotFoundError
from dvsprep.events.labels import LAST, Sample

# As in DVS128 Gesture's own files.
OTHER_NAMES = {"starttime_usec": "start_us", "endtime_usec": "end_us"}
COLUMNS = ("class", "file", "start_us", "end_us")


class LabelRow(NamedTuple):
    """One row: the class as it is written, the recording if it is named, a window [start, end) in us or None."""

    name: str
    file: str
    window: tuple[int, int] | None
    line: int


def read_table(path: Path) -> list[LabelRow]:
    """Read a table of the columns class, and if they are there file, start_us and end_us.

    Raises
    ------
    LabelError
        What is wrong, with file and line.
    """
    if not path.is_file():
        raise NotFoundError(f"{path}: no such label file")
    try:
        reader = csv.reader(path.read_text("utf-8-sig").splitlines())
        lines = [(reader.line_num, [field.strip() for field in row]) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise LabelError(f"{path}: no csv text: {error}") from None
    if not lines:
        raise LabelError(f"{path}:1: expected a line of column names, got an empty file")
    columns = _columns(lines[0][1], f"{path}:1")
    rows = [_row(columns, fields, f"{path}:{number}", number) for number, fields in lines[1:] if any(fields)]
    if not rows:
        raise LabelError(f"{path}: no rows below the header")
    return rows


def _columns(fields: list[str], where: str) -> list[str]:
    columns = [OTHER_NAMES.get(field.lower(), field.lower()) for field in fields]
    for field, column in zip(fields, columns, strict=True):
        if column not in COLUMNS:
            near = difflib.get_close_matches(column, COLUMNS, n=1)
            raise LabelError(
                f"{where}: unknown column {field[:40]!r}",
                hint=f"did you mean {near[0]}?" if near else f"there are {', '.join(COLUMNS)}",
            )
    if len(set(columns)) < len(columns):
        raise LabelError(f"{where}: a column stands there twice: {','.join(fields)[:60]}")
    if "class" not in columns:
        raise LabelError(f"{where}: no column class in {','.join(fields)[:60]}")
    if ("start_us" in columns) != ("end_us" in columns):
        raise LabelError(f"{where}: start_us and end_us go together")
    return columns


def _row(columns: list[str], fields: list[str], where: str, line: int) -> LabelRow:
    if len(fields) != len(columns):
        raise LabelError(f"{where}: {len(fields)} fields, expected {len(columns)}: {','.join(columns)}")
    values = dict(zip(columns, fields, strict=True))
    if not values["class"]:
        raise LabelError(f"{where}: no class")
    if values.get("file") == "":
        raise LabelError(f"{where}: no file")
    start, end = values.get("start_us", ""), values.get("end_us", "")
    window = None
    if start or end:
        try:
            window = int(start), int(end)
        except ValueError:
            raise LabelError(f"{where}: expected microseconds in whole numbers, got {start!r} to {end!r}") from None
        if not 0 <= window[0] < window[1] <= LAST:
            raise LabelError(f"{where}: the window {start} to {end} us does not end after its start")
    return LabelRow(values["class"], values.get("file", ""), window, line)


def table_samples(
    rows: Sequence[LabelRow], id: str, label_of: Callable[[LabelRow], int], table: Path
) -> tuple[Sample, ...]:
    """Return a recording's samples: itself for a single row without window, else one a row, numbered."""
    if len(rows) == 1 and rows[0].window is None:
        return (Sample(id, label_of(rows[0]), None, rows[0].line),)
    samples = []
    for k, row in enumerate(rows, start=1):
        if row.window is None:
            raise LabelError(f"{table}:{row.line}: one of {len(rows)} rows of {id}, so it needs start_us and end_us")
        samples.append(Sample(f"{id}_row{k:02d}", label_of(row), (row.window,), row.line))
    return tuple(samples)
