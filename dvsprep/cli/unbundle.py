"""``dvsprep unbundle``."""

from __future__ import annotations

from pathlib import Path

import click

from dvsprep.cli import options


@click.command()
@options.file_argument
@options.root_option
@options.json_option
def command(file: Path, root: Path | None, as_json: bool) -> None:
    """Unpack FILE, which `dvsprep bundle` made, below the root; print the paths.

    Every file is compared with its SHA-256. A different file that is there already is never overwritten.
    """
    from dvsprep import config, raw

    paths = [str(path) for path in raw.unbundle(file, root or config.root(), warn=options.say)]
    if as_json:
        options.emit({"bundle": str(file), "files": paths})
    else:
        click.echo("\n".join(paths))
