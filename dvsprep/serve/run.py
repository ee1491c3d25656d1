"""A service from its settings: checked, bound, and run until it is told to stop."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dvsprep.errors import BackendError, DiskError, NotFoundError, UsageError
from dvsprep.serve.settings import Settings

CONNECTIONS = 2048  # of one worker; more get 503


def serve(
    settings: Settings,
    *,
    workers: int = 1,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve the caches below ``settings.roots`` until SIGINT or SIGTERM.

    Raises
    ------
    UsageError
        Other machines could reach it and there is no token.
    DiskError
        The address is taken or not this machine's.
    """
    try:
        import prometheus_client  # noqa: F401 -- the workers need both
        import starlette  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise BackendError(
            f"`dvsprep serve` needs more packages: {error}", hint="pip install 'dvsprep[serve]'"
        ) from None
    settings.token()
    for root in settings.roots:
        if not Path(root).is_dir():
            raise NotFoundError(f"{root}: no such folder", hint="--root names where caches lie")
    if (tls_cert is None) != (tls_key is None):
        raise UsageError("--tls-cert and --tls-key go together")
    for path in (tls_cert, tls_key):
        if path is not None and not path.is_file():
            raise NotFoundError(f"{path}: no such file")
    with _bound(settings) as listening:
        host, port = listening.getsockname()[:2]
        scheme = "https" if tls_cert else "http"
        say(f"serving {', '.join(settings.roots)} at {scheme}://{f'[{host}]' if ':' in host else host}:{port}")
        settings.to_environment()
        counts = tempfile.mkdtemp(prefix="dvsprep-metrics-") if workers > 1 else None
        if counts:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = counts
        config = uvicorn.Config(
            "dvsprep.serve.app:from_environment",
            factory=True,
            workers=workers,
            http="dvsprep.serve.protocol:Patient",
            ws="none",
            ssl_certfile=tls_cert,
            ssl_keyfile=tls_key,
            access_log=False,  # ours tells more
            log_config=_logging(json_lines=settings.json_log),
            server_header=False,
            proxy_headers=True,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=5,
        )
        try:
            if workers > 1:
                from uvicorn.supervisors import Multiprocess

                Multiprocess(config, sockets=[listening]).run()
            else:
                uvicorn.Server(config).run(sockets=[listening])
        except KeyboardInterrupt:
            say("stopped")  # as asked: for a service that is no failure
        finally:
            if counts:
                shutil.rmtree(counts, ignore_errors=True)


def _bound(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listening.bind((settings.host, settings.port))
        listening.listen(CONNECTIONS)  # from now on who asks waits, rather than being refused
        listening.set_inheritable(True)
    except OSError as error:
        listening.close()
        why = error.strerror or str(error)
        raise DiskError(f"{settings.host}:{settings.port}: {why}", hint="choose another --host or --port") from None
    return listening


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as JSON."""
        import json

        told: dict[str, Any] = {"time": round(record.created, 3), "level": record.levelname.lower()}
        told |= getattr(record, "request", None) or {"message": record.getMessage()}
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return json.dumps(told)


class Lines(logging.Formatter):
    """One line a request, for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as a line."""
        facts = getattr(record, "request", None)
        if facts is None:
            return super().format(record)
        return "{client} {method} {path} {status} {bytes:,} bytes {seconds:.3f} s".format(**facts)


def _logging(*, json_lines: bool) -> dict[str, Any]:
    formatter = {"()": JsonLines if json_lines else Lines}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": formatter},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines", "stream": "ext://sys.stderr"}},
        "loggers": {
            "uvicorn": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
            # Each request is a line only where a machine reads them: thousands a second would hide all else.
            "dvsprep.serve": {
                "handlers": ["stderr"], "level": "INFO" if json_lines else "WARNING", "propagate": False,
            },
        },
    }  # fmt: skip
