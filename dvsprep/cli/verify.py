"""``dvsprep verify``."""

from __future__ import annotations

from pathlib import Path

import click

from dvsprep.cli import options
from dvsprep.errors import HashMismatchError, NotFoundError


@click.command()
@options.name_argument
@options.dataset_file_option
@options.root_option
@options.json_option
def command(name: str, root: Path | None, as_json: bool) -> None:
    """Check the files of dataset NAME in the download folder: ok, missing, partial or wrong.

    Nothing is changed; what was hashed is remembered, in a hidden file of the download folder.
    """
    from dvsprep import raw
    from dvsprep.pipeline import Job

    job = Job(name, root)
    expected = raw.expect(job.dataset.resources, job.download, ledger=job.ledger)
    verdicts = [raw.check(resource, job.download, ledger=job.ledger) for resource in expected]
    needed = {r.name for r in job.dataset.archives}
    files = [
        {"name": v.name, "state": v.state, "why": v.why, "md5": v.md5, "optional": v.name not in needed}
        for v in verdicts
    ]
    result = {"dataset": name, "folder": str(job.download), "files": files}
    if not as_json:
        for v in verdicts:
            optional = "" if v.name in needed else "  (optional: no command needs it)"
            click.echo(f"{v.state:<8} {v.name:<24} {v.why}".rstrip() + optional)
    bad = [v for v in verdicts if v.name in needed and v.state != "ok"]
    if any(v.state == "wrong" for v in bad):
        wrong = ", ".join(v.name for v in bad if v.state == "wrong")
        mismatch = HashMismatchError(
            f"{job.download}: not what was published: {wrong}",
            hint="download it again, or pass --no-verify to `frames` to use it as it is",
        )
        raise options.Failed(mismatch, result)
    if bad:
        missing = NotFoundError(
            f"{job.download}: not there, or not wholly: {', '.join(v.name for v in bad)}",
            hint=f"`dvsprep fetch {name}` gets the files or says how",
        )
        raise options.Failed(missing, result)
    if as_json:
        options.emit(result)
    options.say_next(job, root, verify=True)
