"""``dvsprep adopt``."""

from __future__ import annotations

from pathlib import Path

import click

from dvsprep.cli import options


@click.command()
@options.name_argument
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@options.root_option
@options.no_verify_option
@options.json_option
def command(name: str, files: tuple[Path, ...], root: Path | None, no_verify: bool, as_json: bool) -> None:
    """Take over FILES of dataset NAME that were downloaded by hand, wherever they lie.

    They are verified, then hard-linked (or copied) into the download folder; the files themselves stay as they are.
    """
    from dvsprep import raw
    from dvsprep.pipeline import Job

    job = Job(name, root)
    adopted = raw.adopt(job.dataset.resources, files, job.download, verify=not no_verify, warn=options.say)
    if as_json:
        options.emit({"dataset": name, "files": [str(path) for path in adopted]})
    else:
        click.echo("\n".join(str(path) for path in adopted))
