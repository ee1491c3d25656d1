"""``dvsprep config``."""

from __future__ import annotations

from typing import Any

import click

from dvsprep.cli import options


@click.command()
@options.json_option
def command(as_json: bool) -> None:
    """Print every setting, its value and where that is from; and where the file of settings lies.

    \b
    A flag goes before an environment variable, this before the file, this before the default.
        root = "$SCRATCH/dvsprep"                     DVSPREP_ROOT
        shared_roots = ["/data/dvsprep"]              DVSPREP_SHARED_ROOTS, as in PATH
        mirrors = ["https://mirror.example.org/dvs"]  DVSPREP_MIRRORS, split at blanks
        offline = true                                DVSPREP_OFFLINE
        jobs = 4                                      DVSPREP_JOBS
        codec = "none"                                DVSPREP_CODEC
        [datasets.cifar10dvs]
        mirrors = ["/data/archives"]

    The file is $DVSPREP_CONFIG, else config.toml in the user's folder of settings.
    """
    from dvsprep import config, datasets

    file, found = config.path(), config.settings()
    if as_json:
        settings = {key: {"value": value, "from": origin} for key, (value, origin) in found.items()}
        options.emit({"file": file and str(file), "exists": bool(file and file.exists()), "settings": settings})
        return
    _line("file", file or "none", "" if file and file.exists() else "not there")
    for key, (value, origin) in found.items():
        _line(key, _shown(value), origin)
    known = datasets.names()
    for name in config.tables():
        if name not in known and not (config.root() / name).is_dir():
            options.say(f"{file}: datasets.{name}: no dataset is named so, here or below the root")


def _line(key: str, value: object, origin: str) -> None:
    click.echo(f"{key:<13} {value}" + (f"   ({origin})" if origin else ""))


def _shown(value: Any) -> str:
    from dvsprep.raw.sources import shown

    if value is None or value == []:
        return "-"
    if isinstance(value, list):
        return " ".join(shown(text) for text in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
