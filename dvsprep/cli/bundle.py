"""``dvsprep bundle``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from dvsprep.cli import options


@click.command()
@options.name_argument
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), metavar="FILE", help="The tar to make.")
@click.option(
    "--what",
    type=click.Choice(["download", "caches"]),
    default="download",
    show_default=True,
    help="The verified files as published, or the finished event and frame caches.",
)
@options.force_option
@options.dataset_file_option
@options.root_option
@options.no_verify_option
@options.json_option
def command(
    name: str,
    output: Path,
    what: Literal["download", "caches"],
    force: bool,
    root: Path | None,
    no_verify: bool,
    as_json: bool,
) -> None:
    """Pack dataset NAME for a machine without internet: one tar, with the size and SHA-256 of every file.

    There, `dvsprep unbundle` compares and unpacks it.
    """
    from dvsprep import raw
    from dvsprep.pipeline import Job

    job = Job(name, root)
    if what == "download":
        resources = raw.expect(job.dataset.resources, job.download)
        raw.require(resources, job.download, verify=not no_verify, warn=options.say)
    path = raw.bundle(job.folder, output, what, replace=force)
    if as_json:
        options.emit({"dataset": job.dataset.name, "what": what, "bundle": str(path), "bytes": path.stat().st_size})
    else:
        click.echo(str(path))
