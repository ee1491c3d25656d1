"""Requests to a cache service: tried again where that may help, answered in dvsprep's own errors."""

from __future__ import annotations

import io
import logging
import os
import random
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import numpy as np

from dvsprep import raw
from dvsprep.errors import (
    BackendError,
    DiskError,
    DvsprepError,
    FetchError,
    IncompleteError,
    IntegrityError,
    NotFoundError,
    UsageError,
)
from dvsprep.types import Array
from dvsprep.version import __version__

if TYPE_CHECKING:
    import requests

PATIENCE = 120.0  # seconds that a service may be away; it was restarted, or the network was down
AT_FIRST = 20.0  # that one may be away which never answered: the address may be wrong
TIMEOUT = (10.0, 60.0)  # to connect, and without a byte
LONGEST_PAUSE = 5.0
AGAIN = frozenset({408, 425, 429, 502, 503, 504})
ERRORS: dict[int, type[DvsprepError]] = {
    kind.exit_code: kind
    for kind in (UsageError, NotFoundError, FetchError, IntegrityError, DiskError, IncompleteError, BackendError)
}
_CACHE = re.compile(r"/v1/caches/[^/]+/?$")
T = TypeVar("T")
log = logging.getLogger("dvsprep.remote")


class TooMuchError(UsageError):
    """An answer that the service finds too large; half of it may do."""


class Link:
    """One cache of a service, by its address.

    Parameters
    ----------
    url : str
        ``http(s)://HOST[:PORT]/v1/caches/ID``; a password in it, or in ``~/.netrc``, is sent as HTTP Basic does.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme.lower() not in ("http", "https") or not parts.hostname or not _CACHE.search(parts.path):
            raise UsageError(f"{shown(url)}: expected the address of a cache, http://HOST:PORT/v1/caches/ID")
        self.url = urlunsplit(parts._replace(query="", fragment="")).rstrip("/")
        self.version: str | None = None  # of the cache; once known, no other one is taken for it
        self._sessions: dict[int, requests.Session] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_sessions": {}}

    def __str__(self) -> str:
        return shown(self.url)

    def _session(self) -> requests.Session:
        pid = os.getpid()  # two processes must not share a connection
        if pid not in self._sessions:
            import requests
            from requests.adapters import HTTPAdapter

            session = requests.Session()
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(pool_maxsize=32))
            session.headers.update({"User-Agent": f"dvsprep/{__version__}", "Accept-Encoding": "identity"})
            self._sessions.setdefault(pid, session)
        return self._sessions[pid]

    def json(self, path: str = "") -> dict[str, Any]:
        """Return an answer's JSON object."""
        return self.ask(path, read=_json)

    def array(self, name: str) -> Array:
        """Return an array of one value a sample."""
        found = self.ask(f"/arrays/{name}", {"Accept": "application/x-npy"}, read=_array)
        return np.char.decode(found, "utf-8") if found.dtype.kind == "S" else found

    def ask(
        self,
        path: str = "",
        headers: Mapping[str, str] | None = None,
        *,
        body: Any = None,
        read: Callable[[bytes], T],
    ) -> T:
        """Send a request until it is answered, ``PATIENCE`` seconds at most; return what ``read`` makes of it.

        Raises
        ------
        FetchError
            The service cannot be reached.
        DvsprepError
            As the service says.
        """
        raw.guard_network([str(self)])
        patience = PATIENCE if self.version else min(PATIENCE, AT_FIRST)
        end, pause, told = time.monotonic() + patience, 0.1, False
        while True:
            try:
                return read(self._once(path, dict(headers or {}), body))
            except _PassingError as error:
                if time.monotonic() + error.wait > end:
                    raise FetchError(f"{self}: {error}", hint="is `dvsprep serve` running there?") from error
                if not told:
                    log.warning("%s: %s; trying again for %.0f s", self, error, end - time.monotonic())
                    told = True
                time.sleep(max(error.wait, pause * random.uniform(0.5, 1.5)))  # noqa: S311 - not all at once
                pause = min(2 * pause, LONGEST_PAUSE)

    def _once(self, path: str, headers: dict[str, str], body: Any) -> bytes:
        if self.version is not None:
            headers["If-Match"] = f'"{self.version}"'
        answer, content = self._sent(path, headers, body)
        if answer.status_code == 200:
            return content
        raise self._error(answer, content)

    def _sent(self, path: str, headers: dict[str, str], body: Any) -> tuple[requests.Response, bytes]:
        """Return an answer and its body; what the network does to it may pass."""
        import requests

        try:
            with self._session().request(
                "GET" if body is None else "POST", self.url + path,
                headers=headers, json=body, timeout=TIMEOUT, stream=True, allow_redirects=False,
            ) as answer:  # fmt: skip
                # In one piece: requests would join it of blocks of 10 kB.
                content: bytes = answer.raw.read(decode_content=False)
        except requests.exceptions.SSLError as error:
            hint = "REQUESTS_CA_BUNDLE=FILE.pem names a certificate authority of your own"
            raise FetchError(f"{self}: {_words(error)}", hint=hint) from error
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            raise _PassingError(_words(error)) from error
        except requests.RequestException as error:
            raise FetchError(f"{self}: {_words(error)}") from error
        except _broken() as error:
            raise _PassingError(f"connection lost: {error}") from error
        length = answer.headers.get("Content-Length")
        if length is not None and int(length) != len(content):
            raise _PassingError(f"{len(content):,} of {length} bytes came")
        return answer, content

    def _error(self, answer: requests.Response, content: bytes) -> Exception:
        if answer.status_code in AGAIN:
            wait = answer.headers.get("Retry-After", "0")
            return _PassingError(f"HTTP {answer.status_code}", float(wait) if wait.isdecimal() else 0.0)
        try:
            told = _json(content)
            message, hint, code = str(told["detail"]), told.get("hint"), int(told["exit_code"])
        except (IntegrityError, KeyError, ValueError, TypeError):
            kind = answer.headers.get("Content-Type", "nothing")
            return NotFoundError(f"{self}: no service of dvsprep: HTTP {answer.status_code}, {kind}")
        if answer.status_code == 413:
            return TooMuchError(message, hint=hint)
        if answer.status_code == 401:
            host = urlsplit(self.url).hostname
            hint = f"a line `machine {host} login x password TOKEN` in ~/.netrc gives it"
        return ERRORS.get(code, DvsprepError)(f"{self}: {message}", hint=hint)


class _PassingError(Exception):
    """What may be over in a moment; ``wait`` are the seconds that the service asks for."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


def _broken() -> tuple[type[Exception], ...]:
    from urllib3.exceptions import HTTPError

    return (HTTPError, OSError)


def _words(error: Exception) -> str:
    inner = error.args[0] if error.args else error
    return str(getattr(inner, "reason", inner)).rpartition(">: ")[2]


def _json(content: bytes) -> dict[str, Any]:
    import json

    try:
        found = json.loads(content)
    except ValueError as error:
        raise IntegrityError(f"the answer is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise IntegrityError("the answer is no JSON object")
    return found


def _array(content: bytes) -> Array:
    try:
        found: Array = np.load(io.BytesIO(content), allow_pickle=False)
    except ValueError as error:
        raise IntegrityError(f"the answer is no .npy file: {error}") from None
    return found


def shown(url: str) -> str:
    """Return an address as it may be printed: without user name and password."""
    from dvsprep.raw.sources import shown

    return shown(url)
