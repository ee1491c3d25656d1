"""Where a file can be had: its sources in the order to try, and whether the network may be used at all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from dvsprep import config
from dvsprep.errors import FetchError, UsageError
from dvsprep.raw.resource import Resource

FIGSHARE_API = "https://api.figshare.com/v2/file/download/"
# The two download hosts of Figshare answer scripts with a bot challenge, its API does not (tonic PR 337, 2026-07).
_FIGSHARE = re.compile(r"https?://(?:ndownloader\.figshare\.com|(?:www\.)?figshare\.com/ndownloader)/files/(\d+)")


def figshare(file_id: int) -> tuple[str, ...]:
    """Return the sources of a file on Figshare, to write into a Resource; :func:`sources` puts its API first."""
    return (f"https://figshare.com/ndownloader/files/{file_id}",)


@dataclass(frozen=True)
class Network:
    """How sources are reached.

    Parameters
    ----------
    mirrors : sequence of str, optional
        URLs or folders tried before a file's own sources; those of ``dvsprep.config`` unless given.
    offline : bool
        Open no socket; ``dvsprep.config`` may say so for everything.
    retries : int
        Further attempts at a source that may recover, each after a longer pause; those that brought bytes are free.
    connect, stall : float
        Seconds to connect, and without a byte.
    budget : float, optional
        Seconds for everything together.
    """

    mirrors: Sequence[str] | None = None
    offline: bool = False
    retries: int = 3
    connect: float = 10
    stall: float = 60
    budget: float | None = None


def network_allowed(offline: bool = False) -> bool:
    """Tell whether a socket may be opened: not if `offline`, nor where a setting says so."""
    return not (offline or config.offline())


def guard_network(names: Iterable[str], offline: bool = False) -> None:
    """Refuse, naming the files, to open a socket where none may be opened."""
    if not network_allowed(offline):
        raise FetchError(
            f"offline, and only the network has {', '.join(names)}",
            hint="leave out --offline (`dvsprep config` tells whether a setting says so), or bring the files with "
            "`dvsprep unbundle` or `adopt`",
        )


def sources(resource: Resource, dataset: str = "", mirrors: Sequence[str] | None = None) -> list[str]:
    """Return a file's URLs in the order to try: every mirror, then its own, each Figshare link by the API first.

    A mirror has a file as ``<mirror>/<file name>`` or ``<mirror>/<dataset>/<file name>``.
    """
    found: list[str] = []
    paths = [resource.name, *([f"{dataset}/{resource.name}"] if dataset else [])]
    for mirror in config.mirrors(dataset) if mirrors is None else mirrors:
        found += [f"{_mirror(mirror)}/{quote(path)}" for path in paths]
    for url in resource.urls:
        if match := _FIGSHARE.match(url):
            found.append(f"{FIGSHARE_API}{match[1]}")
        found.append(url)
    return list(dict.fromkeys(found))


def _mirror(text: str) -> str:
    if "://" not in text:
        return Path(text).expanduser().absolute().as_uri().rstrip("/")
    if urlsplit(text).scheme.lower() not in ("http", "https", "file"):
        raise UsageError(f"the mirror {text} is no http, https or file URL and no folder")
    return text.rstrip("/")


def is_local(url: str) -> bool:
    """Tell whether a source needs no network."""
    return urlsplit(url).scheme.lower() == "file"


def shown(url: str) -> str:
    """Return a URL as it may be printed: without user name and password."""
    return re.sub(r"//[^/@]*@", "//", url)
