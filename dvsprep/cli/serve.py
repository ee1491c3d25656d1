"""``dvsprep serve``."""

from __future__ import annotations

from pathlib import Path

import click

from dvsprep.cli import options

_file = click.Path(path_type=Path)


@click.command()
@click.option(
    "--root",
    "roots",
    multiple=True,
    type=_file,
    metavar="DIR",
    help="Serve what lies finished below DIR; may be given again, and the first one of a name counts.  "
    "[default: as `dvsprep config` says, and the shared roots]",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True)
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Processes.")
@click.option(
    "--token-file",
    type=_file,
    metavar="FILE",
    help="Holds the token that every request then needs; addresses that other machines reach need one.",
)
@click.option("--tls-cert", type=_file, metavar="FILE", help="A PEM certificate, for https.")
@click.option("--tls-key", type=_file, metavar="FILE", help="Its key.")
@click.option("--allow-host", "hosts", multiple=True, metavar="NAME", help="A name the service is also called by.")
@click.option("--allow-origin", "origins", multiple=True, metavar="URL", help="Pages from there may read answers.")
@click.option("--no-build", is_flag=True, help="Build nothing on request.")
@click.option("--allow-plugins", "plugins", multiple=True, metavar="SPEC", help="An integrator that builds may name.")
@click.option(
    "--rate", type=click.FloatRange(min=0), default=2000.0, show_default=True, help="Requests a second of one address."
)
@click.option("--json-log", is_flag=True, help="Log each request as one JSON object on stderr.")
def command(
    roots: tuple[Path, ...],
    host: str,
    port: int,
    workers: int,
    token_file: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    hosts: tuple[str, ...],
    origins: tuple[str, ...],
    no_build: bool,
    plugins: tuple[str, ...],
    rate: float,
    json_log: bool,
) -> None:
    """Serve finished caches over HTTP.

    \b
    A trainer elsewhere opens one by its address:
        dvsprep.open("http://HOST:8765/v1/caches/ID")
        python -m train.dvsg --cache http://HOST:8765/v1/caches/ID
    """
    from dvsprep import config
    from dvsprep.serve import Settings, serve

    found = [root.expanduser() for root in roots]
    if not found:
        found = [config.root(), *(root for root in config.shared_roots() if root.is_dir())]
        found[0].mkdir(parents=True, exist_ok=True)
    settings = Settings(
        roots=tuple(str(root.absolute()) for root in found),
        host=host,
        port=port,
        token_file=str(token_file.absolute()) if token_file else None,
        hosts=hosts,
        origins=origins,
        build=not no_build,
        plugins=plugins,
        rate=rate,
        json_log=json_log,
    )
    serve(settings, workers=workers, tls_cert=tls_cert, tls_key=tls_key, say=options.say)
