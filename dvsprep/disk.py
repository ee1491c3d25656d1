"""Names and moves on disk: files that appear whole or not at all, temporaries that tell their owner."""

from __future__ import annotations

import errno
import filecmp
import functools
import hashlib
import os
import platform
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from dvsprep.errors import DiskError, DvsprepError, UsageError

BLOCK = 1 << 20
_TAG = re.compile(r"(?P<pid>\d+)(-(?P<machine>[0-9a-f]+)(-(?P<started>\d+))?-[0-9a-f]+)?")
NOBODY = "0"  # the tag of a temporary that its process let go of


# -- whose is it --


@functools.cache
def _machine() -> str:
    """Name host and pid namespace: a pid read off a shared disk means nothing in another one."""
    namespace = Path("/proc/self/ns/pid")
    space = namespace.readlink() if namespace.is_symlink() else ""
    return hashlib.sha256(f"{platform.node()} {space}".encode()).hexdigest()[:8]


def tag() -> str:
    """Return a suffix that no other temporary has and that tells which process made it."""
    _, started = _status(os.getpid())
    return f"{os.getpid()}-{_machine()}-{started}-{secrets.token_hex(4)}"


def abandoned(folder: Path, prefix: str) -> list[Path]:
    """List the temporaries ``<prefix><tag>`` in `folder` whose process is gone."""
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = _TAG.fullmatch(path.name[len(prefix) :]) if path.name.startswith(prefix) else None
        if match and (match[0] == NOBODY or (match["machine"] == _machine() and not _alive(match))):
            found.append(path)
    return found


def _alive(owner: re.Match[str]) -> bool:
    """Tell whether the process of a tag still runs: not one that died unreaped, nor a later one of the same number."""
    if os.name == "nt":  # os.kill(pid, 0) is no question there: it sends Ctrl-C
        return True
    pid = int(owner["pid"])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    state, started = _status(pid)
    return state not in ("Z", "X") and (0 in (started, int(owner["started"] or 0)) or started == int(owner["started"]))


