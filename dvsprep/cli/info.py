"""``dvsprep info``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dvsprep.cli import options
from dvsprep.errors import IntegrityError


@click.command()
@options.cache_argument
@click.option("--check", is_flag=True, help="Compare every sample with its checksum.")
@options.json_option
def command(file: Path | str, check: bool, as_json: bool) -> None:
    """Describe the cache FILE: samples, classes, frames, sizes, and where it comes from.

    FILE may be the address of a served cache, http://HOST:8765/v1/caches/ID.
    """
    facts = _local(file, check) if isinstance(file, Path) else _served(file, check)
    if not as_json:
        _print(facts)
    if facts.get("damaged"):
        names = ", ".join(facts["damaged"][:5])
        error = IntegrityError(
            f"{facts['path']}: {len(facts['damaged'])} damaged sample(s): {names}",
            hint="delete the file and build it again",
        )
        raise options.Failed(error, facts)
    if as_json:
        options.emit(facts)


def _local(file: Path, check: bool) -> dict[str, Any]:
    from dvsprep import cache

    opened = cache.open_cache(file)
    return cache.describe(opened) | ({"damaged": cache.damaged(opened)} if check else {})


def _served(url: str, check: bool) -> dict[str, Any]:
    from dvsprep import remote

    opened = remote.open_url(url, mirror=False)
    return remote.describe(opened) | ({"damaged": remote.damaged(opened)} if check else {})


def _print(facts: dict[str, Any]) -> None:
    def line(name: str, value: object) -> None:
        click.echo(f"{name:<12} {value}")

    line("cache", f"{facts['kind']} of {facts['dataset']}, split {facts['split']}, key {facts['key'][:8]}")
    line("samples", f"{facts['samples']:,}")
    if facts["spec"]:
        line("spec", ", ".join(f"{k} {v}" for k, v in facts["spec"].items()))
    for name, column in facts["columns"].items():
        line(name, f"{column['dtype']} {column['shape']}, chunks of {column['chunk']}, {_size(column['bytes'])}")
    line("file", f"{_size(facts['bytes'])}, codec {facts['codec']}")
    e, t = facts["events"], facts["microseconds"]
    line("events", f"{e['total']:,} in all; a sample {e['min']:,} to {e['max']:,}, median {e['median']:,}")
    line(
        "lasts",
        f"a sample {t['min'] / 1e3:,.1f} to {t['max'] / 1e3:,.1f} ms, median {t['median'] / 1e3:,.1f} ms",
    )
    line("sensor", f"{facts['sensor'][0]} x {facts['sensor'][1]} (height x width)")
    line("classes", ", ".join(f"{name} {n}" for name, n in facts["classes"].items()))
    for name, md5 in facts["provenance"].get("files", {}).items():
        state = "NOT VERIFIED: not what was published" if name in facts["unverified"] else "verified"
        what = md5 if str(md5).startswith("tree:") else f"MD5 {md5}"
        line("source", f"{name}, {what}, {state}")
    if n := facts["provenance"].get("imported"):
        line("source", f"{n} imported recording(s)")
    for what, count in facts["provenance"].get("mended", {}).items():
        line("mended", f"{what.replace('_', ' ')}: {count}")
    if "damaged" in facts:
        line("checksums", f"{len(facts['damaged'])} damaged" if facts["damaged"] else "all samples intact")


def _size(n: int) -> str:
    return f"{n / 1e6:,.1f} MB" if n >= 100_000 else f"{n / 1e3:,.1f} kB"
