"""Connections that make no progress are closed: half-open ones, requests that never end, readers that never read.

And those of requests that are too large, before the service sees any of them: httptools keeps a head (and what may
follow a body in chunks) of any size in memory. h11 has limits of its own.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Base = Any
elif importlib.util.find_spec("httptools"):
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as Base
else:
    from uvicorn.protocols.http.h11_impl import H11Protocol as Base

MAX_HEAD = 64 << 10  # bytes of a request's line and headers
MAX_REQUEST = 8 << 20  # bytes with its body (of 1 MiB at most) and, around each of its chunks, the chunk's length
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class _Counted:
    """A transport that knows how much was given to it."""

    def __init__(self, transport: Any) -> None:
        self._transport, self.given = transport, 0

    def write(self, data: bytes) -> None:
        self.given += len(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Patient(Base):  # type: ignore[misc]
    """uvicorn's HTTP protocol, which frees idle connections between two requests only; large answers need more.

    Attributes
    ----------
    patience : float
        Seconds without a byte in either direction, after which a connection is closed.
    """

    patience = 30.0

    def connection_made(self, transport: Any) -> None:
        """Begin to look at the connection every so often."""
        super().connection_made(_Counted(transport))
        self._received, self._seen = 0, (-1, -1)
        self._begun, self._in_head = 0, False
        self._look = self.loop.call_later(self.patience, self._check)

    def data_received(self, data: bytes) -> None:
        """Count what comes; of a request, from the block after the one that it began in."""
        self._received += len(data)
        super().data_received(data)
        if self._received - self._begun > (MAX_HEAD if self._in_head else MAX_REQUEST):
            if self._in_head:
                self.transport.write(TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """Begin to count anew; httptools calls this, and the next."""
        super().on_message_begin()
        self._begun, self._in_head = self._received, True

    def on_headers_complete(self) -> None:
        """Allow as much as a body may be, too."""
        self._in_head = False
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        self._look.cancel()
        super().connection_lost(exc)

    def _check(self) -> None:
        left = self.transport.get_write_buffer_size()
        seen = self._received, self.transport.given - left
        cycle = self.cycle
        # An answer that is being made, and of which all so far has gone out, is our own to be slow with.
        busy = cycle is not None and not cycle.response_complete and not cycle.more_body and left == 0
        if not busy and seen == self._seen:
            self.transport.abort()
            return
        self._seen = seen
        self._look = self.loop.call_later(self.patience, self._check)
