"""Is a file what was published? Hash it once, remember the answer, say in words what is wrong."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from dvsprep.disk import BLOCK, set_aside, write_whole
from dvsprep.errors import HashMismatchError, ManualDownloadError, NotFoundError
from dvsprep.raw.resource import Resource
from dvsprep.raw.shared import is_shared

Progress = Callable[[int], object]  # called with the bytes done since the last call
State = Literal["ok", "missing", "partial", "wrong"]

LEDGER = ".dvsprep.json"
NO_HASH = "no published hash"
LOCK_WAIT = 10.0  # seconds
_writing = threading.Lock()


class Digest(NamedTuple):
    """What a file is: bytes and hashes (`sha256` only where one is published)."""

    size: int
    md5: str
    sha256: str | None = None


class Hasher:
    """Running size and hashes of a stream of blocks."""

    def __init__(self, *, sha256: bool = False) -> None:
        self.size = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256() if sha256 else None

    def update(self, block: bytes | memoryview) -> None:
        """Add the next block."""
        self.size += len(block)
        self._md5.update(block)
        if self._sha256:
            self._sha256.update(block)

    def digest(self) -> Digest:
        """Return what all blocks so far add up to."""
        return Digest(self.size, self._md5.hexdigest(), self._sha256.hexdigest() if self._sha256 else None)


def digest_file(path: Path, progress: Progress | None = None, *, sha256: bool = False) -> Digest:
    """Hash a file block by block; `progress` is called with the bytes of each block."""
    hasher = Hasher(sha256=sha256)
    buffer = memoryview(bytearray(4 * BLOCK))
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(buffer):
            hasher.update(buffer[:size])
            if progress:
                progress(size)
    return hasher.digest()


def md5_file(path: Path, progress: Progress | None = None) -> str:
    """Return a file's MD5 in lower-case hex; `progress` is called with the bytes of each block."""
    return digest_file(path, progress).md5


def mismatch(resource: Resource, digest: Digest) -> str:
    """Say how a file differs from what is published; empty when it does not."""
    if not (resource.md5 or resource.sha256):
        return NO_HASH
    facts = (
        ("MD5", resource.md5, digest.md5),
        ("SHA-256", resource.sha256, digest.sha256),
        ("size in bytes", resource.size, digest.size),
    )
    # Both as text in lower case: some pages print hashes in capitals. Some publish the first digits of a SHA-256 only.
    wrong = [
        (what, want, got)
        for what, want, got in facts
        if want is not None
        and str(want).lower() != (str(got)[: len(str(want))] if what == "SHA-256" and got else str(got))
    ]
    return "; ".join(f"{what}: expected {want}, got {got}" for what, want, got in wrong)


def is_html(head: bytes) -> bool:
    """Tell whether a file begins as a web page does: what servers send in place of a file they refuse."""
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:14].lower().startswith((b"<!doctype html", b"<html"))


class Entry(NamedTuple):
    """What the ledger knows of one file: its hashes, the stat under which they hold, and who says that they are right.

    `own` is True where the MD5 it was verified with is not the published one but one that a person gave.
    """

    md5: str
    size: int
    mtime_ns: int
    inode: int
    verified: bool
    sha256: str | None = None
    own: bool = False


def vouched(resource: Resource, entry: Entry | None) -> bool:
    """Tell whether a record is of the file as it is expected today, whatever was expected when it was written."""
    return entry is not None and not mismatch(resource, Digest(entry.size, entry.md5, entry.sha256))


