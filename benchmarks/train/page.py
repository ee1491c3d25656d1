"""Figures in, a page of Markdown out."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.train.rows import Row, Run, rows

FLOOR_BAR = 3.5


def middle(numbers: Sequence[float]) -> float:
    return float(median(numbers))


def figure(row: Row, run: Run, known: dict[str, Any]) -> float | None:
    """Return a run's figure in a row: the median of its seconds, or its peak memory; None if it did not run."""
    found = known["runs"].get(run.key)
    if found is None:
        return None
    return middle(found["seconds"]) if row.figure == "seconds" else float(found["memory"])


def ratio(row: Row, known: dict[str, Any]) -> float | None:
    """Return how many times faster ours is, or what part of the peer's it takes where less is asked for."""
    ours, theirs = figure(row, row.ours, known), figure(row, row.theirs, known)
    if not ours or not theirs:
        return None
    return ours / theirs if row.less else theirs / ours


def markdown(known: dict[str, Any]) -> str:
    """Return the whole page."""
    return "\n".join([
        "# Training on the CPU",
        "",
        "Written by `python -m benchmarks.train`; not edited by hand.",
        "",
        *table([["", ""], *map(list, known["facts"].items())]),
        "",
        *comparison(known),
        "",
        "Ratio: of the medians over all steps of all processes; of memory, and of one network to another, what part",
        "ours takes. Spread: the fastest and the slowest step. A step is forwards, loss, backwards, optimiser (ours is",
        "torch's fused one, as in our scripts) and reset. Freed memory kept: `train.memory`, which our scripts call at",
        "their start and SpikingJelly's do not; in those rows its process was told the same. Peak: resident memory",
        "above what it was before the first step.",
        "",
        *limits(known),
        "",
        *equality(known),
    ]) + "\n"  # fmt: skip


def comparison(known: dict[str, Any]) -> list[str]:
    lines = [["what", "train", "beside it", "ratio", "bar", "spread, train", "spread, beside it"]]
    for row in rows():
        ours, theirs, times = figure(row, row.ours, known), figure(row, row.theirs, known), ratio(row, known)
        if ours is None or (row.ours.side != "train" and theirs is None):
            continue
        bar = "" if row.bar is None else f"{'at most' if row.less else 'at least'} {row.bar:g}"
        words = "not run" if times is None else f"**{times:.2f}**"
        spreads = [_spread(known["runs"].get(run.key), row) for run in (row.ours, row.theirs)]
        lines.append([row.title, _words(row, ours), _words(row, theirs), words, bar, *spreads])
    return table(lines)


def limits(known: dict[str, Any]) -> list[str]:
    """Return how far the neurons are from what the memory allows."""
    lines = [["LIF layer", "copy + add past the caches", "train, freed memory kept", "train, default allocator"]]
    for task, seconds in known["floor"].items():
        least = middle(seconds)
        cells = [task, f"{least * 1e3:.1f} ms"]
        for kept in (True, False):
            ours = middle(known["runs"][Run(task, "train", kept=kept).key]["seconds"])
            cells.append(f"{ours * 1e3:.1f} ms, {ours / least:.2f} times that (bar {FLOOR_BAR:g})")
        lines.append(cells)
    return table(lines) if len(lines) > 1 else []


def equality(known: dict[str, Any]) -> list[str]:
    """Return what the first steps of both sides computed, side by side."""
    lines = [["first step", "train", "SpikingJelly"]]
    for row in rows():
        ours, theirs = (known["runs"].get(run.key) for run in (row.ours, row.theirs))
        if ours and theirs and row.ours.task.startswith("lif") and not row.ours.kept:
            for name, value in ours["first"].items():
                lines.append([f"{row.ours.task}, {name}", f"{value:.10g}", f"{theirs['first'][name]:.10g}"])
    note = "Number of spikes, and the sum of absolute gradients, of the same input:"
    return [note, "", *table(lines)] if len(lines) > 1 else []


def table(lines: list[list[str]]) -> list[str]:
    head, *body = lines
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *body)]


def _words(row: Row, value: float | None) -> str:
    if value is None:
        return "not run"
    return f"{value * 1e3:.1f} ms" if row.figure == "seconds" else f"{value / 1e6:.0f} MB"


def _spread(found: dict[str, Any] | None, row: Row) -> str:
    if found is None or row.figure != "seconds":
        return ""
    return f"{min(found['seconds']) * 1e3:.1f} - {max(found['seconds']) * 1e3:.1f}"
