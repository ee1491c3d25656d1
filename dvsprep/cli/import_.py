"""``dvsprep import``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from dvsprep.cli import options


@click.command("import")
@options.name_argument
@click.argument("inputs", nargs=-1, required=True, metavar="FILE_OR_DIR...", type=click.Path(path_type=Path))
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="One row a sample: class, and if needed file, start_us, end_us (a window [start, end) of the recording).",
)
@click.option(
    "--class-from",
    metavar="parent|REGEX",
    help="The class is the name of the folder, or what the one group of REGEX (or its group `class`) finds in the path "
    "below the folder given.  [default without --labels: parent]",
)
@options.sensor_option
@options.policy_options
@options.worker_options
@options.json_option
@options.root_option
def command(
    name: str,
    inputs: tuple[Path, ...],
    labels: Path | None,
    class_from: str | None,
    sensor: tuple[int, int] | None,
    root: Path | None,
    as_json: bool,
    **flags: Any,
) -> None:
    """Make dataset NAME of recordings of your own; print the path of its event cache.

    Files are recognised by what is in them. Then `frames NAME`, `play`, `info` and `export` work as for any dataset.
    """
    from tqdm import tqdm

    from dvsprep import importing

    what = importing.Import(name, inputs, labels, class_from, sensor, options.policy_from(flags))
    with tqdm(desc=f"import {name}", unit="sample", disable=None, leave=False) as bar:

        def progress(n: int) -> None:
            bar.update(n)

        done = importing.run(what, root, jobs=flags["jobs"], codec=flags["codec"], say=options.say, progress=progress)
    classes = done.facts["classes"]
    if not done.new:
        options.say(f"{name}: these recordings were imported before; nothing to do")
    if as_json:
        options.emit(
            {
                "dataset": name,
                "cache": str(done.path),
                "new": done.new,
                "recordings": len(done.facts["identity"]["files"]),
                "samples": done.samples,
                "classes": classes,
                "sensor": done.facts["sensor"],
            }
        )
        return
    click.echo(done.path)
    options.say(f"{done.samples} sample(s) of {len(classes)} class(es): {', '.join(classes[:10])}")
    where = f" --root {shlex.quote(str(root))}" if root else ""
    options.say(f"next, for example: dvsprep frames {name}{where} --split-by number -T 20 --split 0.8")
