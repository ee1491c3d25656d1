"""Archives that need not be extracted: members as paths, and zips, whose members are inflated when they are asked for.

What :func:`dvsprep.raw.extract` refuses is refused here too: unsafe names, links, encryption, more bytes than allowed,
and whatever does not have the size and the checksum that the archive states.
"""

from __future__ import annotations

import functools
import os
import struct
import threading
import weakref
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol, Self, cast

from dvsprep.errors import ArchiveError
from dvsprep.raw.extract import GIB, MAX_MEMBERS, Meter, RefusedError, Telling, parts_of, plain, reading, twice


def inflate_with_zlib(packed: bytes, size: int) -> bytes:
    """Inflate a raw deflate stream; of more than ``size`` bytes only one more comes out."""
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, size + 1)


_inflate_raw: Callable[[bytes, int], bytes | bytearray] = inflate_with_zlib
_crc32: Callable[..., int] = zlib.crc32
_DAMAGED: tuple[type[Exception], ...] = (zlib.error,)
try:
    import deflate
except ImportError:
    pass
else:
    _inflate_raw, _crc32, _DAMAGED = deflate.deflate_decompress, deflate.crc32, (deflate.DeflateError,)

LOCAL = struct.Struct("<4s22xHH")  # of a member's own header: magic, bytes of the name, bytes of extra fields
SPARE = 64  # bytes; most extra fields are shorter


class Entry(NamedTuple):
    """Where a member lies in its archive: byte of its header, bytes there, bytes and CRC-32 of what comes out."""

    at: int
    packed: int
    size: int
    crc: int
    method: int
    name: str  # as the archive has it


class Sized(Protocol):
    """What is known of every file in an archive."""

    @property
    def size(self) -> int:
        """Bytes of the file."""


class Listing(ABC):
    """An archive as its members see it: what is in it, by name, and what each file holds."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, path: Path) -> Self:
        """Return the archive at ``path``, one for all who ask while the file stays as it is."""
        stat = path.stat()
        return cast(Self, _shared(cls, path, stat.st_size, stat.st_mtime_ns, stat.st_ino))

    @property
    @abstractmethod
    def entries(self) -> Mapping[str, Sized]:
        """Every file by name, in order of names level by level."""

    @abstractmethod
    def read(self, name: str) -> bytes | bytearray:
        """Return what a member holds, checked as far as the archive states checksums."""

    @cached_property
    def folders(self) -> Mapping[str, list[str]]:
        """The names in every folder by the folder's path, "" for the archive itself."""
        folders: dict[str, dict[str, None]] = {"": {}}
        for path in self.entries:
            at = path
            while at:
                above, _, name = at.rpartition("/")
                known = above in folders
                folders.setdefault(above, {})[name] = None
                if known:
                    break
                at = above
        with Telling(self.path):
            if both := next((path for path in folders if path in self.entries), None):
                raise twice(both)
        return {path: sorted(names) for path, names in folders.items()}


@functools.lru_cache(64)
def _shared(kind: type[Listing], path: Path, size: int, mtime_ns: int, inode: int) -> Listing:  # noqa: ARG001
    return kind(path)


def level_by_level(name: str) -> list[str]:
    """Return the sort key of a listing."""
    return name.split("/")


class Archive(Listing):
    """A zip archive; its listing is read, and vetted, when it is first looked at.

    Raises
    ------
    ArchiveError
        It is broken, or holds what an archive of data has no need of.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Callable[[Path], Archive], tuple[Path]]:
        return Archive.of, (self.path,)  # a worker process looks for itself

    @cached_property
    def entries(self) -> Mapping[str, Entry]:
        """Every file by name, in order of names level by level."""
        size = self.path.stat().st_size
        found: dict[str, Entry] = {}
        with Telling(self.path), reading(), zipfile.ZipFile(self.path) as pack:
            meter = Meter(GIB + 100 * size, MAX_MEMBERS)
            for info in pack.infolist():
                if not plain(info, meter):
                    continue
                meter.add(info.file_size)
                name = "/".join(parts_of(info.filename))
                if name in found:
                    raise twice(name)
                found[name] = Entry(
                    info.header_offset, info.compress_size, info.file_size, info.CRC, info.compress_type, info.filename
                )
            if not found:
                raise RefusedError("holds no files")
        return {name: found[name] for name in sorted(found, key=level_by_level)}

    def read(self, name: str) -> bytes | bytearray:
        """Return what a member holds, checked against its size and checksum."""
        entry = self.entries[name]
        with Telling(self.path), reading():
            if entry.method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                data = self._member(entry)
            else:
                with zipfile.ZipFile(self.path) as pack, pack.open(entry.name) as member:
                    data = member.read(entry.size + 1)
            if len(data) != entry.size or _crc32(data) != entry.crc:
                raise RefusedError(
                    f"{name!r} is broken: it has not the {entry.size:,} bytes or the checksum that were declared"
                )
        return data

    def _member(self, entry: Entry) -> bytes | bytearray:
        """Return a member's bytes; zipfile does the same, in three times as long."""
        name = len(entry.name.encode())
        block = self._block(entry.at, LOCAL.size + name + SPARE + entry.packed)
        magic, name, extra = LOCAL.unpack_from(block)
        if magic != b"PK\x03\x04":
            raise RefusedError(f"is broken: no header of {entry.name!r} at byte {entry.at:,}")
        start = LOCAL.size + name + extra
        if start + entry.packed > len(block):
            block, start = self._block(entry.at + start, entry.packed), 0
        packed = block[start : start + entry.packed]
        if entry.method == zipfile.ZIP_STORED:
            return packed
        try:
            return _inflate_raw(packed, entry.size)
        except _DAMAGED as error:
            raise RefusedError(f"{entry.name!r} is broken: {error}") from error

    def _block(self, at: int, size: int) -> bytes:
        parts = []
        with self._lock:
            os.lseek(self._file, at, os.SEEK_SET)
            while size and (part := os.read(self._file, size)):
                parts.append(part)
                size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @cached_property
    def _file(self) -> int:
        file = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, file)
        if hasattr(os, "posix_fadvise"):  # recordings are asked for in the order of samples, not of the archive
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_WILLNEED)
        return file


