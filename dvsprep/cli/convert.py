"""``dvsprep convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dvsprep.cli import options


@click.command()
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@options.sensor_option
@click.option("--sample", type=int, metavar="I", help="Which sample, of an event cache.")
@options.force_option
@options.jobs_option
@options.policy_options
@options.json_option
def command(
    source: Path,
    target: Path,
    sensor: tuple[int, int] | None,
    sample: int | None,
    force: bool,
    jobs: int | None,
    as_json: bool,
    **flags: Any,
) -> None:
    """Write the events of IN, a recording of any readable format or an event cache, to OUT; print its path.

    OUT's suffix names the format: .npz (arrays t, x, y, p), .dat (Prophesee DAT 2), .txt, .csv, or .h5, an event cache.
    IN may be a folder of recordings then, each a sample whose class is its folder, or a cache of many samples. No event
    is lost or changed; what the format has no place for is said, and an event that does not fit is an error.
    """
    from dvsprep import converting
    from dvsprep.errors import NotFoundError

    if not (source.is_file() or source.is_dir()):
        raise NotFoundError(f"{source}: no such file or folder")
    done = converting.convert(
        source, target, sensor=sensor, sample=sample, policy=options.policy_from(flags), replace=force, jobs=jobs,
        say=options.say,
    )  # fmt: skip
    if as_json:
        options.emit(
            {
                "file": str(done.path),
                "samples": done.samples,
                "events": done.events,
                "sensor": done.sensor and list(done.sensor),
            }
        )
    else:
        click.echo(done.path)
        options.say(f"{done.events:,} events" + (f" in {done.samples} samples" if done.samples != 1 else ""))
