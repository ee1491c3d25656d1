"""``dvsprep fetch``."""

from __future__ import annotations

from pathlib import Path

import click

from dvsprep.cli import options


@click.command()
@options.name_argument
@options.root_option
@options.no_verify_option
@options.json_option
def command(name: str, root: Path | None, no_verify: bool, as_json: bool) -> None:
    """Download the files of dataset NAME and verify them; print their paths.

    Where only a person with a browser can get them, say which, from where, and what to do then (exit code 3).
    """
    from dvsprep.pipeline import Job, Options

    job = Job(name, root, options=Options(verify=not no_verify), say=options.say)
    paths = [str(path) for path in job.fetch()]
    if as_json:
        options.emit({"dataset": name, "files": paths})
    else:
        click.echo("\n".join(paths))
