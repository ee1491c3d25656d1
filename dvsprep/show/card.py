"""A cache in, its data card out: one HTML file or one picture, with what a paper's appendix says of a dataset."""

from __future__ import annotations

import base64
import html
import io
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dvsprep import cache, disk
from dvsprep.datasets import splits
from dvsprep.errors import UsageError
from dvsprep.show.paint import paint
from dvsprep.show.player import frames_of
from dvsprep.types import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dvsprep.api import Opened
    from dvsprep.show.player import Playable

MOST = 256  # samples whose frames are read
AT_ONCE = 8  # of them, in one request if they are served
EXAMPLES = 24  # classes that are shown
NAMED = 40  # classes whose names fit below their bars
OFF, ON = "#c96a00", "#1f6fd6"


class Facts(NamedTuple):
    """What a card tells.

    Attributes
    ----------
    events, milliseconds : [N], of each sample
    mean : [C, H, W], mean counts a frame
    polarity : [C], part of all counts
    examples : {class: uint8[H, W, 3]}
    read : int
        Samples that mean and polarity are of.
    """

    title: str
    rows: list[tuple[str, str]]
    files: dict[str, str | None]
    classes: dict[str, int]
    events: Array
    milliseconds: Array
    mean: Array
    polarity: Array
    examples: dict[str, Array]
    read: int


def facts(opened: Opened, T: int = 20) -> Facts:
    """Collect what a card tells of a cache; of many samples, the frames of ``MOST`` spread evenly are read.

    Parameters
    ----------
    opened : what ``dvsprep.open`` gives
        A cache on disk or a served one.
    T : int
        Frames to make of each sample of an event cache.
    """
    if not len(opened):
        raise UsageError(f"{opened.path}: no sample to make a card of")
    told, source = _describe(opened), frames_of(opened, T)
    chosen = np.unique(np.linspace(0, len(opened) - 1, min(MOST, len(opened))).astype(int)).tolist()
    total, n_frames = np.zeros(0), 0
    for frames in _frames(source, chosen):
        frames = np.asarray(frames, np.float64)
        total = frames.sum(0) if not total.size else total + frames.sum(0)
        n_frames += len(frames)
    examples = {}
    labels, first = (found[:EXAMPLES].tolist() for found in np.unique(opened.labels, return_index=True))
    for label, frames in zip(labels, _frames(source, first), strict=True):
        # A sensor of one row is shown as its raster, channels over time; any other summed up.
        shown = np.moveaxis(frames, 0, 2)[None, :, 0] if frames.shape[2] == 1 else frames.sum(0, dtype=np.int64)[None]
        examples[opened.classes[label]] = paint(shown)[0]
    polarity = total.sum((1, 2))
    return Facts(
        f"{told['provenance'].get('title', opened.dataset)}, {opened.split}",
        _rows(opened, told),
        told["provenance"].get("files", {}),
        told["classes"],
        opened.small("n_events"),
        (opened.small("t_end") - opened.small("t_start")) / 1000,
        total / max(1, n_frames),
        polarity / max(1.0, polarity.sum()),
        examples,
        len(chosen),
    )


def _describe(opened: Opened) -> dict[str, Any]:
    if isinstance(opened, cache.FrameCache | cache.EventCache):
        return cache.describe(opened)
    from dvsprep import remote

    return remote.describe(opened)


def _frames(source: Playable, indices: Sequence[int]) -> Iterator[Array]:
    for start in range(0, len(indices), AT_ONCE):
        for frames, _ in source.__getitems__(indices[start : start + AT_ONCE]):
            yield frames


def _rows(opened: Opened, told: dict[str, Any]) -> list[tuple[str, str]]:
    provenance, events, lasts = told["provenance"], told["events"], told["microseconds"]
    spec = ", ".join(f"{key} {value}" for key, value in (told["spec"] or {}).items())
    return [
        ("dataset", f"{opened.dataset}, split {opened.split}"),
        ("samples", f"{len(opened):,} in {len(opened.classes):,} classes"),
        ("sensor", f"{opened.sensor[0]} x {opened.sensor[1]} pixels"),
        ("frames", spec or "events, not integrated"),
        ("events a sample", f"{events['min']:,} to {events['max']:,}, median {events['median']:,}"),
        ("milliseconds a sample", f"{lasts['min'] / 1000:,.1f} to {lasts['max'] / 1000:,.1f}"),
        ("split hash", splits.ids_hash({opened.split: opened.ids.tolist()})),
        ("cache key", opened.key),
        ("unverified files", ", ".join(told["unverified"]) or "none"),
        ("paper", str(provenance.get("paper") or "not told")),
        ("licence", str(provenance.get("licence") or "not told")),
        ("made by", f"dvsprep {provenance.get('dvsprep', '?')}"),
    ]


