"""``dvsprep datasets``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dvsprep.cli import options

if TYPE_CHECKING:
    from dvsprep.datasets import Dataset


HEAD = ("dataset", "name", "classes", "samples", "sensor (H x W)", "source", "read as", "tested on")


@click.command()
@options.dataset_file_option
@options.json_option
@click.option("--markdown", is_flag=True, hidden=True, help="Print README's table of the built-in datasets.")
def command(as_json: bool, markdown: bool) -> None:
    """List the datasets: classes, sensor, samples, and whether they can be fetched by machine."""
    from dvsprep import datasets

    if markdown:
        rows = [HEAD, ("---",) * len(HEAD), *(_row(datasets.get(name)) for name in datasets.BUILT_IN)]
        click.echo("\n".join(f"| {' | '.join(row)} |" for row in rows))
        return
    found = [datasets.get(name) for name in datasets.names()]
    if as_json:
        options.emit([_facts(dataset) for dataset in found])
        return
    lines = [
        (d.name, d.title, f"{len(d.classes):>4} classes", f"{d.sensor[0]}x{d.sensor[1]}", _samples(d), _source(d))
        for d in found
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip())


def _row(dataset: Dataset) -> tuple[str, ...]:
    sensor, classes = " x ".join(map(str, dataset.sensor)), f"{len(dataset.classes):,}"
    facts = (classes, _samples(dataset), sensor, _source(dataset), f"`{dataset.format}`", dataset.tested)
    return (dataset.title, f"`{dataset.name}`", *facts)


def _samples(dataset: Dataset) -> str:
    if not dataset.samples:
        return f"{dataset.said:,} [?]" if dataset.said else "[?]"
    return ", ".join(f"{n:,}" if split == "all" else f"{n:,} {split}" for split, n in dataset.samples.items())


def _source(dataset: Dataset) -> str:
    urls = [url for resource in dataset.archives for url in resource.urls]
    if not urls or not all(resource.urls for resource in dataset.archives):
        return "by hand"
    if all(url.startswith("file:") for url in urls):
        return "bundled"
    return "fetch, unpack by hand" if any(r.name.endswith(".rar") for r in dataset.archives) else "fetch"


def _facts(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "title": dataset.title,
        "paper": dataset.paper,
        "licence": dataset.licence,
        "classes": list(dataset.classes),
        "sensor": list(dataset.sensor),
        "splits": list(dataset.splits),
        "named_splits": list(dataset.named_splits),
        "samples": dict(dataset.samples),
        "format": dataset.format,
        "tested": dataset.tested,
        "status": dict(dataset.status),
        "downloadable": all(r.urls for r in dataset.archives),
        "files": [
            {
                "name": r.name,
                "md5": r.md5,
                "sha256": r.sha256,
                "size": r.size,
                "urls": list(r.urls),
                "page": r.page,
                "optional": r.optional,
            }
            for r in dataset.resources
        ],
        "note": dataset.note,
    }
