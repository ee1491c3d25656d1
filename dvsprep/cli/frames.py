"""``dvsprep frames``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from dvsprep.cli import options
from dvsprep.cli.events import run_job
from dvsprep.errors import UsageError


@click.command()
@options.name_argument
@click.option(
    "--split-by",
    type=click.Choice(["number", "time"]),
    help="Cut samples into T frames of equal number or time.",
)
@click.option("-T", "T", type=click.IntRange(min=1), metavar="N", help="Frames a sample.")
@click.option("--duration", type=click.IntRange(min=1), metavar="USEC", help="Microseconds a frame, in place of -T.")
@click.option("--tail", type=click.Choice(["keep", "drop"]), help="With --duration: the interval that is not filled.")
@click.option(
    "--plugin", metavar="SPEC", help="Your own function: module:function, file.py:function or an entry point."
)
@click.option("--param", "params", multiple=True, metavar="K=V", help="An argument of the plugin; V is JSON or text.")
@click.option(
    "--split",
    metavar="FRACTION|NAME|FILE",
    help="For sets without an official split: the training part (0.9) or a published split's name. For all: a file "
    "split.json of `dvsprep split`.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of a split by fraction.")
@options.build_options
@click.option("--dry-run", is_flag=True, help="Say what would be done; do nothing.")
def command(
    name: str,
    root: Path | None,
    split_by: str | None,
    T: int | None,
    duration: int | None,
    tail: str | None,
    plugin: str | None,
    params: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Build the frame caches of dataset NAME and every earlier stage that is missing; print their paths, train first.

    One of --split-by number|time with -T N, --duration USEC, or --plugin SPEC says how events become frames.
    """
    from dvsprep.pipeline import Job
    from dvsprep.types import FrameSpec

    chosen = [s for s, given in ((split_by, split_by), ("duration", duration), ("plugin", plugin)) if given]
    if len(chosen) != 1:
        raise UsageError("give one of --split-by number|time with -T N, --duration USEC, or --plugin SPEC")
    if split_by and T is None:
        raise UsageError(f"--split-by {split_by} needs -T N, the number of frames")
    if T is not None and not split_by:
        raise UsageError(f"-T does not go with --{chosen[0]}, which decides by itself how many frames there are")
    if tail and duration is None:
        raise UsageError("--tail goes with --duration only")
    if params and not plugin:
        raise UsageError("--param goes with --plugin only")
    spec = FrameSpec(chosen[0], T, duration, tail or "keep", plugin, dict(map(_param, params)))  # type: ignore[arg-type]
    run_job(Job(name, root, spec, options.options_from(flags), options.say), dry_run=dry_run, as_json=as_json)


def _param(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise UsageError(f"--param {text!r}: expected K=V with the name of an argument, for example --param T=8")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
