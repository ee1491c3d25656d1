"""``dvsprep pull``."""

from __future__ import annotations

from pathlib import Path

import click

from dvsprep.cli import options


@click.command()
@click.argument("url")
@options.root_option
@click.option("-o", "out", type=click.Path(path_type=Path), help="A file.  [default: where `dvsprep frames` puts it]")
@options.force_option
@options.json_option
def command(url: str, root: Path | None, out: Path | None, force: bool, as_json: bool) -> None:
    """Fetch the cache at URL, which `dvsprep serve` serves, whole; print its path.

    An interrupted download goes on where it stopped. Afterwards `dvsprep frames` finds the cache done.
    """
    from dvsprep.remote import pull

    path = pull(url, root=root, out=out, replace=force, say=options.say)
    if as_json:
        options.emit({"cache": str(path)})
    else:
        click.echo(path)
