"""``dvsprep export``."""

from __future__ import annotations

from pathlib import Path

import click

from dvsprep.cli import options
from dvsprep.errors import UsageError


@click.command()
@options.file_argument
@click.option("-o", "out", required=True, type=click.Path(path_type=Path), help="A file, or a folder for many samples.")
@click.option("--format", "format", required=True, type=click.Choice(["npz", "npy", "png", "h5"]))
@click.option("--sample", type=int, help="Which sample.  [default: all]")
@options.json_option
def command(file: Path, out: Path, format: str, sample: int | None, as_json: bool) -> None:
    """Write samples of the cache FILE as plain files.

    npz and npy make the folders that SpikingJelly's users know
    (frames_number_20_split_by_number/train/LABEL/ID.npz, key frames); h5 is a cache again; png shows every frame.
    """
    from dvsprep import cache

    opened = cache.open_cache(file)
    if sample is not None and not -len(opened) <= sample < len(opened):
        raise UsageError(f"sample {sample} of {len(opened)}, expected 0 to {len(opened) - 1}")
    indices = [sample % len(opened)] if sample is not None else list(range(len(opened)))
    if format == "h5":
        written = [cache.copy_samples(opened, indices, out)]
    elif format == "png":
        written = _pictures(opened, indices, out)
    else:
        written = cache.export(opened, indices, out, format)
    if as_json:
        options.emit({"files": [str(path) for path in written]})
    elif len(written) == 1:
        click.echo(written[0])
    else:
        click.echo(out)
        options.say(f"{len(written)} files")


def _pictures(opened: object, indices: list[int], out: Path) -> list[Path]:
    from dvsprep import cache, show
    from dvsprep.show import player

    assert isinstance(opened, (cache.FrameCache, cache.EventCache))
    source = player.frames_of(opened, 20)
    written = []
    for i in indices:
        images, title = player.clip(source, i, "colorblind")
        path = out if out.suffix == ".png" and len(indices) == 1 else out / cache.sample_path(opened, i, ".png")
        written.append(show.save(images, path, lines=title.split(" | ")))
    return written
