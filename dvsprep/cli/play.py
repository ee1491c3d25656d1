"""``dvsprep play``."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click

from dvsprep.cli import options
from dvsprep.errors import UsageError


@click.command()
@options.cache_argument
@click.option("--sample", type=int, metavar="I", help="Which sample.  [default: the first]")
@click.option("--class", "class_name", metavar="NAME", help="The first sample of a class, by name or label.")
@click.option("--grid", is_flag=True, help="One sample of each class in one picture.")
@click.option(
    "--fps",
    type=click.FloatRange(min=0.1, max=1000),
    metavar="F",
    default=10.0,
    show_default=True,
    help="Frames a second.",
)
@click.option(
    "-T", "T", type=click.IntRange(min=1), metavar="N", default=20, show_default=True, help="Frames, of an event cache."
)
@click.option("--palette", default="colorblind", show_default=True, help="colorblind, classic or gray.")
@click.option("--terminal", is_flag=True, help="Draw in the terminal even where a window could be opened.")
@click.option("--loops", type=click.IntRange(min=1), help="How often, in the terminal.  [default: until Ctrl-C]")
@click.option("-o", "out", type=click.Path(path_type=Path), help="Write a .gif or .png instead.")
@options.force_option
def command(
    file: Path | str,
    sample: int | None,
    class_name: str | None,
    grid: bool,
    fps: float,
    T: int,
    palette: str,
    terminal: bool,
    loops: int | None,
    out: Path | None,
    force: bool,
) -> None:
    """Show a sample of the cache FILE: frames as they are, events integrated on the fly.

    FILE may be the address of a served cache, http://HOST:8765/v1/caches/ID. Opens a window where there is a display,
    draws in the terminal elsewhere (over ssh), writes a picture with -o.
    """
    if grid and (sample is not None or class_name is not None):
        raise UsageError("--grid shows one sample of each class; --sample and --class do not go with it")
    if sample is not None and class_name is not None:
        raise UsageError("give one of --sample and --class")

    import dvsprep
    from dvsprep import show
    from dvsprep.show import player

    source = player.frames_of(dvsprep.open(file), T)
    if grid:
        images, title = player.class_grid(source, palette, still=out is not None and out.suffix.lower() == ".png")
    else:
        images, title = player.clip(source, player.find(source, sample, class_name), palette)
    if out is not None:
        click.echo(show.save(images, out, fps=fps, lines=title.split(" | "), replace=force))
        options.say(title)
        return
    try:
        if terminal or not show.has_display():
            show.terminal.play(images, fps=fps, out=sys.stdout, loops=loops, title=title)
        else:
            for number in (signal.SIGINT, signal.SIGTERM):
                # Tk swallows what a Python handler raises in one of its callbacks; a window has nothing to tidy up.
                signal.signal(number, signal.SIG_DFL)
            show.window.play(images, fps=fps, title=title)
    except KeyboardInterrupt:  # the way to end it, so there is nothing to tell
        raise click.exceptions.Exit(130) from None