def _status(pid: int) -> tuple[str, int]:
    """Return a process's state and when it started (clock ticks since boot); "" and 0 where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()  # a name may hold blanks
        return fields[0].decode(), int(fields[19])
    except (OSError, IndexError, ValueError):
        return "", 0


# -- whole or not at all --


def beside(path: Path) -> Path:
    """Return a name for what is to become `path`."""
    return path.with_name(f".{path.name}.tmp-{tag()}")


def sync(path: Path) -> None:
    """Have a file's bytes, or a folder's names, on disk before this returns."""
    if path.is_dir() and os.name == "nt":
        return  # Windows has no handle on a folder to flush
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(temp: Path, target: Path, *, replace: bool = True) -> None:
    """Give a finished temporary its final name, after its bytes are on disk.

    Without `replace` a file that has this name stays; if it is not the very same, that is an error.
    """
    sync(temp)
    give_name(temp, target, replace=replace)


def give_name(temp: Path, target: Path, *, replace: bool = True) -> None:
    """Do the second half of :func:`publish`, of a temporary that is on disk already."""
    if replace and (target.is_file() or not target.exists()):  # a device is nobody's to replace
        temp.replace(target)
    else:
        _give_free_name(temp, target)
    sync(target.parent)


def _give_free_name(temp: Path, target: Path) -> None:
    try:
        target.hardlink_to(temp)  # unlike a rename it never replaces what another process has just put there
    except OSError as error:
        if not (isinstance(error, FileExistsError) or target.exists()):  # no hard links here
            temp.replace(target)
            return
        if not (target.is_file() and filecmp.cmp(temp, target, shallow=False)):
            raise exists(target, ", and is not the same") from None
    temp.unlink()


def exists(target: Path, what: str = "") -> UsageError:
    """Return the error for a result whose name another file has."""
    return UsageError(f"{target} exists{what}", hint="choose another name, or --force replaces it")


@contextmanager
def whole(path: Path, *, replace: bool = True) -> Iterator[BinaryIO]:
    """Write a file so that its name never holds half of it; `replace` as of :func:`publish`.

    Raises
    ------
    DiskError
        It cannot be written.
    UsageError
        Another file has this name, and is not to be replaced.
    """
    temp = beside(path)
    try:
        with temp.open("xb") as file:
            yield file
        publish(temp, path, replace=replace)
    except DvsprepError:
        raise
    except OSError as error:
        raise explain(error, path if error.filename in (None, str(temp)) else None) from error
    finally:
        temp.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, or raise a DiskError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explain(error) from error


def write_whole(path: Path, data: bytes, *, replace: bool = True) -> None:
    """Write a small file as :func:`whole` does."""
    with whole(path, replace=replace) as file:
        file.write(data)


def is_url(path: object) -> bool:
    """Return whether what names a cache is an address, and no path."""
    return isinstance(path, str) and path.lower().startswith(("http://", "https://"))


def explain(error: OSError, path: Path | None = None) -> DiskError:
    """Return what the system refused as an error that names the file and says what to do."""
    elsewhere = "choose another folder"
    reason = os.strerror(error.errno) if error.errno else str(error)
    hint = {
        errno.ENOSPC: f"free some space, or {elsewhere}; what is done so far is kept",
        errno.EDQUOT: f"your quota is used up: free some space, or {elsewhere}; what is done so far is kept",
        errno.EFBIG: f"the file system or `ulimit -f` allows no larger file: {elsewhere}",
        errno.EACCES: f"{elsewhere}, one that you may write to",
        errno.EPERM: f"{elsewhere}, one that you may write to",
        errno.EROFS: f"the file system is read-only: {elsewhere}",
        errno.ENOTDIR: f"a part of this path is a file: {elsewhere}",
        errno.EEXIST: f"it is a file where a folder is needed: {elsewhere}",
        errno.ENOENT: f"it cannot be made there: {elsewhere}",
    }.get(error.errno or 0)
    where = path or error.filename
    return DiskError(f"{where}: {reason}" if where else reason, hint=hint)


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target`, which must not exist, a second name of `source`, or a copy where it cannot be one."""
    try:
        target.hardlink_to(source.resolve())  # resolved: a link to a symlink would break with it
    except FileExistsError:
        raise
    except OSError:
        with source.open("rb") as original, whole(target) as copy:
            shutil.copyfileobj(original, copy, BLOCK)


# -- one at a time --


@contextmanager
def lock(path: Path, *, wait: float = -1, busy: Callable[[], None] = lambda: None) -> Iterator[bool]:
    """Hold the lock file `path` meanwhile; yield False where the file system has no locks, and nothing is held.

    So nothing's correctness may rest on it.

    Parameters
    ----------
    path : Path
        The lock file, which is made and stays.
    wait : float
        Seconds to wait for whoever holds it; negative is for ever.
    busy : callable
        Called once when somebody holds it, before waiting.

    Raises
    ------
    filelock.Timeout
        Somebody held it all the time.
    OSError
        The lock file cannot be made: no right to write there, no space, a read-only file system.
    """
    from filelock import FileLock, Timeout

    held = FileLock(path)
    try:
        try:
            held.acquire(timeout=0)
        except Timeout:
            busy()
            held.acquire(timeout=wait)
    except Timeout:
        raise
    except (NotImplementedError, OSError) as error:
        refused = (errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT, errno.EROFS)
        if isinstance(error, OSError) and error.errno in refused:
            raise
        yield False
        return
    try:
        yield True
    finally:
        held.release()


# -- aside --


def set_aside(path: Path, bad_name_of: Path | None = None) -> Path:
    """Rename a file that is not what it should be to the first free ``<name>.bad``, ``.bad2``, ...

    `bad_name_of` gives the name to derive from when `path` is a temporary.
    """
    base = bad_name_of or path
    number = 1
    while True:
        bad = base.with_name(f"{base.name}.bad{number if number > 1 else ''}")
        number += 1
        try:
            bad.hardlink_to(path)  # unlike a rename it never replaces what another process has just put there
        except FileExistsError:
            continue
        except OSError:
            if not bad.exists():
                return path.rename(bad)
        else:
            path.unlink()
            return bad