def plots(facts: Facts, header: Sequence[str] = ()) -> Figure:
    """Draw class counts, events, durations, polarity, mean frames and an example of each class."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = 8
    rows = -(-len(facts.examples) // columns)
    head = 0.17 * len(header)
    figure = Figure((12, 6 + 1.7 * rows + head), layout="constrained")
    FigureCanvasAgg(figure)
    parts: Any = figure.subfigures(3, 1, height_ratios=[max(head, 0.01), 6, 1.7 * rows])
    if header:
        parts[0].text(0.01, 0.98, "\n".join(header), va="top", family="monospace", fontsize=8)
    (counts, events, lasts), (off, on, polarity) = parts[1].subplots(2, 3)
    _bars(counts, facts.classes)
    _histogram(events, facts.events, "events a sample")
    _histogram(lasts, facts.milliseconds, "milliseconds a sample")
    many = facts.mean if len(facts.mean) > 1 else np.concatenate([facts.mean * np.nan, facts.mean])
    for axes, plane, name in ((off, many[0], "OFF"), (on, many[1:].sum(0), "ON" if len(facts.mean) > 1 else "events")):
        _plane(axes, plane, name, facts.read)
    names = ["OFF", "ON"] if len(facts.polarity) == 2 else [str(k) for k in range(len(facts.polarity))]
    polarity.bar(names, facts.polarity, color=[OFF, ON] if len(names) == 2 else ON)
    polarity.set(title="polarity, part of all counts", ylim=(0, 1))
    for axes in parts[2].subplots(rows, columns, squeeze=False).flat:
        axes.axis("off")
    for axes, (name, image) in zip(parts[2].axes, facts.examples.items(), strict=False):
        axes.imshow(image, aspect="equal" if min(image.shape[:2]) * 8 > max(image.shape[:2]) else "auto")
        axes.set_title(textwrap.shorten(name, 22, placeholder="..."), fontsize=8)
    return figure


def _bars(axes: Any, classes: dict[str, int]) -> None:
    axes.bar(range(len(classes)), list(classes.values()), color=ON)
    axes.set(title="samples a class")
    if len(classes) <= NAMED:
        axes.set_xticks(range(len(classes)), [name[:26] for name in classes], rotation=90, fontsize=6)
    else:
        axes.set_xlabel("label")


def _histogram(axes: Any, values: Array, title: str) -> None:
    axes.hist(values, bins=min(40, max(5, len(values) // 4)), color=ON)
    axes.set(title=title, ylabel="samples")


def _plane(axes: Any, plane: Array, name: str, read: int) -> None:
    if np.isnan(plane).all():
        axes.axis("off")
        return
    if len(plane) == 1:  # a sensor of one row
        axes.plot(plane[0], color=OFF if name == "OFF" else ON)
        axes.set(title=f"mean {name} a frame, of {read} samples", xlabel="channel")
        return
    image = axes.imshow(plane, cmap="Oranges" if name == "OFF" else "Blues")
    axes.figure.colorbar(image, ax=axes)
    axes.set(title=f"mean {name} a frame, of {read} samples")


STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } th, td { text-align: left; padding: .2rem .8rem .2rem 0; vertical-align: top; }
td { overflow-wrap: anywhere; } img { width: 100%; background: white; } code { font-size: .85em; }
"""


def page(facts: Facts) -> str:
    """Return a card as one HTML file that asks for nothing else."""
    picture = io.BytesIO()
    plots(facts).savefig(picture, format="png", dpi=110)
    rows = "".join(f"<tr><th>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>\n" for k, v in facts.rows)
    files = "".join(
        f"<tr><td>{html.escape(name)}</td><td><code>{html.escape(md5 or 'unknown')}</code></td></tr>\n"
        for name, md5 in facts.files.items()
    )
    counts = "".join(f"<tr><td>{html.escape(name)}</td><td>{n:,}</td></tr>\n" for name, n in facts.classes.items())
    title = html.escape(facts.title)
    alt = "Plots of class counts, events and milliseconds a sample, mean frames, polarity, and a sample of each class"
    data = base64.b64encode(picture.getvalue()).decode()
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width">\n<style>{STYLE}</style>\n<h1>{title}</h1>\n'
        f"<table>\n{rows}</table>\n<h2>Plots</h2>\n"
        f'<img alt="{alt}" src="data:image/png;base64,{data}">\n<h2>Source files and their MD5s</h2>\n'
        f"<table>\n{files}</table>\n<h2>Classes</h2>\n<table>\n{counts}</table>\n</html>\n"
    )


def save(facts: Facts, path: Path, *, replace: bool = False) -> Path:
    """Write a card as .html or .png.

    Raises
    ------
    UsageError
        The name ends in neither, or another file has it.
    """
    kind = path.suffix.lower()
    if path.exists() and not replace:
        raise disk.exists(path)
    if kind == ".html":
        content = page(facts).encode()
    elif kind == ".png":
        lines = [facts.title, *(f"{key:<22} {value}" for key, value in facts.rows)]
        lines += [f"{'file' if k == 0 else '':<22} {md5 or 'unknown'}  {name}"
                  for k, (name, md5) in enumerate(list(facts.files.items())[:8])]  # fmt: skip
        picture = io.BytesIO()
        plots(facts, [line[:170] for line in lines]).savefig(picture, format="png", dpi=110)
        content = picture.getvalue()
    else:
        raise UsageError(f"{path}: a card is a .html or a .png")
    with disk.whole(path, replace=replace) as file:
        file.write(content)
    return path
