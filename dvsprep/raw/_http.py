"""One HTTP request and its answer, in terms of a file: redirects, ranges, validators, and what a refusal means."""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from dvsprep.disk import BLOCK
from dvsprep.raw._source import HEAD, Source, SourceError, page

if TYPE_CHECKING:
    import requests

Blocks = Generator[bytes, None, None]

MAX_REDIRECTS = 10
CHALLENGE = ("x-amzn-waf-action", "cf-mitigated")  # headers of the answers of AWS and Cloudflare
RETRY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


def get(
    session: requests.Session, source: Source, headers: Mapping[str, str], timeout: tuple[float, float]
) -> requests.Response:
    """Open a URL, following redirects ourselves, for requests would follow one from https to http."""
    import requests

    url, source.status = source.url, None
    asked = {"Accept-Encoding": "identity", "User-Agent": "dvsprep", **headers}
    try:
        for _ in range(MAX_REDIRECTS + 1):
            response = session.get(url, headers=asked, timeout=timeout, stream=True, allow_redirects=False)
            source.status = response.status_code
            if not response.is_redirect:
                return response
            response.close()
            url = redirect_target(url, response.headers["Location"])
    except requests.RequestException as error:
        lasting = isinstance(error, requests.exceptions.InvalidSchema | requests.exceptions.InvalidURL)
        raise SourceError(_told(error), again=not lasting) from error
    raise SourceError(f"more than {MAX_REDIRECTS} redirects")


def _told(error: Exception) -> str:
    """Put an error of requests in a few words: it wraps those of urllib3, which wrap those of the system."""
    import requests

    if isinstance(error, requests.exceptions.ReadTimeout):
        return "stalled: no answer in time"
    inner = error.args[0] if error.args else error
    text = str(getattr(inner, "reason", inner))
    return f"{type(error).__name__}: {re.sub(r'^<?[A-Za-z]+[(][^)]*[)]>?: ', '', text)}"


def redirect_target(url: str, location: str) -> str:
    """Return where a redirect leads; refuse one that leaves http(s), or https for http."""
    try:
        target = urljoin(url, location)
        before, after = urlsplit(url).scheme, urlsplit(target).scheme
    except ValueError as error:
        raise SourceError(f"redirects to {location!r}: {error}") from error
    if after not in ("http", "https") or (before == "https" and after == "http"):
        raise SourceError(f"redirects from {before} to {target}, which is not followed")
    return target


def refusal(response: requests.Response, source: Source) -> SourceError | None:
    """Return what an answer without the file means, or None if it is the file, or the range asked for."""
    status = response.status_code
    challenge = [f"{name}: {response.headers[name]}" for name in CHALLENGE if name in response.headers]
    if not challenge and (status == 200 or (status == 206 and "Range" in response.request.headers)):
        return None
    head = b""
    try:
        for block in body(response):
            head += block
            if len(head) >= HEAD:
                break
    except SourceError:
        pass  # why it was cut does not matter: it was not the file
    source.received += len(head)
    if challenge:
        return SourceError(f"bot challenge ({challenge[0]})")
    if status == 202:
        return SourceError("not the file yet" if head else "bot challenge (an empty answer)")
    kind = page(head)
    reason = kind if "challenge" in kind or "login" in kind else response.reason or "refused"
    return SourceError(reason, again=status in RETRY_STATUS, wait=_retry_after(response))


def _retry_after(response: requests.Response) -> float | None:
    """Return the seconds that a server asks to wait, given as such or as a date."""
    text = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def validator(response: requests.Response) -> str:
    """Return what ``If-Range`` takes to name this version of the file: a strong ETag, else Last-Modified, else ''."""
    etag = response.headers.get("ETag", "")
    return etag if re.fullmatch(r'"[^"]*"', etag) else response.headers.get("Last-Modified", "")


def extent(response: requests.Response) -> tuple[int, int | None]:
    """Return the first byte that an answer holds, and the length that it announces for the whole file."""
    span = re.fullmatch(
        r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", response.headers.get("Content-Range", "").strip()
    )
    text = response.headers.get("Content-Length", "")
    if response.status_code != 206:
        return 0, int(text) if re.fullmatch("[0-9]{1,18}", text) else None
    if span is None:
        return -1, None
    return int(span[1]), int(span[3]) if span[3] != "*" else None


def body(response: requests.Response) -> Blocks:
    """Yield the bytes as sent and as they come, so that nothing that arrived is lost when the connection is.

    Some servers call a .tar.gz a gzip-encoded tar, which must not be undone.
    """
    from urllib3.exceptions import HTTPError, ReadTimeoutError

    try:
        if not hasattr(response.raw, "read1"):  # urllib3 1
            yield from response.raw.stream(BLOCK // 16, decode_content=False)
            return
        while block := response.raw.read1(BLOCK, decode_content=False):
            yield block
    except ReadTimeoutError as error:
        raise SourceError("stalled: no byte in time", again=True) from error
    except HTTPError as error:
        raise SourceError(f"connection lost: {error}", again=True) from error
