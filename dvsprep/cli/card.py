"""``dvsprep card``."""

from __future__ import annotations

from pathlib import Path

import click

from dvsprep.cli import options


@click.command()
@options.cache_argument
@click.option("-o", "out", required=True, type=click.Path(path_type=Path), help="A .html or .png file.")
@click.option(
    "-T", "T", type=click.IntRange(min=1), metavar="N", default=20, show_default=True, help="Frames, of an event cache."
)
@options.force_option
@options.json_option
def command(file: Path | str, out: Path, T: int, force: bool, as_json: bool) -> None:
    """Write the data card of the cache FILE: counts, statistics, a sample of each class, sources and hashes.

    FILE may be the address of a served cache, http://HOST:8765/v1/caches/ID.
    """
    import dvsprep
    from dvsprep.errors import UsageError
    from dvsprep.show import card

    if out.suffix.lower() not in (".html", ".png"):
        raise UsageError(f"-o {out}: a card is a .html or a .png")
    path = card.save(card.facts(dvsprep.open(file), T), out, replace=force)
    if as_json:
        options.emit({"file": str(path)})
    else:
        click.echo(path)
