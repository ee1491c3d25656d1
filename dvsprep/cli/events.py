"""``dvsprep events``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dvsprep.cli import options


@click.command()
@options.name_argument
@options.build_options
@click.option("--dry-run", is_flag=True, help="Say what would be done; do nothing.")
def command(name: str, root: Path | None, dry_run: bool, as_json: bool, **flags: Any) -> None:
    """Build the event caches of dataset NAME and every earlier stage that is missing; print their paths."""
    from dvsprep.pipeline import Job

    run_job(Job(name, root, None, options.options_from(flags), options.say), dry_run=dry_run, as_json=as_json)


def run_job(job: Any, *, dry_run: bool, as_json: bool) -> None:
    """Plan or run a job and print the result."""
    if dry_run:
        with options.stdout_is_stderr():
            stages = job.plan()
        if as_json:
            options.emit({"dataset": job.dataset.name, "stages": [stage._asdict() for stage in stages]})
        else:
            for stage in stages:
                click.echo(f"{stage.stage:<8} {stage.state:<8} {stage.why}")
        return
    with options.stdout_is_stderr():
        try:
            stages = job.run()
        except OSError as error:
            if error.errno and error.filename is None:  # a failed write does not know where it was
                error.filename = str(job.folder)
            raise
    if as_json:
        options.emit(job.result(stages))
    else:
        paths = job.frames_paths() if job.spec else job.events_paths()
        click.echo("\n".join(str(path) for path in paths.values()))
