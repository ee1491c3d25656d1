"""``dvsprep split``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from dvsprep.cli import options


@click.command()
@options.name_argument
@click.option(
    "--ratio", type=float, metavar="FRACTION", default=0.9, show_default=True, help="The training part, of each class."
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--by",
    type=click.Choice(["sample", "user"]),
    default="sample",
    show_default=True,
    help="user: no person is on both sides.",
)
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), metavar="FILE", help="split.json")
@options.force_option
@options.build_options
def command(
    name: str,
    ratio: float,
    seed: int,
    by: str,
    output: Path,
    force: bool,
    root: Path | None,
    as_json: bool,
    **flags: Any,
) -> None:
    """Write a split of dataset NAME to a file that can be cited; `frames --split FILE` uses it.

    The file holds the ids of every sample and a hash of them. Of a dataset with an official split, its training part is
    divided into train and val, and test is left alone. Event caches that are missing are built first.
    """
    from dvsprep import cache, disk
    from dvsprep.datasets import splits
    from dvsprep.errors import UsageError
    from dvsprep.pipeline import Job

    if output.suffix.lower() != ".json":
        raise UsageError(f"-o {output}: a split file is named *.json")
    job = Job(name, root, None, options.options_from(flags), options.say)
    held_out = splits.held_out_name(job.dataset)
    with options.stdout_is_stderr():
        job.run()
    source = cache.EventCache(job.events_paths()["all" if held_out == "test" else "train"])
    facts = splits.make(job.dataset, source.ids.tolist(), source.labels.tolist(), ratio=ratio, seed=seed, by=by)
    disk.write_whole(output, (json.dumps(facts, indent=1) + "\n").encode(), replace=force)
    sizes = {part: len(facts[part]) for part in ("train", held_out)}
    if as_json:
        options.emit({"dataset": name, "file": str(output), "hash": facts["hash"], "samples": sizes})
    else:
        click.echo(output)
        options.say(f"{', '.join(f'{n} {part}' for part, n in sizes.items())}; hash {facts['hash'][:8]}")