class Member:
    """A file or folder in an archive; what layouts and readers ask of a Path, it answers as a Path does."""

    __slots__ = ("archive", "inner")

    def __init__(self, archive: Listing, inner: str = "") -> None:
        self.archive, self.inner = archive, inner

    def __str__(self) -> str:
        return f"{self.archive.path}/{self.inner}" if self.inner else str(self.archive.path)

    def __repr__(self) -> str:
        return f"Member({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Member) and (self.inner, self.archive.path) == (other.inner, other.archive.path)

    def __hash__(self) -> int:
        return hash(self.inner)

    def __truediv__(self, name: str | PurePosixPath) -> Member:
        return Member(self.archive, "/".join(PurePosixPath(self.inner, name).parts))

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.inner.rpartition("/")[2] or self.archive.path.name

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return self.name.removesuffix(self.suffix)

    @property
    def suffix(self) -> str:
        """The last dot of the name and what is behind it."""
        before, dot, after = self.name.rpartition(".")
        return dot + after if before and after else ""

    @property
    def parent(self) -> Member:
        """The folder that it lies in; above the archive itself nothing is looked at."""
        return Member(self.archive, self.inner.rpartition("/")[0])

    @property
    def parents(self) -> Iterator[Member]:
        """The folders above, up to the archive itself."""
        at = self
        while at.inner:
            at = at.parent
            yield at

    def is_relative_to(self, other: object) -> bool:
        """Tell whether it lies in a folder of the same archive."""
        above = isinstance(other, Member) and self.archive.path == other.archive.path
        return above and (not other.inner or f"{self.inner}/".startswith(f"{other.inner}/"))  # type: ignore[attr-defined]

    def relative_to(self, other: object) -> PurePosixPath:
        """Return the path below a folder of the same archive."""
        if not isinstance(other, Member) or not self.is_relative_to(other):
            raise ValueError(f"{self} does not lie in {other}")
        return PurePosixPath(self.inner[len(other.inner) :].lstrip("/"))

    def is_file(self) -> bool:
        """Tell whether it is a file in the archive."""
        return self.inner in self.archive.entries

    def is_dir(self) -> bool:
        """Tell whether it is a folder in the archive."""
        return self.inner in self.archive.folders

    def read_bytes(self) -> bytes | bytearray:
        """Return what the file holds.

        Raises
        ------
        FileNotFoundError
        ArchiveError
            It is not what the archive states.
        """
        if not self.is_file():
            raise FileNotFoundError(str(self))
        return self.archive.read(self.inner)

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the file's text."""
        text = self.read_bytes().decode(encoding, errors)
        return text.replace("\r\n", "\n").replace("\r", "\n")

    @property
    def size(self) -> int:
        """Bytes of the file, as the archive states."""
        return self.archive.entries[self.inner].size

    def files(self, suffix: str) -> Iterator[Member]:
        """Yield the files below, sorted at every level, hidden ones left out."""
        below = f"{self.inner}/" if self.inner else ""
        for name in self.archive.entries:
            if name.startswith(below) and name.endswith(suffix) and "/." not in f"/{name[len(below) :]}":
                yield Member(self.archive, name)

    def holding(self, name: str) -> Member:
        """Return the first folder, this one or one below, that holds a file or folder of this name."""
        below = f"{self.inner}/" if self.inner else ""
        found = [at for at, names in self.archive.folders.items() if name in names and f"{at}/".startswith(below)]
        if not found:
            raise ArchiveError(f"{self}: holds no {name}", hint="the archive is not the published one")
        return Member(self.archive, min(found, key=lambda at: level_by_level(at) if at else []))


def as_path(member: Member) -> Path:
    """Return a member under the type of what it stands for; :func:`as_member` tells the two apart again."""
    return cast(Path, member)


def as_member(path: object) -> Member | None:
    """Return a path if it lies in an archive, else None."""
    return path if isinstance(path, Member) else None


def is_zip(path: Path) -> bool:
    """Tell whether a file is, or by its name will be, a zip archive."""
    if not path.is_file():
        return path.suffix == ".zip"
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"
