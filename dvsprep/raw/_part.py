"""A download that is not whole yet: on disk, hashed as far as it goes, owned by one call, left to the next."""

from __future__ import annotations

import glob
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvsprep.disk import BLOCK, NOBODY, abandoned, publish, set_aside, tag, write_whole
from dvsprep.raw._http import Blocks
from dvsprep.raw._source import HEAD, Source, SourceError, sniff
from dvsprep.raw.resource import Resource
from dvsprep.raw.verify import Hasher, Ledger, check, mismatch

if TYPE_CHECKING:
    from tqdm import tqdm


class Part:
    """A file ``<name>.part-<tag>`` of this call alone, and beside it which version of what it is the beginning of.

    If the hash at the end decides (`verify`, and one is published), what a dead or interrupted call left is taken
    over by renaming it, so it has one owner.
    """

    def __init__(self, resource: Resource, folder: Path, bar: tqdm[Any], *, verify: bool) -> None:
        self.resource, self.folder, self.bar, self.verify = resource, folder, bar, verify
        self.decided = verify and bool(resource.md5 or resource.sha256)
        self.prefix = f"{resource.name}.part-"
        self.path = folder / f"{self.prefix}{tag()}"
        self.resumed = False
        self.origin, self.validator = "", ""
        self.hasher = Hasher(sha256=bool(resource.sha256))
        if self.decided:
            self._claim()
        self.file = self.path.open("ab", buffering=0)  # what arrived is on disk, whoever kills us

    @property
    def size(self) -> int:
        """Bytes that are here."""
        return self.hasher.size

    # -- from one call to the next --

    def _claim(self) -> None:
        """Take over the longest of what was left: a rename has one winner."""
        for left in sorted(abandoned(self.folder, self.prefix), key=_length):
            try:
                left.replace(self.path)
            except FileNotFoundError:
                continue  # another process was first
            _note(self.path).unlink(missing_ok=True)
            try:
                _note(left).replace(_note(self.path))
            except FileNotFoundError:
                continue  # its bytes are as good, the hash decides
        if not self.path.exists():
            return
        note = _read(_note(self.path))
        if note.get("expects", self._expects()) != self._expects():
            self.path.unlink()  # the beginning of another version
            _note(self.path).unlink()
            return
        self.origin, self.validator = note.get("url", ""), note.get("validator", "")
        with self.path.open("rb") as file:
            while block := file.read(BLOCK):
                self.hasher.update(block)
        self.resumed = self.size > 0
        self.bar.update(self.size)

    def _expects(self) -> str:
        return str(self.resource.md5 or self.resource.sha256).lower()

    def close(self) -> None:
        """Leave what arrived to the next call, or nothing if it could not be trusted then."""
        self.file.close()
        left = self.folder / f"{self.prefix}{NOBODY}"
        if self.path.exists():
            if self.decided and self.size > _length(left):
                self.path.replace(left)
                if _note(self.path).exists():
                    _note(self.path).replace(_note(left))
            else:
                self.path.unlink()
        for note in self.folder.glob(f".{glob.escape(self.prefix)}*.json"):
            if not (self.folder / note.name[1:].removesuffix(".json")).exists():
                note.unlink(missing_ok=True)

    # -- filling it --

    def asks(self, source: Source) -> dict[str, str]:
        """Return the headers that ask a source for the rest: of the same version, or of any if the hash decides."""
        same = self.validator if source.url == self.origin else ""
        if not self.size or source.whole or not (same or self.decided):
            return {}
        return {"Range": f"bytes={self.size}-"} | ({"If-Range": same} if same else {})

    def restart(self) -> None:
        """Drop what is here."""
        self.file.truncate(0)
        self.hasher = Hasher(sha256=bool(self.resource.sha256))
        self.resumed = False
        self.bar.reset()

    def _append(self, block: bytes) -> None:
        rest = memoryview(block)
        try:
            while rest:  # an unbuffered write may take a part
                rest = rest[self.file.write(rest) :]
        except OSError as error:  # which does not say what it was that could not be written
            raise OSError(error.errno, error.strerror, str(self.folder / self.resource.name)) from error
        self.hasher.update(block)
        self.bar.update(len(block))

    def fill(self, source: Source, blocks: Blocks, total: int | None, *, start: int = 0, validator: str = "") -> None:
        """Append a source's blocks, from byte `start` on; nothing is dropped before something better begins to arrive.

        Parameters
        ----------
        total : int, optional
            Bytes of the whole file as the source announces them.
        """
        self.resumed = self.resumed and start > 0
        expected = self.resource.size if self.verify else None
        first = True
        with closing(_with_head(blocks)) as whole:
            for block in whole:
                source.received += len(block)
                if first and not start:
                    sniff(self.resource.name, block)
                if first and None not in (total, expected) and total != expected:
                    raise SourceError(f"announces {total:,} bytes, expected {expected:,}")
                if first and not start:
                    self._begin(source.url, validator)
                self.resumed, first = self.resumed or start > 0, False
                if expected is not None and self.size + len(block) > expected:
                    self.restart()
                    raise SourceError(f"sends more than the {expected:,} bytes expected")
                self._append(block)
        if first:
            raise SourceError("empty body")
        wanted = total if expected is None else expected
        if wanted is not None and self.size < wanted:
            raise SourceError(f"{self.size:,} of {wanted:,} bytes received", again=True)

    def _begin(self, url: str, validator: str) -> None:
        if self.size:
            self.restart()
        self.origin, self.validator = url, validator
        if self.decided:
            note = {"url": url, "validator": validator, "expects": self._expects()}
            write_whole(_note(self.path), json.dumps(note).encode())

    # -- ending it --

    def is_right(self) -> bool:
        """Tell whether all is here, whatever a source said of the length."""
        return self.decided and not mismatch(self.resource, self.hasher.digest())

    def check_whole(self) -> None:
        """Refuse a file that is not the published one, and keep it as ``.bad``."""
        why = mismatch(self.resource, self.hasher.digest())
        if not (why and self.verify):
            return
        if self.resumed:  # the beginning may be of another version; what is whole is judged
            self.restart()
            raise SourceError(f"{why} after resuming", again=True, wait=0)
        self.file.close()
        bad = set_aside(self.path, self.folder / self.resource.name)
        self.file = self.path.open("ab", buffering=0)
        self.restart()
        raise SourceError(f"{why}, kept as {bad.name}")

    def finish(self, warn: Callable[[str], None]) -> Path:
        """Give the file its name. A wrong one that has it is set aside, one that just arrived there stays."""
        digest = self.hasher.digest()
        self.file.close()
        path = self.folder / self.resource.name
        if path.exists():
            if check(self.resource, self.folder, verify=self.verify).state == "ok":
                self.path.unlink()
                return path
            set_aside(path)
        publish(self.path, path)
        why = mismatch(self.resource, digest)
        if why:
            warn(f"{path} is used without verification: {why}, its MD5 is {digest.md5}")
        own = not (why or self.resource.published)
        Ledger(self.folder).record(self.resource.name, path, digest.md5, not why, digest.sha256, own=own)
        return path


def _note(part: Path) -> Path:
    return part.with_name(f".{part.name}.json")


def _read(note: Path) -> dict[str, str]:
    try:
        found = json.loads(note.read_bytes())
    except (OSError, ValueError):
        return {}
    return {k: v for k, v in found.items() if isinstance(v, str)} if isinstance(found, dict) else {}


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _with_head(blocks: Blocks) -> Blocks:
    """Join the first blocks, for a server may send byte by byte; what came before a cut comes before its error."""
    head, cut = b"", None
    with closing(blocks):
        try:
            for block in blocks:
                head += block
                if len(head) >= HEAD:
                    break
        except SourceError as error:
            cut = error
        if head:
            yield head
        if cut:
            raise cut
        yield from blocks
