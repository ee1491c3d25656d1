"""Measurements in, a page of Markdown out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.child import Answer

MB = 1e6


@dataclass
class Stage:
    """One stage: what it is called, what dvsprep is asked, and each side's answers."""

    title: str
    spec: dict[str, Any] | None
    bar: float
    ours: list[Answer] = field(default_factory=list)
    theirs: list[Answer] = field(default_factory=list)


def middle(answers: Sequence[Answer], key: str) -> float:
    """Return the median of one figure."""
    return float(median(answer[key] for answer in answers))


def markdown(stages: Sequence[Stage], facts: dict[str, str], checked: dict[str, int]) -> str:
    """Return the whole page."""
    lines = [
        "# Results",
        "",
        "Written by `python -m benchmarks`; not edited by hand.",
        "",
        *_table([["", ""], *map(list, facts.items())]),
        "",
        *_speed(stages),
        "",
        "Ratio: of the medians. Spread: the fastest and the slowest run of each side, in seconds. Each run is a",
        "process of its own, ours and SpikingJelly's in turn, on a warm page cache. Only the stage is timed, fsync and",
        "planning included. Imports and the loading of compiled kernels come before it: with this start-up of both",
        "sides, the ratio is the one in the last column.",
        "",
        *_resources(stages),
        "",
        "CPU: of all threads during the stage; it tells a busy machine, where the seconds are longer. Peak: resident",
        "memory, pages of mapped files and imported libraries included. Start: from the creation of the process to the",
        "end of its imports, and of ours the loading of the compiled kernels.",
        "",
        _equality(stages, checked),
    ]
    return "\n".join(lines) + "\n"


def _table(rows: list[list[str]]) -> list[str]:
    head, *body = rows
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body)]


def _speed(stages: Sequence[Stage]) -> list[str]:
    head = "stage|dvsprep, s|SpikingJelly, s|ratio|bar|spread, dvsprep|spread, SpikingJelly|ratio with start-up"
    rows = [head.split("|")]
    for stage in stages:
        ours = middle(stage.ours, "seconds")
        row = [stage.title, f"{ours:.3f}"]
        if stage.theirs:
            theirs = middle(stage.theirs, "seconds")
            whole = [middle(side, "start") + middle(side, "seconds") for side in (stage.ours, stage.theirs)]
            row += [f"{theirs:.2f}", f"**{theirs / ours:.1f}**", f"{stage.bar:.0f}"]
            row += [_spread(stage.ours), _spread(stage.theirs), f"{whole[1] / whole[0]:.1f}"]
        else:
            row += ["not run", "not run", f"{stage.bar:.0f}", _spread(stage.ours), "", ""]
        rows.append(row)
    return _table(rows)


def _spread(answers: Sequence[Answer]) -> str:
    seconds = [answer["seconds"] for answer in answers]
    return f"{min(seconds):.3f} - {max(seconds):.3f}" if seconds else ""


def _resources(stages: Sequence[Stage]) -> list[str]:
    rows = [["stage", "side", "CPU, s", "on disk, MB", "peak, MB", "start, s"]]
    for stage in stages:
        for side, answers in (("dvsprep", stage.ours), ("SpikingJelly", stage.theirs)):
            if answers:
                size, peak = middle(answers, "bytes") / MB, max(answer["peak"] for answer in answers) / MB
                cpu, start = f"{middle(answers, 'cpu'):.2f}", f"{middle(answers, 'start'):.2f}"
                rows.append([stage.title, side, cpu, f"{size:.1f}", f"{peak:.0f}", start])
    return _table(rows)


def _equality(stages: Sequence[Stage], checked: dict[str, int]) -> str:
    if not checked:
        return "SpikingJelly did not run, so nothing was compared."
    parts = ", ".join(f"{stage.title}: {checked[stage.title]}" for stage in stages)
    return f"Before anything was timed, both sides' outputs were compared number for number. Equal samples:\n{parts}."
