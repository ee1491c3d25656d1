"""An archive becomes a folder: wholly or not at all, and never a byte outside of it."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple, cast

from dvsprep.disk import BLOCK, abandoned, sync, tag
from dvsprep.errors import ArchiveError, DvsprepError, NotFoundError
from dvsprep.raw.verify import Progress

GIB = 1 << 30
MAX_HEADER = 1 << 20  # bytes of one extended tar header (a long name); tarfile holds it in memory
MAX_MEMBERS = 2_000_000
MAX_DEPTH = 3  # of archives inside archives
MANY_FILES = 1000  # from here on one sync of everything is cheaper than one fsync a file
_DRIVE = re.compile(r"[A-Za-z]:")
_HEADERS = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE)


class RefusedError(Exception):
    """What is wrong with an archive, in words; :class:`Telling` adds which archive and what to do."""


class Telling:
    """Turns what is refused into the error that names the archive."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, refused: BaseException | None, trace: object) -> None:
        if isinstance(refused, RefusedError):
            size = self.archive.stat().st_size
            hint = "nothing was unpacked; download the archive again and verify its MD5"
            raise ArchiveError(f"{self.archive} ({size:,} bytes): {refused}", hint=hint) from refused.__cause__


def twice(name: str) -> RefusedError:
    """Return the refusal of a name that two members have, or a file and a folder."""
    return RefusedError(f"holds {name!r} twice, or as file and folder")


class _Member(NamedTuple):
    name: str
    size: int  # bytes as declared
    blocks: Iterator[bytes]


_Members = Generator[_Member, None, None]


class Meter:
    """The caps on what may come out of an archive: real bytes and members, whatever its headers declare."""

    def __init__(self, max_bytes: int, max_members: int) -> None:
        self.max_bytes, self.max_members = max_bytes, max_members
        self.bytes = self.members = 0

    def add(self, size: int) -> None:
        """Count bytes that came out."""
        self.bytes += size
        if self.bytes > self.max_bytes:
            raise RefusedError(f"unpacks to more than {self.max_bytes:,} bytes, the most that was allowed")

    def member(self) -> None:
        """Count a member."""
        self.members += 1
        if self.members > self.max_members:
            raise RefusedError(f"has more than {self.max_members:,} members, the most that was allowed")


