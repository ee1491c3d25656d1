"""A published file becomes a verified file of the download folder, from the first source that has it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dvsprep.disk import BLOCK
from dvsprep.errors import DvsprepError, FetchError, HashMismatchError, ManualDownloadError
from dvsprep.raw._http import Blocks, body, extent, get, refusal, validator
from dvsprep.raw._part import Part
from dvsprep.raw._source import Source, SourceError
from dvsprep.raw.resource import Resource, manual_instructions
from dvsprep.raw.sources import Network, guard_network, is_local, network_allowed, sources
from dvsprep.raw.verify import NO_HASH, check

if TYPE_CHECKING:
    import requests
    from tqdm import tqdm

MAX_WAIT = 60.0  # seconds; a server that asks for more is passed over
MAX_ATTEMPTS = 100  # at one source, however little each brings
GRACE = 2.0  # seconds that a thread has to notice that it should stop

Warn = Callable[[str], None]
Sleep = Callable[[float], object]


class _StoppedError(Exception):
    """Another file's fatal error, or Ctrl-C, ends this download; what arrived is kept."""


class _Call:
    """What all downloads of one call share: the budget, the hosts that are down, the wish to stop."""

    def __init__(self, network: Network, warn: Warn, sleep: Sleep | None) -> None:
        self.network, self.warn = network, warn
        self.stop = threading.Event()
        self.sleep: Sleep = sleep or self.stop.wait
        self.down: set[str] = set()
        self.end = None if network.budget is None else time.monotonic() + network.budget

    def left(self) -> float:
        """Seconds of the budget."""
        return float("inf") if self.end is None else self.end - time.monotonic()

    def check(self) -> None:
        """Stop here if there is no time left, or no wish."""
        if self.stop.is_set():
            raise _StoppedError
        if self.left() <= 0:
            raise SourceError(f"out of time, {self.network.budget:g} s were allowed")

    def watched(self, blocks: Blocks) -> Blocks:
        """Yield blocks as long as there is time."""
        with closing(blocks):
            for block in blocks:
                yield block
                self.check()

    def timeout(self) -> tuple[float, float]:
        left = max(0.1, self.left())
        return min(self.network.connect, left), min(self.network.stall, left)


def fetch(
    resource: Resource,
    folder: Path,
    *,
    dataset: str = "",
    network: Network | None = None,
    verify: bool = True,
    progress: bool | None = None,
    warn: Warn,
    sleep: Sleep | None = None,
) -> Path:
    """Download one file into `folder` unless it is there already; return its path.

    Sources are tried in order. An interrupted download of a file whose hash is known goes on where it
    stopped, in this call or a later one, at the same source only if its version is the same.

    Parameters
    ----------
    dataset : str
        The folder that a mirror may have the file in.
    progress : bool, optional
        Show a bar; if a terminal is there, unless told.

    Raises
    ------
    ManualDownloadError
        The file has no source that a machine can use.
    FetchError
        Every source failed; the details list each with status, bytes and reason. Or offline, and it needs one.
    HashMismatchError
        Nothing is published to verify the file with, and `verify` is True.
    """
    return _fetch(resource, folder, dataset, _Call(network or Network(), warn, sleep), verify, progress)


def fetch_all(
    resources: Iterable[Resource],
    folder: Path,
    *,
    dataset: str = "",
    network: Network | None = None,
    jobs: int = 3,
    verify: bool = True,
    progress: bool | None = None,
    warn: Warn,
    sleep: Sleep | None = None,
) -> list[Path]:
    """Download several files at once, each as :func:`fetch` does; return their paths in order.

    A file that no source has does not stop the others; a full disk or Ctrl-C does, and all that arrived is kept.
    """
    wanted, call = list(resources), _Call(network or Network(), warn, sleep)
    _refuse_early(wanted, folder, dataset, call.network)
    folder.mkdir(parents=True, exist_ok=True)
    queue, failed = list(enumerate(wanted)), dict[int, BaseException]()
    paths = [folder / resource.name for resource in wanted]

    def work(slot: int) -> None:
        while not call.stop.is_set():
            try:
                number, resource = queue.pop(0)
            except IndexError:
                return
            try:
                paths[number] = _fetch(resource, folder, dataset, call, verify, progress, slot)
            except BaseException as error:  # noqa: BLE001 - told to the caller's thread
                failed[number] = error
                if not isinstance(error, DvsprepError):
                    call.stop.set()

    # Threads of our own, not of a pool: one that hangs in a read must not keep the process from ending.
    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(min(jobs, len(wanted)))]
    try:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads) and call.left() > -GRACE:
            for thread in threads:
                thread.join(0.05)
    finally:
        call.stop.set()
        patience = time.monotonic() + GRACE
        for thread in threads:
            thread.join(max(0.0, patience - time.monotonic()))
    _raise(failed, wanted, folder)
    if any(thread.is_alive() for thread in threads):
        raise FetchError(f"out of time, {call.network.budget:g} s were allowed", hint="what arrived is kept")
    return paths


