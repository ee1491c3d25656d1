"""The flags that more than one command has, and how results are printed."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any, TypeVar

import click

from dvsprep import disk
from dvsprep.errors import DvsprepError

F = TypeVar("F", bound=Callable[..., Any])

name_argument = click.argument("name")
file_argument = click.argument("file", type=click.Path(path_type=Path))


class _PathOrAddress(click.Path):
    """The path of a cache, or the address of a served one, which no path may become: that would have one slash."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if disk.is_url(value) else super().convert(value, param, ctx)


cache_argument = click.argument("file", type=_PathOrAddress(path_type=Path), metavar="FILE")


def _root(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Path | None:
    if value is None:
        return None
    if not value:  # `--root "$UNSET"` would mean the current folder
        raise click.BadParameter("an empty path")
    # The shell leaves the ~ of `--root=~/data` as it is; Path.expanduser raises where there is no such user.
    return Path(os.path.expanduser(value))  # noqa: PTH111


root_option = click.option(
    "--root",
    metavar="DIR",
    callback=_root,
    help="Where everything lies: ROOT/NAME/{download,extract,events,frames}.  [default: as `dvsprep config` says]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
no_verify_option = click.option(
    "--no-verify",
    is_flag=True,
    help="Accept files whose MD5 is not the published one; the cache remembers it.",
)


force_option = click.option("--force", is_flag=True, help="Replace a file of that name which is not the same.")
offline_option = click.option(
    "--offline",
    is_flag=True,
    help="Open no socket; fail if one is needed.  [default: as `dvsprep config` says]",
)
mirror_option = click.option(
    "--mirror",
    "mirrors",
    multiple=True,
    metavar="URL",
    help="Try URL/FILE and URL/NAME/FILE before the published sources; may be given again. A folder will do.  "
    "[default: as `dvsprep config` says]",
)


def _dataset_file(context: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
    if value is not None and not context.resilient_parsing:
        from dvsprep import datasets
        from dvsprep.datasets.from_file import load

        datasets.register(load(value))


dataset_file_option = click.option(
    "--dataset-file",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    is_eager=True,
    expose_value=False,
    callback=_dataset_file,
    help="Describes a dataset of your own, whose name NAME then may be.",
)


def _sensor(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    height, x, width = value.lower().partition("x")
    if not (x and height.isdecimal() and width.isdecimal() and 0 < int(height) < 1 << 15 and 0 < int(width) < 1 << 15):
        raise click.BadParameter(f"{value!r}: expected HEIGHTxWIDTH, for example 128x128 or 260x346")
    return int(height), int(width)


sensor_option = click.option(
    "--sensor", metavar="HxW", callback=_sensor, help="Height and width in pixels.  [default: what the files state]"
)


def policy_options(function: F) -> F:
    """Add the flags that say what to do with recordings that break the rules."""
    for option in reversed(
        (
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
        )
    ):
        function = option(function)
    return function


jobs_option = click.option(
    "--jobs",
    "-j",
    type=click.IntRange(min=1),
    metavar="N",
    help="Workers.  [default: as `dvsprep config` says, else the usable CPUs]",
)


def worker_options(function: F) -> F:
    """Add the flags of commands that build caches."""
    codec = click.option(
        "--codec",
        metavar="NAME",
        help="How chunks are packed: packed, deflate or none.  [default: as `dvsprep config` says, else packed]",
    )
    return jobs_option(codec(function))


def policy_from(flags: Mapping[str, Any]) -> Any:
    """Return the Policy that the flags of :func:`policy_options` spell."""
    from dvsprep.events import Policy

    return Policy(flags["out_of_range"], flags["unsorted"], flags["salvage"])


def build_options(function: F) -> F:
    """Add the flags that `events` and `frames` share."""
    for option in reversed(
        (
            click.option(
                "--instances",
                type=click.Choice(["rows", "first", "merged"]),
                default="rows",
                help="Which label rows make a sample: every row, the first of each class, or all of a class as one.",
            ),
            policy_options,
            worker_options,
            click.option(
                "--keep-extracted",
                is_flag=True,
                help="Extract archives to disk, also those whose recordings can be read straight out of them.",
            ),
            dataset_file_option,
            no_verify_option,
            offline_option,
            mirror_option,
            json_option,
            root_option,
        )
    ):
        function = option(function)
    return function


def options_from(flags: Mapping[str, Any]) -> Any:
    """Return the Options that the flags of :func:`build_options` spell."""
    from dvsprep import config
    from dvsprep.raw import Network
    from dvsprep.workspace import Options

    return Options(
        instances=flags["instances"],
        policy=policy_from(flags),
        split=flags.get("split"),
        seed=flags.get("seed", 0),
        jobs=flags["jobs"],
        codec=flags["codec"] or config.codec(),
        verify=not flags["no_verify"],
        keep_extracted=flags["keep_extracted"],
        network=Network(mirrors=flags["mirrors"] or None, offline=flags["offline"]),
    )


def say(line: str) -> None:
    """Talk, on stderr; one that is closed or full is no reason to stop."""
    with suppress(OSError):
        click.echo(line, err=True)


def say_next(job: Any, root: Path | None, *, verify: bool) -> None:
    """Say which command goes on, once all files are there."""
    if all((job.download / resource.name).is_file() for resource in job.dataset.archives):
        where = f" --root {shlex.quote(str(root))}" if root else ""
        accept = "" if verify else " --no-verify"
        say(f"next, for example: dvsprep frames {job.dataset.name}{where} --split-by number -T 20{accept}")


def emit(value: Any) -> None:
    """Print a result as JSON, on stdout; in ASCII, which every terminal and pipe can carry."""
    click.echo(json.dumps(value, indent=2))


class Failed(Exception):  # noqa: N818
    """An error after a result: with --json both are one object."""

    def __init__(self, error: DvsprepError, result: dict[str, Any]) -> None:
        super().__init__(str(error))
        self.error, self.result = error, result


@contextmanager
def stdout_is_stderr() -> Iterator[None]:
    """Send whatever is printed meanwhile to stderr, by a plugin in a worker process too: stdout is for results."""
    with redirect_stdout(sys.stderr):
        try:
            saved = os.dup(1)
        except OSError:  # closed by the caller
            yield
            return
        try:
            with suppress(OSError):
                os.dup2(2, 1)
            yield
        finally:
            os.dup2(saved, 1)
            os.close(saved)
