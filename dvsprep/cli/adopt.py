"""``dvsprep adopt``."""

from __future__ import annotations

from pathlib import Path

import click

from dvsprep.cli import options
from dvsprep.errors import UsageError


@click.command()
@options.name_argument
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@options.dataset_file_option
@options.root_option
@options.no_verify_option
@options.json_option
def command(name: str, files: tuple[Path, ...], root: Path | None, no_verify: bool, as_json: bool) -> None:
    """Take over FILES of dataset NAME that were downloaded by hand, wherever they lie.

    They are verified, then hard-linked (or copied) into the download folder; the files themselves stay as they are.
    One folder in their place is a dataset that was extracted by hand: it is used where it lies. No MD5 vouches for a
    folder, so it needs --no-verify.
    """
    from dvsprep import raw
    from dvsprep.pipeline import Job

    job = Job(name, root)
    if len(files) == 1 and files[0].is_dir():
        if not no_verify:
            raise UsageError(f"{files[0]} is a folder, which no MD5 can vouch for", hint="pass --no-verify to use it")
        tree = raw.adopt_tree(files[0], job.folder / "extract")
        _print(name, [tree.path], as_json)
        return
    download = job.folder / "download"  # never a shared one
    expected = raw.expect(job.dataset.resources, download)
    adopted = raw.adopt(expected, files, download, verify=not no_verify, warn=options.say)
    _print(name, adopted, as_json)
    options.say_next(job, root, verify=not no_verify)


def _print(name: str, paths: list[Path], as_json: bool) -> None:
    if as_json:
        options.emit({"dataset": name, "files": [str(path) for path in paths]})
    else:
        click.echo("\n".join(str(path) for path in paths))
