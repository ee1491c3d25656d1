"""Log rows and a confusion matrix in, two pictures out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def curves(history: Sequence[dict[str, Any]], best_epoch: int | None, path: Path) -> None:
    """Draw loss and accuracy by epoch."""
    figure = _figure(10, 4)
    for axes, key, title in zip(figure.subplots(1, 2), ("loss", "acc1"), ("loss", "accuracy"), strict=True):
        for part, style in (("train", "-"), ("val", "--"), ("test", ":")):
            points = [(row["epoch"], row[f"{part}_{key}"]) for row in history if f"{part}_{key}" in row]
            if points:
                axes.plot(*zip(*points, strict=True), style, label=part, marker="." if len(points) < 3 else None)
        if best_epoch:
            axes.axvline(best_epoch, color="gray", linewidth=0.8, label=f"best epoch, {best_epoch}")
        axes.set(xlabel="epoch", title=title)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.axes[1].set_ylim(0, 1.02)
    figure.savefig(path, dpi=100)


def comparison(histories: Mapping[str, Sequence[dict[str, Any]]], path: Path) -> None:
    """Draw the accuracies of several runs by epoch, train and test side by side."""
    figure = _figure(10, 4)
    for axes, part in zip(figure.subplots(1, 2, sharey=True), ("train", "test"), strict=True):
        for name, history in histories.items():
            points = [(row["epoch"], row[f"{part}_acc1"]) for row in history if f"{part}_acc1" in row]
            if points:
                axes.plot(*zip(*points, strict=True), label=name, marker="." if len(points) < 3 else None)
        axes.set(xlabel="epoch", title=f"{part} accuracy")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=100)


def confusion(matrix: Sequence[Sequence[int]], classes: Sequence[str], path: Path) -> None:
    """Draw a confusion matrix [true, predicted] with its counts, up to 30 classes with names."""
    counts = np.asarray(matrix)
    n, right = len(counts), int(np.trace(counts))
    size = min(12.0, 3.5 + 0.45 * n)
    figure = _figure(size + 1, size)
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure.colorbar(axes.imshow(shares, cmap="Blues", vmin=0, vmax=1), label="part of the true class")
    total = max(int(counts.sum()), 1)
    axes.set(xlabel="predicted", ylabel="true", title=f"test accuracy {right / total:.4f} ({right} of {total})")
    if n <= 30:
        axes.set_xticks(range(n), classes, rotation=45, ha="right")
        axes.set_yticks(range(n), classes)
        for (i, j), count in np.ndenumerate(counts):
            if count:
                axes.text(j, i, str(count), ha="center", va="center", color="white" if shares[i, j] > 0.5 else "black")
    figure.savefig(path, dpi=100)