class Ledger:
    """The hashes of a download folder's files, in ``.dvsprep.json`` there, so that 3 GB are hashed once.

    It is a memo: a broken one counts as empty, and a folder that cannot be written simply has none. An entry
    outlives its file, for the MD5 still tells which data was unpacked from it.

    Parameters
    ----------
    folder : Path
        Holds the files.
    beside : Path, optional
        The folder to write to instead, where `folder` is a shared one; what is known there goes before.
    """

    def __init__(self, folder: Path, beside: Path | None = None) -> None:
        self.path = (beside or folder) / LEDGER
        self.paths = tuple(dict.fromkeys((self.path, folder / LEDGER)))

    def get(self, name: str) -> Entry | None:
        """Return what was last recorded for a file, be the file still the same, still there, or not."""
        return self.entries().get(name)

    def fresh(self, name: str, path: Path) -> Entry | None:
        """Return the record if the file has not been touched since."""
        stat = path.stat()
        for ledger in self.paths:
            entry = _load(ledger).get(name)
            if entry is not None and entry[1:4] == (stat.st_size, stat.st_mtime_ns, stat.st_ino):
                return entry
        return None

    def record(
        self, name: str, path: Path, md5: str, verified: bool, sha256: str | None = None, *, own: bool = False
    ) -> None:
        """Remember the hash of the file at `path`, and whether it is the published one, or a person's `own`."""
        if is_shared(self.path):
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            stat = path.stat()
            self.put(name, Entry(md5, stat.st_size, stat.st_mtime_ns, stat.st_ino, verified, sha256, own))
        except OSError:
            return  # a read-only or full folder: the file will be hashed again, nothing else is lost

    def put(self, name: str, entry: Entry) -> None:
        """Remember an entry, also of a file that is not here."""
        with _writing, _locked(self.path):
            entries = _load(self.path)
            if entries.get(name) == entry:
                return
            entries[name] = entry
            text = json.dumps({key: entries[key]._asdict() for key in sorted(entries)}, indent=2)
            write_whole(self.path, text.encode())

    def entries(self) -> dict[str, Entry]:
        """Return all that is known."""
        return {name: entry for path in reversed(self.paths) for name, entry in _load(path).items()}


