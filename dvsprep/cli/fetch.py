"""``dvsprep fetch``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dvsprep.cli import options


@click.command()
@options.name_argument
@options.mirror_option
@click.option(
    "--md5sums",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Expect these MD5s (as `md5sum` prints them) in place of the published ones: of a repacked archive, of a "
    "look-alike. They are remembered; the word `published` is the way back.",
)
@click.option("--sources", is_flag=True, help="Fetch nothing: ask every source for 16 bytes and print what it says.")
@options.offline_option
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds for everything together.")
@click.option("--jobs", "-j", type=click.IntRange(min=1), default=3, show_default=True, help="Files at once.")
@options.dataset_file_option
@options.root_option
@options.no_verify_option
@options.json_option
def command(
    name: str,
    mirrors: tuple[str, ...],
    md5sums: Path | None,
    sources: bool,
    offline: bool,
    timeout: float | None,
    jobs: int,
    root: Path | None,
    no_verify: bool,
    as_json: bool,
) -> None:
    """Download the files of dataset NAME and verify them; print their paths.

    Where only a person with a browser can get them, say which, from where, and what to do then (exit code 3).
    """
    from dvsprep import raw
    from dvsprep.pipeline import Job

    job = Job(name, root)
    md5s = {} if md5sums == Path("published") else raw.read_md5sums(md5sums) if md5sums else None
    resources = raw.expect(job.dataset.archives, job.download, md5s)
    network = raw.Network(mirrors=mirrors or None, offline=offline, budget=timeout)
    if sources:
        _table(name, resources, raw.probe_all(resources, dataset=job.dataset.name, network=network), as_json)
        return
    paths = [
        str(path)
        for path in raw.fetch_all(
            resources, job.download, dataset=job.dataset.name, network=network, jobs=jobs,
            verify=not no_verify, warn=options.say,
        )
    ]  # fmt: skip
    if as_json:
        options.emit({"dataset": name, "files": paths})
    else:
        click.echo("\n".join(paths))


def _table(name: str, resources: list[Any], reports: list[Any], as_json: bool) -> None:
    """Print one line a source; fail if a file that has sources has none that works."""
    from dvsprep.errors import FetchError

    result = {"dataset": name, "sources": [report._asdict() for report in reports]}
    if not as_json:
        row = "{:<4} {:<22} {:>6} {:>14} {:>5} {:>7}  {}"
        click.echo(row.format("ok", "file", "status", "bytes", "magic", "seconds", "source"))
        words = {True: "yes", False: "no", None: "-"}
        for r in reports:
            length = "-" if r.length is None else f"{r.length:,}"
            where = f"{r.url}: {r.why}" if r.why else r.url
            click.echo(
                row.format(words[r.ok], r.file, r.status or "-", length, words[r.magic], f"{r.seconds:.2f}", where)
            )
    probed, working = {r.file for r in reports}, {r.file for r in reports if r.ok}
    for resource in resources:
        if resource.name not in probed:
            options.say(f"{resource.name}: only by hand, from {resource.page or 'a page that is not known'}")
    if dead := sorted(probed - working):
        error = FetchError(f"no source works for {', '.join(dead)}", hint="a mirror may: --mirror URL")
        raise options.Failed(error, result)
    if as_json:
        options.emit(result)
