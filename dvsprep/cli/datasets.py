"""``dvsprep datasets``."""

from __future__ import annotations

from typing import Any

import click

from dvsprep.cli import options


@click.command()
@options.json_option
def command(as_json: bool) -> None:
    """List the datasets: classes, sensor, samples, and whether they can be fetched by machine."""
    from dvsprep import datasets

    found = [_facts(datasets.get(name)) for name in datasets.names()]
    if as_json:
        options.emit(found)
        return
    for facts in found:
        samples = ", ".join(f"{n:,} {split}" for split, n in facts["samples"].items())
        fetch = "fetch" if facts["downloadable"] else "by hand"
        size = "x".join(map(str, facts["sensor"]))
        click.echo(
            f"{facts['name']:<12} {facts['title']:<16} {len(facts['classes']):>4} classes  {size:>9}  "
            f"{samples:<28} {fetch}"
        )


def _facts(dataset: Any) -> dict[str, Any]:
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
        "downloadable": all(r.urls for r in dataset.archives),
        "files": [
            {
                "name": r.name,
                "md5": r.md5,
                "size": r.size,
                "urls": list(r.urls),
                "page": r.page,
                "optional": r.optional,
            }
            for r in dataset.resources
        ],
        "note": dataset.note,
    }
