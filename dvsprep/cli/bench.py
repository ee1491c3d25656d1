"""``dvsprep bench``."""

from __future__ import annotations

from pathlib import Path

import click

from dvsprep.cli import options


@click.command()
@options.file_argument
@click.option("--samples", type=click.IntRange(min=1), default=64, show_default=True, help="Most samples to copy.")
@click.option(
    "--seconds", type=click.FloatRange(min=0.01), default=1.0, show_default=True, help="How long each is read."
)
@options.json_option
def command(file: Path, samples: int, seconds: float, as_json: bool) -> None:
    """Measure how fast the cache FILE reads here, by codec and number of workers, and recommend.

    Some samples are copied beside FILE with each codec, read, and removed.
    """
    from dvsprep import cache, measuring

    rows = measuring.measure(
        file, samples=samples, workers=measuring.default_workers(), seconds=seconds, say=options.say
    )
    codec, workers = measuring.recommend(rows, cache.open_cache(file).codec)
    if as_json:
        options.emit({"rows": [row._asdict() for row in rows], "recommended": {"codec": codec, "workers": workers}})
        return
    click.echo(f"{'codec':<10}{'workers':>8}{'samples/s':>12}{'bytes a sample':>16}")
    for row in rows:
        click.echo(f"{row.codec:<10}{row.workers:>8}{row.samples_per_second:>12,.0f}{row.bytes_per_sample:>16,}")
    click.echo(f"recommended: --codec {codec}, and num_workers={workers} in a DataLoader")
