"""A published file becomes a verified file of the download folder, from the first source that has it."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urljoin, urlsplit
from urllib.request import url2pathname

from dvsprep.errors import FetchError, HashMismatchError, ManualDownloadError
from dvsprep.raw._disk import BLOCK, NOBODY, abandoned, publish, set_aside, tag
from dvsprep.raw.resource import Resource
from dvsprep.raw.verify import NO_HASH, Hasher, Ledger, check, is_html, mismatch

if TYPE_CHECKING:
    import requests
    from tqdm import tqdm

Blocks = Generator[bytes, None, None]

MAX_REDIRECTS = 10
MAX_WAIT = 60.0  # seconds
RETRY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
# By suffix; other names are taken as they come.
MAGIC = {".zip": b"PK", ".gz": b"\x1f\x8b", ".tgz": b"\x1f\x8b", ".h5": b"\x89HDF", ".hdf5": b"\x89HDF"}


class _Options(NamedTuple):
    verify: bool
    retries: int
    timeout: tuple[float, float]
    sleep: Callable[[float], None]


class _SourceError(Exception):
    """Why a source did not give the file; `again` if the same source may give it later."""

    def __init__(self, reason: str, *, again: bool = False, wait: float | None = None) -> None:
        super().__init__(reason)
        self.again, self.wait = again, wait


def fetch(
    resource: Resource,
    folder: Path,
    *,
    verify: bool = True,
    progress: bool | None = None,
    retries: int = 3,
    timeout: tuple[float, float] = (10, 60),
    warn: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """Download one file into `folder` unless it is there already; return its path.

    Sources are tried in order. An interrupted download of a file whose hash is known goes on where it
    stopped, in this call or a later one: the hash at the end decides.

    Parameters
    ----------
    progress : bool, optional
        Show a bar; if a terminal is there, unless told.
    retries : int
        Further attempts at a source that may recover, after 1, 2, 4, ... seconds or what the server asks for.
    timeout : (float, float)
        Seconds to connect, and without a byte.

    Raises
    ------
    ManualDownloadError
        The file has no source that a machine can use.
    FetchError
        Every source failed; the message lists each with its reason.
    HashMismatchError
        Nothing is published to verify the file with, and `verify` is True.
    """
    there = check(resource, folder, verify=verify)
    if there.state == "ok" or (there.md5 and not verify):
        if there.why:
            warn(f"{there.path} is used without verification: {there.why}")
        return there.path
    if not resource.urls:
        raise ManualDownloadError(
            f"{resource.describe()} cannot be downloaded by a program", hint=_by_hand(resource, folder)
        )
    if verify and not (resource.md5 or resource.sha256):
        raise HashMismatchError(f"{resource.name}: {NO_HASH}", hint="pass --no-verify to use it as it is")

    from tqdm import tqdm

    folder.mkdir(parents=True, exist_ok=True)
    bar: tqdm[Any] = tqdm(
        total=resource.size,
        desc=resource.name,
        unit="B",
        unit_scale=True,
        disable=None if progress is None else not progress,
    )
    options = _Options(verify, retries, timeout, sleep)
    with bar, closing(_Part(resource, folder, bar, resume=verify)) as part:
        return _from_sources(part, options, warn)


def _from_sources(part: _Part, options: _Options, warn: Callable[[str], None]) -> Path:
    import requests

    resource, failures = part.resource, []
    with requests.Session() as session:
        for url in resource.urls:
            try:
                _patiently(session, url, part, options)
                return part.finish(options.verify, warn)
            except _SourceError as failure:
                failures.append(f"{url}: {failure}")
    message = f"no source gave {resource.describe()}: {'; '.join(failures)}"
    raise FetchError(message, hint=_by_hand(resource, part.folder))


def _by_hand(resource: Resource, folder: Path) -> str:
    page = f"open {resource.page}, " if resource.page else ""
    return f"{page}download {resource.describe()} and put it into {folder}, or run dvsprep adopt on it"


def _patiently(session: requests.Session, url: str, part: _Part, options: _Options) -> None:
    """Fill `part` from one source, again after a pause while that may help."""
    for attempt in range(options.retries + 1):
        try:
            _once(session, url, part, options)
        except _SourceError as failure:
            if not failure.again:
                raise
            if attempt == options.retries:
                raise _SourceError(f"{failure}, {attempt + 1} attempts") from failure
            options.sleep(min(failure.wait if failure.wait is not None else 2.0**attempt, MAX_WAIT))
        else:
            return


def _once(session: requests.Session, url: str, part: _Part, options: _Options) -> None:
    if urlsplit(url).scheme == "file":
        part.restart()
        part.fill(_file_blocks(url), None)
    else:
        _download(session, url, part, options)
    part.check_whole(options.verify)


def _file_blocks(url: str) -> Blocks:
    path = Path(url2pathname(urlsplit(url).path))
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                yield block
    except OSError as error:
        raise _SourceError(str(error.strerror or error)) from error


def _download(session: requests.Session, url: str, part: _Part, options: _Options) -> None:
    with _get(session, url, part.hasher.size, options.timeout) as response:
        start, status = part.hasher.size, response.status_code
        offered = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if start and (status == 416 or (status == 206 and not offered)):
            part.restart()
            raise _SourceError(f"HTTP {status}, cannot resume at byte {start:,}", again=True)
        _check_status(response)
        if status == 200:
            part.restart()
        text = response.headers.get("Content-Length", "")
        announced = part.hasher.size + int(text) if text.isdigit() else None
        expected = part.resource.size
        if options.verify and announced and expected is not None and announced != expected and not _html(response):
            raise _SourceError(f"announces {announced:,} bytes, expected {expected:,}")
        part.fill(_body(response), announced)


def _get(session: requests.Session, url: str, start: int, timeout: tuple[float, float]) -> requests.Response:
    """Open a URL, following redirects ourselves, for requests would follow one from https to http."""
    import requests

    headers = {"Accept-Encoding": "identity", "User-Agent": "dvsprep"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        for _ in range(MAX_REDIRECTS + 1):
            response = session.get(url, headers=headers, timeout=timeout, stream=True, allow_redirects=False)
            if not response.is_redirect:
                return response
            response.close()
            url = redirect_target(url, response.headers["Location"])
    except requests.RequestException as error:
        lasting = isinstance(error, requests.exceptions.InvalidSchema | requests.exceptions.InvalidURL)
        raise _SourceError(f"{type(error).__name__}: {error}", again=not lasting) from error
    raise _SourceError(f"more than {MAX_REDIRECTS} redirects")


def redirect_target(url: str, location: str) -> str:
    """Return where a redirect leads; refuse one that leaves http(s), or https for http."""
    target = urljoin(url, location)
    before, after = urlsplit(url).scheme, urlsplit(target).scheme
    if after not in ("http", "https") or (before == "https" and after == "http"):
        raise _SourceError(f"redirects from {before} to {target}, which is not followed")
    return target


def _check_status(response: requests.Response) -> None:
    status = response.status_code
    if status == 200 or (status == 206 and "Range" in response.request.headers):
        return
    if status == 202 and not next(_body(response), b""):
        raise _SourceError("bot challenge (HTTP 202, empty body)")
    after = response.headers.get("Retry-After", "")
    wait = float(after) if after.isdigit() else None
    raise _SourceError(f"HTTP {status} {response.reason}".rstrip(), again=status in RETRY_STATUS, wait=wait)


def _html(response: requests.Response) -> bool:
    return response.headers.get("Content-Type", "").startswith("text/html")


def _body(response: requests.Response) -> Blocks:
    """Yield the bytes as sent: some servers call a .tar.gz a gzip-encoded tar, which must not be undone."""
    from urllib3.exceptions import HTTPError

    try:
        yield from response.raw.stream(BLOCK, decode_content=False)
    except HTTPError as error:
        raise _SourceError(f"connection lost: {error}", again=True) from error


class _Part:
    """A download that is not whole yet: a file of this call alone, and the hash of what is in it.

    With `resume`, what a dead or interrupted call left is taken over by renaming it, so it has one owner.
    """

    def __init__(self, resource: Resource, folder: Path, bar: tqdm[Any], *, resume: bool) -> None:
        self.resource, self.folder, self.bar = resource, folder, bar
        self.prefix = f"{resource.name}.part-"
        self.path = folder / f"{self.prefix}{tag()}"
        self.resume = resume
        self.resumed = False
        self.hasher = Hasher(sha256=bool(resource.sha256))
        for left in abandoned(folder, self.prefix) if resume else ():
            try:
                left.replace(self.path)
            except FileNotFoundError:
                continue  # another process was first
        self._take_over()
        self.file = self.path.open("ab")

    def _take_over(self) -> None:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            while block := file.read(BLOCK):
                self.hasher.update(block)
        self.resumed = self.hasher.size > 0
        self.bar.update(self.hasher.size)

    def restart(self) -> None:
        """Drop what is there."""
        self.file.truncate(0)
        self.hasher = Hasher(sha256=bool(self.resource.sha256))
        self.resumed = False
        self.bar.reset()

    def fill(self, blocks: Blocks, announced: int | None) -> None:
        """Append a source's blocks; refuse at the first one what is not the kind of file it should be."""
        if self.hasher.size:
            self.resumed = True
        with closing(blocks):
            for block in blocks:
                if not self.hasher.size:
                    self._sniff(block)
                self.file.write(block)
                self.hasher.update(block)
                self.bar.update(len(block))
        self.file.flush()
        size = self.hasher.size
        if not size:
            raise _SourceError("empty body")
        if announced is not None and size != announced:
            raise _SourceError(f"{size:,} of {announced:,} bytes received", again=True)

    def _sniff(self, head: bytes) -> None:
        suffix = Path(self.resource.name).suffix.lower()
        if is_html(head) and suffix not in (".html", ".htm"):
            raise _SourceError("an HTML page, not the file")
        if not head.startswith(MAGIC.get(suffix, b"")):
            raise _SourceError(f"not a {suffix} file, it begins with {head[:8]!r}")

    def check_whole(self, verify: bool) -> None:
        """Refuse a file that is not the published one, and keep it as ``.bad``."""
        why = mismatch(self.resource, self.hasher.digest())
        if not (why and verify):
            return
        if self.resumed:  # the beginning may be of another version; what is whole is judged
            self.restart()
            raise _SourceError(f"{why} after resuming", again=True, wait=0)
        self.file.close()
        bad = set_aside(self.path, self.folder / self.resource.name)
        self.file = self.path.open("ab")
        self.restart()
        raise _SourceError(f"{why}, kept as {bad.name}")

    def finish(self, verify: bool, warn: Callable[[str], None]) -> Path:
        """Give the file its name. A wrong one that has it is set aside, one that just arrived there stays."""
        digest = self.hasher.digest()
        self.file.close()
        path = self.folder / self.resource.name
        if path.exists():
            if check(self.resource, self.folder, verify=verify).state == "ok":
                self.path.unlink()
                return path
            set_aside(path)
        publish(self.path, path)
        why = mismatch(self.resource, digest)
        if why:
            warn(f"{path} is used without verification: {why}, its MD5 is {digest.md5}")
        Ledger(self.folder).record(self.resource.name, path, digest.md5, not why, digest.sha256)
        return path

    def close(self) -> None:
        """Leave what arrived to the next call, or nothing if it could not be trusted then."""
        self.file.close()
        if not self.path.exists():
            return
        if self.resume and self.hasher.size:
            self.path.replace(self.folder / f"{self.prefix}{NOBODY}")
        else:
            self.path.unlink()
