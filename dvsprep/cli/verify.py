"""``dvsprep verify``."""

from __future__ import annotations

from pathlib import Path

import click

from dvsprep.cli import options
from dvsprep.errors import HashMismatchError, NotFoundError


@click.command()
@options.name_argument
@options.root_option
@options.json_option
def command(name: str, root: Path | None, as_json: bool) -> None:
    """Check the files of dataset NAME in the download folder: ok, missing, partial or wrong. Nothing is changed."""
    from dvsprep import raw
    from dvsprep.pipeline import Job

    job = Job(name, root)
    verdicts = [raw.check(resource, job.download) for resource in job.dataset.resources]
    if as_json:
        files = [{"name": v.name, "state": v.state, "why": v.why, "md5": v.md5} for v in verdicts]
        options.emit({"dataset": name, "folder": str(job.download), "files": files})
    else:
        for verdict in verdicts:
            click.echo(f"{verdict.state:<8} {verdict.name:<24} {verdict.why}".rstrip())
    needed = {r.name for r in job.dataset.archives}
    bad = [v for v in verdicts if v.name in needed and v.state != "ok"]
    if any(v.state == "wrong" for v in bad):
        raise HashMismatchError(f"{job.download}: {', '.join(v.name for v in bad)}: not what was published")
    if bad:
        raise NotFoundError(
            f"{job.download}: not there, or not wholly: {', '.join(v.name for v in bad)}",
            hint=f"`dvsprep fetch {name}` gets the files or says how",
        )
