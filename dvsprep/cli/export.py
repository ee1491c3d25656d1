"""``dvsprep export``."""

from __future__ import annotations

from pathlib import Path

import click

from dvsprep.cli import options
from dvsprep.errors import UsageError

FORMATS = ("npz", "npy", "png", "h5")


@click.command()
@options.file_argument
@click.option("-o", "out", required=True, type=click.Path(path_type=Path), help="A file, or a folder for many samples.")
@click.option("--format", "format", required=True, type=click.Choice(FORMATS))
@click.option("--sample", type=int, help="Which sample.  [default: all]")
@options.force_option
@options.json_option
def command(file: Path, out: Path, format: str, sample: int | None, force: bool, as_json: bool) -> None:
    """Write samples of the cache FILE as plain files.

    npz and npy make the folders that SpikingJelly's users know
    (frames_number_20_split_by_number/train/LABEL/ID.npz, key frames); h5 is a cache again; png shows every frame.
    """
    from dvsprep import cache

    opened = cache.open_cache(file)
    if sample is not None and not -len(opened) <= sample < len(opened):
        raise UsageError(f"sample {sample} of {len(opened)}, expected 0 to {len(opened) - 1}")
    indices = [sample % len(opened)] if sample is not None else list(range(len(opened)))
    _check_out(file, out, format, len(indices))
    if format == "h5":
        written = [cache.copy_samples(opened, indices, out, replace=force)]
    elif format == "png":
        written = _pictures(opened, indices, out, force)
    else:
        written = cache.export(opened, indices, out, format, replace=force)
    if as_json:
        options.emit({"files": [str(path) for path in written]})
    elif len(written) == 1:
        click.echo(written[0])
    else:
        click.echo(out)
        options.say(f"{len(written)} files")


def _check_out(file: Path, out: Path, format: str, samples: int) -> None:
    """Refuse an OUT that would not become what its name says, before anything is written."""
    if out.exists() and out.samefile(file):
        raise UsageError(f"{out} is the cache itself", hint="choose another name for -o")
    if out.exists() and not out.is_file() and not out.is_dir():
        raise UsageError(f"{out} is neither a file nor a folder", hint="choose another name for -o")
    suffix = out.suffix.lower().removeprefix(".")
    if format == "h5":
        if out.is_dir():
            raise UsageError(f"{out} is a folder, and h5 is one file", hint=f"for example -o {out / 'samples.h5'}")
    elif suffix in FORMATS and not out.is_dir():
        if suffix != format:
            raise UsageError(f"-o {out} does not go with --format {format}")
        if samples != 1:
            raise UsageError(f"{out} is one file, and {samples} samples are asked for", hint="--sample, or a folder")


def _pictures(opened: object, indices: list[int], out: Path, replace: bool) -> list[Path]:
    from dvsprep import cache, show
    from dvsprep.show import player

    assert isinstance(opened, (cache.FrameCache, cache.EventCache))
    source = player.frames_of(opened, 20)
    single = out.suffix.lower() == ".png" and not out.is_dir()
    paths = [out] if single else [out / path for path in cache.sample_paths(opened, indices, ".png")]
    written = []
    for i, path in zip(indices, paths, strict=True):
        images, title = player.clip(source, i, "colorblind")
        written.append(show.save(images, path, lines=title.split(" | "), replace=replace))
    return written