def _refuse_early(wanted: Sequence[Resource], folder: Path, dataset: str, network: Network) -> None:
    """Before a byte is fetched, name all files that only a person, or only the network, has."""
    lacking = {r: sources(r, dataset, network.mirrors) for r in wanted if not (folder / r.name).exists()}
    if by_hand := [resource for resource, urls in lacking.items() if not urls]:
        raise ManualDownloadError(manual_instructions(dataset, by_hand, folder, f"dvsprep verify {dataset}"))
    if remote := [resource.name for resource, urls in lacking.items() if not any(map(is_local, urls))]:
        guard_network(remote, network.offline)


def _raise(failed: dict[int, BaseException], wanted: Sequence[Resource], folder: Path) -> None:
    """Raise what stopped everything, or the one failure, or all of them as one."""
    errors = [failed[number] for number in sorted(failed) if not isinstance(failed[number], _StoppedError)]
    for error in errors:
        if not isinstance(error, DvsprepError):
            raise error
    if len(errors) == 1 or any(not isinstance(error, FetchError) for error in errors):
        raise next((error for error in errors if not isinstance(error, FetchError)), errors[0])
    if errors:
        lacking = [wanted[number] for number in sorted(failed) if isinstance(failed[number], FetchError)]
        pages = ", ".join(dict.fromkeys(resource.page for resource in lacking if resource.page))
        by_hand = f"; by hand: from {pages} into {folder}" if pages else ""
        raise FetchError(
            f"{len(errors)} of {len(wanted)} files could not be fetched: {', '.join(r.name for r in lacking)}",
            hint=f"the same command tries again and fetches only what is missing{by_hand}",
            details=[line for error in errors if isinstance(error, FetchError) for line in error.details],
        )


def _fetch(
    resource: Resource,
    folder: Path,
    dataset: str,
    call: _Call,
    verify: bool,
    progress: bool | None,
    slot: int | None = None,
) -> Path:
    there = check(resource, folder, verify=verify)
    if there.state == "ok" or (there.md5 and not verify):
        if there.why:
            call.warn(f"{there.path} is used without verification: {there.why}")
        return there.path
    urls = sources(resource, dataset, call.network.mirrors)
    if not urls:
        raise ManualDownloadError(
            f"{resource.describe()} cannot be downloaded by a program", hint=_by_hand(resource, folder)
        )
    if verify and not (resource.md5 or resource.sha256):
        raise HashMismatchError(f"{resource.name}: {NO_HASH}", hint="pass --no-verify to use it as it is")
    if not any(map(is_local, urls)):
        guard_network([resource.name], call.network.offline)

    from tqdm import tqdm

    folder.mkdir(parents=True, exist_ok=True)
    bar: tqdm[Any] = tqdm(
        total=resource.size,
        desc=resource.name,
        unit="B",
        unit_scale=True,
        disable=None if progress is None else not progress,
        position=slot,
        leave=slot is None,
    )
    with bar, closing(Part(resource, folder, bar, verify=verify)) as part:
        return _from_sources(urls, part, call)


