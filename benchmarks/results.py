"""Figures in, ``results.json`` out: what the page and README quote. Rows measured apart are put together here."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.child import Answer
from benchmarks.rows import Figure, Row


class Results:
    """The rows by key, the facts and versions they were measured with, and what was compared.

    Parameters
    ----------
    path : Path, optional
        Kept there; what is there already is gone on with.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        known = json.loads(path.read_text()) if path and path.exists() else {}
        self.facts: dict[str, str] = known.get("facts", {})
        self.versions: dict[str, str] = known.get("versions", {})
        self.checked: dict[str, int] = known.get("checked", {})
        self.rows: dict[str, dict[str, Any]] = known.get("rows", {})

    def put(self, line: dict[str, Any]) -> None:
        """Add a row or replace it."""
        self.rows[line["key"]] = line | {"code": self.facts["code"]}

    def save(self) -> None:
        """Write the file."""
        assert self.path is not None
        known = {"facts": self.facts, "versions": self.versions, "checked": self.checked, "rows": self.rows}
        self.path.write_text(json.dumps(known, indent=1) + "\n")


def line(row: Row, answers: dict[str, list[Answer]], watched: dict[str, Answer], limit: float) -> dict[str, Any]:
    """Return a row's figures.

    Parameters
    ----------
    watched : dict
        The untimed answer of each run, in which the memory of all its processes was followed.
    limit : float
        Seconds that the bytes which have to be moved take at the bandwidth of a copy; 0 where that means nothing.
    """
    found = _side(row.ours, answers, watched)
    made: dict[str, Any] = {
        "key": row.key, "group": row.group, "title": row.title, "peer": row.peer, "bar": row.bar, "less": row.less,
        "unit": row.unit, "runs": len(answers[row.ours.run]), **{f"ours {k}": v for k, v in found.items()},
    }  # fmt: skip
    if row.theirs is not None and row.theirs.run in answers:
        theirs = _side(row.theirs, answers, watched)
        ratio = found["median"] / theirs["median"] if row.less else theirs["median"] / found["median"]
        made |= {f"peer {k}": v for k, v in theirs.items()} | {"ratio": _round(ratio)}
    if limit:
        made["limit"] = _round(limit)
        made["times limit"] = _round(found["median"] / limit)
    return made


def _side(figure: Figure, answers: dict[str, list[Answer]], watched: dict[str, Answer]) -> dict[str, float]:
    found = answers[figure.run]
    most = float(max([watched[figure.run]["tree"], *(answer["peak"] for answer in found)]))
    values = [most] if figure.peak else [figure.of(answer) for answer in found]
    side = {"median": median(values), "least": min(values), "most": max(values)}
    if figure.laps:
        side["cpu"] = median(sum(answer["laps"][lap]["cpu"] for lap in figure.laps) for answer in found)
        side["start"] = median(answer["start"] for answer in found)
        side["peak"] = most
    return {name: _round(value) for name, value in side.items()}


def _round(value: float) -> float:
    return float(f"{value:.4g}")
