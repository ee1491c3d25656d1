"""Which sources of a file work today? Sixteen bytes of each tell."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import NamedTuple

from dvsprep.raw._http import body, extent, get, refusal
from dvsprep.raw._source import HEAD, Source, SourceError, has_magic, page
from dvsprep.raw.fetch import _Client, _file_blocks
from dvsprep.raw.resource import Resource
from dvsprep.raw.sources import Network, guard_network, is_local, shown, sources

TIMEOUT = 10.0  # seconds without a byte


class SourceReport(NamedTuple):
    """What one source of one file answered.

    Parameters
    ----------
    ok : bool
        It seems to have the file: right status, kind, and length where one is published.
    status : int or None
        HTTP status; None for a file URL, or without an answer.
    length : int or None
        Bytes of the file as announced.
    magic : bool or None
        Whether the first bytes are of the kind that the name promises; None if unknown.
    seconds : float
        Until the first bytes.
    why : str
        What is wrong; empty if nothing is.
    """

    file: str
    url: str
    ok: bool
    status: int | None
    length: int | None
    magic: bool | None
    seconds: float
    why: str


def probe(resource: Resource, *, dataset: str = "", network: Network | None = None) -> list[SourceReport]:
    """Ask every source of a file for its first 16 bytes; nothing is kept.

    Raises
    ------
    FetchError
        Offline, and a source needs the network.
    """
    network = network or Network()
    urls = sources(resource, dataset, network.mirrors)
    if not all(map(is_local, urls)):
        guard_network([resource.name], network.offline)
    return [_probe(resource, Source(url), network) for url in urls]


def probe_all(
    resources: Iterable[Resource], *, dataset: str = "", network: Network | None = None, jobs: int = 8
) -> list[SourceReport]:
    """Probe several files at once; the reports come in order."""
    with ThreadPoolExecutor(jobs) as pool:
        found = pool.map(lambda resource: probe(resource, dataset=dataset, network=network), list(resources))
        return [report for reports in found for report in reports]


def _probe(resource: Resource, source: Source, network: Network) -> SourceReport:
    length, magic, why, begin = None, None, "", time.monotonic()
    try:
        length, head = _ask(source, network)
        magic = has_magic(resource.name, head)
        if not head:
            why = "empty body"
        elif magic is False:
            why = page(head) or f"begins with {head[:8]!r}"
        elif None not in (length, resource.size) and length != resource.size:
            why = f"announces {length:,} bytes, expected {resource.size:,}"
    except SourceError as failure:
        why = str(failure)
    seconds = round(time.monotonic() - begin, 3)
    return SourceReport(resource.name, shown(source.url), not why, source.status, length, magic, seconds, why)


def _ask(source: Source, network: Network) -> tuple[int | None, bytes]:
    """Return the length of the file and its first bytes."""
    if is_local(source.url):
        with closing(_file_blocks(source.url)) as blocks:
            head = next(blocks, b"")
            return len(head) + sum(map(len, blocks)), head[:HEAD]
    timeout = (min(network.connect, TIMEOUT), min(network.stall, TIMEOUT))
    with closing(_Client()) as client, get(client.session(), source, {"Range": "bytes=0-15"}, timeout) as response:
        if failure := refusal(response, source):
            raise failure
        head = b""
        for block in body(response):  # a server that ignores ranges sends on until we hang up
            head += block
            if len(head) >= 16:
                break
        return extent(response)[1], head