def _from_sources(urls: Sequence[str], part: Part, call: _Call) -> Path:
    failures = []
    with closing(_Client()) as client:
        for url in urls:
            source = Source(url, most=part.size)
            try:
                _patiently(client, source, part, call)
                return part.finish(call.warn)
            except SourceError as failure:
                failures.append(f"{part.resource.name}: {source.describe(failure)}")
    tried = "its one source failed" if len(failures) == 1 else f"all {len(failures)} sources failed"
    raise FetchError(
        f"no source gave {part.resource.describe()}: {tried}",
        hint=_by_hand(part.resource, part.folder),
        details=failures,
    )


def _by_hand(resource: Resource, folder: Path) -> str:
    page = f"open {resource.page}, " if resource.page else ""
    return f"{page}download {resource.describe()} and put it into {folder}, or run dvsprep adopt on it"


class _Client:
    """A session of requests from the first need on: importing it alone opens a socket (urllib3 tries IPv6)."""

    def __init__(self) -> None:
        self._session: requests.Session | None = None

    def session(self) -> requests.Session:
        if self._session is None:
            import requests

            self._session = requests.Session()
            # Or it would read a redirect's whole body, and fail on a broken target, before we have seen either.
            self._session.get_redirect_target = lambda resp: None  # type: ignore[method-assign]  # noqa: ARG005
        return self._session

    def close(self) -> None:
        if self._session is not None:
            self._session.close()


def _patiently(client: _Client, source: Source, part: Part, call: _Call) -> None:
    """Fill `part` from one source, again after a pause while that may help."""
    if not is_local(source.url) and not network_allowed(call.network.offline):
        raise SourceError("offline, not tried")
    host, failures = urlsplit(source.url).netloc, 0
    retries = 0 if host in call.down else call.network.retries
    for attempt in range(1, MAX_ATTEMPTS + 1):
        try:
            call.check()
            return _once(client, source, part, call)
        except SourceError as failure:
            if not failure.again:
                raise
            gained, source.most = part.size > source.most, max(part.size, source.most)
            failures = 1 if gained else failures + 1
            wait = _pause(failures) if failure.wait is None else failure.wait * random.uniform(1, 1.1)  # noqa: S311
            if failures > retries or not retries or attempt == MAX_ATTEMPTS:
                if source.status is None and host:
                    call.down.add(host)
                raise SourceError(f"{failure}, {attempt} attempt{'s' * (attempt > 1)}") from failure
            if wait > 1.1 * MAX_WAIT or wait > call.left():
                raise SourceError(f"{failure}, and the next attempt would be in {wait:,.0f} s") from failure
            call.sleep(wait)
    raise AssertionError("the last attempt returns or raises")


def _pause(failures: int) -> float:
    """Return 1, 2, 4, ... seconds, give or take half: many clients must not come back at once."""
    return min(float(2 ** (failures - 1)), MAX_WAIT) * random.uniform(0.5, 1.5)  # noqa: S311


def _once(client: _Client, source: Source, part: Part, call: _Call) -> None:
    try:
        if is_local(source.url):
            part.fill(source, call.watched(_file_blocks(source.url)), None)
        else:
            _download(client, source, part, call)
    except SourceError as failure:
        if not (failure.again and part.is_right()):  # who lies about the length may still have sent all of it
            raise
    part.check_whole()


def _file_blocks(url: str) -> Blocks:
    from urllib.request import url2pathname  # not at the top: all of http comes with it

    path = Path(url2pathname(urlsplit(url).path))
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                yield block
    except OSError as error:
        raise SourceError(str(error.strerror or error)) from error


def _download(client: _Client, source: Source, part: Part, call: _Call) -> None:
    headers = part.asks(source)
    with get(client.session(), source, headers, call.timeout()) as response:
        start = part.size if headers else 0
        first, total = extent(response)
        version = validator(response)
        other = bool(headers.get("If-Range")) and version not in ("", headers.get("If-Range"))
        if start and (response.status_code == 416 or (response.status_code == 206 and (first != start or other))):
            source.whole = True
            why = "of another version" if other else f"HTTP {response.status_code}, cannot resume at byte {start:,}"
            raise SourceError(why, again=True, wait=0)
        if failure := refusal(response, source):
            raise failure
        if response.status_code == 200:
            start = 0
        elif total is None:
            total = part.resource.size
        part.fill(source, call.watched(body(response)), total, start=start, validator=version)