def extract(
    archive: Path,
    dest: Path,
    *,
    max_bytes: int | None = None,
    max_members: int = MAX_MEMBERS,
    nested: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Unpack a .tar, .tar.gz or .zip (told by its content) into the folder `dest`; return `dest`.

    If `dest` exists it is complete, and nothing is done. Killed at any moment, the next call starts afresh.

    Parameters
    ----------
    max_bytes : int, optional
        Most bytes that may come out; 1 GiB + 100 times the archive unless told.
    nested : bool
        Unpack the .zip files inside too, each into a folder of its own name in its place.
    progress : callable, optional
        Called with the bytes of the archive read since the last call.

    Raises
    ------
    ArchiveError
        The archive is truncated, broken, none at all, or holds what an archive of data has no need of.
    OSError
        The disk is full or not writable.
    """
    prefix = f".{dest.name}.tmp-"
    for left in abandoned(dest.parent, prefix):
        shutil.rmtree(left, ignore_errors=True)
    if is_complete(dest):
        return dest
    if not archive.is_file():
        raise NotFoundError(f"{archive} does not exist or is no file")
    dest.parent.mkdir(parents=True, exist_ok=True)

    size = archive.stat().st_size
    meter = Meter(GIB + 100 * size if max_bytes is None else max_bytes, max_members)
    temp = dest.parent / f"{prefix}{tag()}"
    try:
        temp.mkdir()
        with Telling(archive):
            _unpack(archive, temp, meter, progress)
            if nested:
                _unpack_inner(temp, meter)
        _settle(temp)
        _publish(temp, dest)
    except BaseException:
        shutil.rmtree(temp, ignore_errors=True)
        raise
    return dest


def is_complete(dest: Path) -> bool:
    """Tell whether a folder is what :func:`extract` makes."""
    # Archives without files are refused, so an empty folder is no result of ours but one made by hand.
    return dest.is_dir() and any(dest.iterdir())


def _publish(temp: Path, dest: Path) -> None:
    try:
        temp.rename(dest)
    except OSError:
        if not is_complete(dest):
            raise
        shutil.rmtree(temp, ignore_errors=True)  # another process was first; its folder is as good
    sync(dest.parent)


def _settle(temp: Path) -> None:
    """Have all of `temp` on disk before it gets its final name: no power cut may leave empty files there."""
    paths = list(temp.rglob("*"))
    if len(paths) > MANY_FILES and hasattr(os, "sync"):
        os.sync()
        return
    for path in (*paths, temp):
        sync(path)


def _unpack_inner(folder: Path, meter: Meter, depth: int = 1) -> None:
    """Unpack the zip files below a folder, and those inside them; the caps count all of it."""
    if depth > MAX_DEPTH:
        raise RefusedError(f"holds archives inside archives more than {MAX_DEPTH} deep")
    for inner in sorted(folder.rglob("*.zip")):
        target = inner.with_suffix("")
        if target.exists():
            raise RefusedError(f"holds both {inner.name} and {target.name}")
        target.mkdir()
        try:
            _unpack(inner, target, meter, None)
        except RefusedError as refused:
            raise RefusedError(f"{inner.relative_to(folder)} inside: {refused}") from refused.__cause__
        inner.unlink()
        _unpack_inner(target, meter, depth + 1)


def _unpack(archive: Path, temp: Path, meter: Meter, progress: Progress | None) -> None:
    written = last = 0
    with archive.open("rb") as raw, closing(_members(raw, meter)) as members, _Settler() as settler:
        for member in members:
            path = temp.joinpath(*PurePosixPath(member.name).parts)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                file = open(path, "xb", opener=_private_to_nobody)  # noqa: SIM115
            except (FileExistsError, NotADirectoryError) as error:
                raise twice(member.name) from error
            size = 0
            with file:
                for block in member.blocks:
                    size += file.write(block)
                    if progress and raw.tell() > last:
                        progress(raw.tell() - last)
                        last = raw.tell()
            if size != member.size:
                raise RefusedError(f"{member.name!r} has {size:,} bytes, {member.size:,} were declared")
            settler.add(path, size)
            written += 1
        if progress:
            progress(archive.stat().st_size - last)
    if not written:
        raise RefusedError("holds no files")


class _Settler:
    """Has large files on disk in a thread while the next ones are unpacked; :func:`_settle` is then soon done."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="dvsprep-sync")
        self._pending: list[Future[None]] = []

    def __enter__(self) -> _Settler:
        return self

    def add(self, path: Path, size: int) -> None:
        """Begin to sync a file that is complete, if it is a large one."""
        if size >= BLOCK:
            self._pending.append(self._thread.submit(sync, path))

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._thread.shutdown(cancel_futures=error is not None)
        if error is None:
            for done in self._pending:
                done.result()  # a disk that turned out to be full


def _private_to_nobody(path: str, flags: int) -> int:
    return os.open(path, flags, 0o644)  # and the umask; modes and owners in the archive are of another machine


def _members(raw: IO[bytes], meter: Meter) -> _Members:
    """Yield the files of an archive, each vetted; refuse the archive at the first that is not plain."""
    head = raw.read(tarfile.BLOCKSIZE)
    raw.seek(0)
    if not head:
        raise RefusedError("is an empty file")
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_members(raw, meter)
    if head.startswith(b"\x1f\x8b"):
        return _tar_members(_gunzip(raw), meter)
    if _is_tar(head):
        return _tar_members(raw, meter)
    raise RefusedError(f"is no tar, tar.gz or zip; it begins with {head[:16]!r}")


def _is_tar(head: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _wanted(name: str, *, folder: bool) -> bool:
    """Refuse a name that would leave the folder; tell whether it is a file, and no Mac's debris."""
    parts = parts_of(name)
    if folder and not parts:
        return False  # "./", as `tar -c .` has it
    if not parts or name.startswith("/") or ".." in parts or {"\\", "\0"} & set(name) or _drive(name):
        raise RefusedError(f"holds the unsafe name {name!r}")
    return not folder and parts[0] != "__MACOSX" and parts[-1] != ".DS_Store"


def parts_of(name: str) -> tuple[str, ...]:
    """Return the parts of a member's name; as a PurePosixPath does, but at once where there is nothing to mend."""
    parts = tuple(name.split("/"))
    return PurePosixPath(name).parts if "" in parts or "." in parts else parts


def _drive(name: str) -> bool:
    return bool(_DRIVE.match(name)) or (os.name == "nt" and ":" in name)


@contextmanager
def reading() -> Iterator[None]:
    """Turn what readers raise of broken archives into one refusal; a full disk is not the archive's fault."""
    try:
        yield
    except (RefusedError, DvsprepError):
        raise
    except OSError as error:
        if error.errno is not None:
            raise
        raise RefusedError(f"is broken: {error}") from error
    except (*_BROKEN, *_isal_errors()) as error:
        raise RefusedError(f"is broken or truncated: {error or type(error).__name__}") from error


_BROKEN: tuple[type[Exception], ...] = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, struct.error,
    ValueError, LookupError, ArithmeticError, NotImplementedError, RuntimeError,
)  # fmt: skip


def _isal_errors() -> tuple[type[Exception], ...]:
    try:
        from isal import isal_zlib
    except ImportError:
        return ()
    return (cast(type[Exception], isal_zlib.error),)


def _gunzip(raw: IO[bytes]) -> IO[bytes]:
    try:
        from isal import igzip_threaded
    except ImportError:
        return cast(IO[bytes], gzip.GzipFile(fileobj=raw))
    unzip: Any = igzip_threaded.open  # inflates in a thread of its own while we write
    return cast(IO[bytes], unzip(raw, "rb"))


class _StrictInfo(tarfile.TarInfo):
    """Tar headers as tarfile reads them, but a bad or absent one is an error, not the end of the archive."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> tarfile.TarInfo:  # type: ignore[override]
        try:
            return super().fromtarfile(tar)
        except tarfile.HeaderError as error:
            if type(error).__name__ == "EOFHeaderError":  # a block of zeros: the one honest end
                raise
            raise tarfile.ReadError(f"bad or missing header at byte {tar.offset:,}: {error}") from error

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> tarfile.TarInfo:  # type: ignore[override]
        info = super().frombuf(buf, encoding, errors)
        if info.size < 0 or (info.type in _HEADERS and info.size > MAX_HEADER):
            raise tarfile.ReadError(f"a header of {info.size:,} bytes")
        return info


class _Metered:
    """A stream that counts every byte tarfile takes: files, headers, padding and what is skipped."""

    def __init__(self, stream: IO[bytes], add: Callable[[int], None]) -> None:
        self._stream, self._add = stream, add

    def read(self, size: int) -> bytes:
        block = self._stream.read(size)
        self._add(len(block))
        return block


def _tar_members(stream: IO[bytes], meter: Meter) -> _Members:
    with reading(), stream:
        metered = cast(Any, _Metered(stream, meter.add))
        with tarfile.open(fileobj=metered, mode="r|", bufsize=BLOCK // 8, tarinfo=_StrictInfo) as tar:
            while (info := tar.next()) is not None:
                cast(Any, tar).members.clear()  # tarfile keeps them all; there may be millions
                meter.member()
                wanted = _wanted(info.name, folder=info.isdir())
                if not (info.isreg() or info.isdir()):
                    kind = "link" if info.issym() or info.islnk() else "device or pipe"
                    raise RefusedError(f"holds the {kind} {info.name!r}")
                if wanted:
                    handle = cast(IO[bytes], tar.extractfile(info))
                    yield _Member(info.name, info.size, _blocks(handle))
            _drain(cast(Any, tar).fileobj)


def _drain(rest: IO[bytes]) -> None:
    """Read to the end, so that the checksum of the gzip stream is checked; only padding may be there."""
    while block := rest.read(BLOCK):
        if block.strip(b"\0"):
            raise RefusedError("has data after its end mark, so a part of it may have been lost")


def _zip_members(raw: IO[bytes], meter: Meter) -> _Members:
    with reading(), zipfile.ZipFile(raw) as pack:
        wanted = [info for info in pack.infolist() if plain(info, meter)]
        for info in wanted:
            yield _Member(info.filename, info.file_size, _blocks(pack.open(info), meter.add))


def plain(info: zipfile.ZipInfo, meter: Meter) -> bool:
    """Refuse a member that is neither file nor folder; tell whether it is a file that is wanted."""
    meter.member()
    # zipfile cuts or mends the name it uses: what the archive really says has to be plain too.
    wanted = [_wanted(name, folder=info.is_dir()) for name in {info.filename, info.orig_filename}]
    mode = stat.S_IFMT(info.external_attr >> 16)
    if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise RefusedError(f"holds the link or device {info.filename!r}")
    if info.flag_bits & 0x1:
        raise RefusedError(f"holds the encrypted file {info.filename!r}")
    return all(wanted)


def _blocks(handle: IO[bytes], add: Callable[[int], None] | None = None) -> Iterator[bytes]:
    with reading(), handle:
        while block := handle.read(BLOCK):
            if add:
                add(len(block))
            yield block
