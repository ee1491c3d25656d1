"""One source at work: what it answered, what a web page in place of the file is, and why it failed."""

from __future__ import annotations

from dataclasses import dataclass

from dvsprep.raw.sources import is_local, shown
from dvsprep.raw.verify import is_html

HEAD = 4096  # bytes enough to tell what a body is
# By suffix; other names are taken as they come.
_ZIP, _HDF5 = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"), (b"\x89HDF\r\n\x1a\n",)
MAGIC: dict[str, tuple[bytes, ...]] = {
    ".zip": _ZIP,
    ".npz": _ZIP,
    ".gz": (b"\x1f\x8b",),
    ".tgz": (b"\x1f\x8b",),
    ".bz2": (b"BZh",),
    ".xz": (b"\xfd7zXZ\x00",),
    ".h5": _HDF5,
    ".hdf5": _HDF5,
}
_CHALLENGE = (b"captcha", b"awswaf", b"challenge", b"just a moment", b"not a robot")
_LOGIN = (b"password", b"log in", b"login", b"sign in", b"signin")


class SourceError(Exception):
    """Why a source did not give the file; `again` if it may give it later, after `wait` seconds if that is known."""

    def __init__(self, reason: str, *, again: bool = False, wait: float | None = None) -> None:
        super().__init__(reason)
        self.again, self.wait = again, wait


@dataclass
class Source:
    """What is known of a source while it is used.

    Parameters
    ----------
    status : int, optional
        The last HTTP status.
    received : int
        Bytes it sent, all attempts together.
    most : int
        The most bytes of the file that were here at once.
    whole : bool
        It cannot resume: ask for all of the file.
    """

    url: str
    status: int | None = None
    received: int = 0
    most: int = 0
    whole: bool = False

    def describe(self, reason: object) -> str:
        """Return its line in the final error: URL, reason, status, bytes."""
        answer = "" if is_local(self.url) else f"HTTP {self.status}, " if self.status else "no answer, "
        return f"{shown(self.url)}: {reason} ({answer}{self.received:,} bytes)"


def has_magic(name: str, head: bytes) -> bool | None:
    """Tell whether `head` begins as a file of this name does; None if the name says nothing of it."""
    kinds = next((kinds for suffix, kinds in MAGIC.items() if name.lower().endswith(suffix)), None)
    # A connection may be cut within the magic bytes: what is there has to fit.
    return None if kinds is None else any(head[: len(kind)] == kind[: len(head)] for kind in kinds)


def page(head: bytes) -> str:
    """Name the kind of web page that came instead of a file; empty if it is none."""
    if not is_html(head):
        return ""
    text = head.lower()
    if any(word in text for word in _CHALLENGE):
        return "bot challenge, an HTML page"
    return "login page, in HTML" if any(word in text for word in _LOGIN) else "an HTML page, not the file"


def sniff(name: str, head: bytes) -> None:
    """Refuse a body that does not begin as a file of this name does."""
    if (kind := page(head)) and not name.lower().endswith((".html", ".htm")):
        raise SourceError(kind)
    if has_magic(name, head) is False:
        raise SourceError(f"not a .{name.rpartition('.')[2]} file, it begins with {head[:8]!r}")