def _load(ledger: Path) -> dict[str, Entry]:
    try:
        return {name: Entry(**fields) for name, fields in json.loads(ledger.read_bytes()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


@contextmanager
def _locked(ledger: Path) -> Iterator[None]:
    """Keep other processes from writing meanwhile, as far as this disk has locks: it is only a memo."""
    from filelock import FileLock

    lock = FileLock(ledger.with_name(f"{ledger.name}.lock"), timeout=LOCK_WAIT)
    try:
        if not is_shared(ledger):
            lock.acquire()
    except (OSError, NotImplementedError):
        pass
    try:
        yield
    finally:
        lock.release()


class Verdict(NamedTuple):
    """What a file turned out to be; `why` says expected and got, `md5` is the actual one if it was hashed."""

    name: str
    state: State
    why: str
    md5: str | None
    path: Path


def check(
    resource: Resource,
    folder: Path,
    *,
    verify: bool = True,
    progress: Progress | None = None,
    ledger: Ledger | None = None,
) -> Verdict:
    """Judge one file of a download folder; hashes it only if it changed since the last time.

    A file without any published hash is "wrong" unless `verify` is False. A file that is too short is hashed
    only if `verify` is False: whoever accepts it needs to know its MD5. Once
    accepted it counts as whole.
    """
    path = folder / resource.name

    def verdict(state: State, why: str, md5: str | None = None) -> Verdict:
        return Verdict(resource.name, state, why, md5, path)

    if not path.exists():
        beside = sorted(folder.iterdir()) if folder.is_dir() else []
        parts = [other for other in beside if other.name.startswith(f"{resource.name}.part")]
        if not parts:
            return verdict("missing", f"expected {path}")
        try:
            size = parts[0].lstat().st_size
        except FileNotFoundError:  # another process has just finished it, or joined it to its own part
            return check(resource, folder, verify=verify, progress=progress, ledger=ledger)
        return verdict("partial", f"only {parts[0].name} is there ({size:,} bytes)")
    if not path.is_file():
        return verdict("wrong", "expected a file, got a folder or device")
    size = path.stat().st_size
    short = resource.size is not None and size < resource.size
    ledger = ledger or Ledger(folder)
    entry = ledger.fresh(resource.name, path)
    if short and verify and entry is None:
        return verdict("partial", f"size in bytes: expected {resource.size}, got {size}")

    if entry and (entry.sha256 or not resource.sha256):
        digest = Digest(entry.size, entry.md5, entry.sha256)
    else:
        digest = digest_file(path, progress, sha256=bool(resource.sha256))
    why = mismatch(resource, digest)
    if not (why and verify):  # a file about to be set aside must not become this name's record
        ledger.record(resource.name, path, digest.md5, not why, digest.sha256, own=not (why or resource.published))
    if why and not (why == NO_HASH and not verify):
        return verdict("partial" if short and entry is None else "wrong", why, digest.md5)
    return verdict("ok", why, digest.md5)


def require(
    resources: Iterable[Resource],
    folder: Path,
    *,
    verify: bool = True,
    warn: Callable[[str], None],
    progress: Progress | None = None,
    ledger: Ledger | None = None,
) -> dict[str, str]:
    """Return {file name: actual MD5} of all files that are not optional, or raise.

    Raises
    ------
    HashMismatchError
        A file is not the published one; it has been set aside as ``.bad``.
    ManualDownloadError, NotFoundError
        Files are missing or shorter than published.
    """
    ledger = ledger or Ledger(folder)
    pairs = [(r, check(r, folder, verify=verify, progress=progress, ledger=ledger)) for r in resources]
    for resource, verdict in pairs:
        if resource.optional and verdict.state in ("partial", "wrong") and verdict.why != NO_HASH:
            warn(f"{verdict.path}: {verdict.why} (an optional file, not used)")
    needed = [(resource, verdict) for resource, verdict in pairs if not resource.optional]
    wrong = [verdict for _, verdict in needed if verdict.state == "wrong" and (verify or not verdict.md5)]
    if wrong:
        raise _set_aside(wrong, ledger)
    absent = [(resource, verdict) for resource, verdict in needed if verdict.md5 is None]
    if absent:
        raise _absent(absent, folder)
    for _, verdict in needed:
        if verdict.why:
            warn(f"{verdict.path} is used without verification: {verdict.why}")
    return {verdict.name: verdict.md5 for _, verdict in needed if verdict.md5}


def _set_aside(verdicts: list[Verdict], ledger: Ledger) -> HashMismatchError:
    told, kept = [], 0
    for verdict in verdicts:
        text = f"{verdict.path}: {verdict.why}"
        accepted = ledger.fresh(verdict.name, verdict.path)
        if verdict.why == NO_HASH or accepted:  # nothing says that it is bad, or somebody said that it is good
            told.append(f"{text}, its MD5 is {verdict.md5}" if not accepted else f"{text} (accepted before)")
            kept += 1
            continue
        if verdict.md5:
            with verdict.path.open("rb") as file:
                text += ", it is an HTML page" if is_html(file.read(64)) else ""
            text += f", it has {verdict.path.stat().st_size:,} bytes"
        if is_shared(verdict.path):
            told.append(f"{text}, left where it is in a shared root")
            continue
        try:
            told.append(f"{text}, set aside as {set_aside(verdict.path).name}")
        except OSError as error:
            told.append(f"{text}, could not be set aside: {error.strerror}")
    hint = "download it again; if you trust it as it is, rename it back and pass --no-verify"
    if kept == len(verdicts):
        hint = "pass --no-verify to use them as they are" if len(told) > 1 else "pass --no-verify to use it as it is"
    message, details = _summary("are not what was published", [v.name for v in verdicts], told)
    return HashMismatchError(message, hint=hint, details=details)


def _summary(what: str, names: Sequence[str], told: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Return an error's line and its details: one file is told in the line, of several each has a line of its own."""
    if len(told) == 1:
        return told[0], ()
    return f"{len(told)} files {what}: {', '.join(names)}", told


def _absent(pairs: list[tuple[Resource, Verdict]], folder: Path) -> NotFoundError:
    told = [f"{resource.describe()}: {verdict.state}, {verdict.why}" for resource, verdict in pairs]
    message, details = _summary(f"are not in {folder}", [resource.name for resource, _ in pairs], told)
    if not details:
        message = f"{folder}: {message}"
    bad = [resource.name for resource, _ in pairs if (folder / f"{resource.name}.bad").exists()]
    if bad:
        hint = f"{bad[0]}.bad lies there: if you trust it, rename it back and pass --no-verify"
    else:
        pages = dict.fromkeys(resource.page for resource, _ in pairs if resource.page)
        hint = f"get it from {', '.join(pages) or 'its source'} and put it there, or run dvsprep adopt on it"
    manual = any(not resource.urls for resource, _ in pairs)
    return (ManualDownloadError if manual else NotFoundError)(message, hint=hint, details=details)
