"""The flags that more than one command has, and how results are printed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

name_argument = click.argument("name")
file_argument = click.argument("file", type=click.Path(path_type=Path))
root_option = click.option(
    "--root",
    type=click.Path(path_type=Path),
    envvar="DVSPREP_ROOT",
    help="Where everything lies: ROOT/NAME/{download,extract,events,frames}.  [default: $DVSPREP_ROOT, else the user's "
    "cache folder]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
no_verify_option = click.option(
    "--no-verify",
    is_flag=True,
    help="Accept files whose MD5 is not the published one; the cache remembers it.",
)


def build_options(function: F) -> F:
    """Add the flags that `events` and `frames` share."""
    for option in (
        click.option(
            "--instances",
            type=click.Choice(["rows", "first", "merged"]),
            default="rows",
            help="Which label rows make a sample: every row, the first of each class, or all of a class as one.",
        ),
        click.option(
            "--out-of-range",
            type=click.Choice(["error", "drop"]),
            default="error",
            help="What to do with events outside the sensor.",
        ),
        click.option(
            "--unsorted",
            type=click.Choice(["error", "sort"]),
            default="error",
            help="What to do with timestamps that run backward.",
        ),
        click.option("--salvage", is_flag=True, help="Keep what is whole of a truncated recording."),
        click.option("--jobs", "-j", type=click.IntRange(min=1), help="Workers.  [default: the usable CPUs]"),
        click.option("--codec", default="deflate", show_default=True, help="How chunks are packed: deflate or none."),
        no_verify_option,
        json_option,
        root_option,
    ):
        function = option(function)
    return function


def options_from(flags: Mapping[str, Any]) -> Any:
    """Return the Options that the flags of :func:`build_options` spell."""
    from dvsprep.events import Policy
    from dvsprep.pipeline import Options

    return Options(
        instances=flags["instances"],
        policy=Policy(flags["out_of_range"], flags["unsorted"], flags["salvage"]),
        split=flags.get("split"),
        seed=flags.get("seed", 0),
        jobs=flags["jobs"],
        codec=flags["codec"],
        verify=not flags["no_verify"],
    )


def say(line: str) -> None:
    """Talk, on stderr."""
    click.echo(line, err=True)


def emit(value: Any) -> None:
    """Print a result as JSON, on stdout."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))
