"""Names and moves on disk: temporary names that tell their owner, atomic writes, setting files aside."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import secrets
import shutil
from pathlib import Path

BLOCK = 1 << 20
_TAG = re.compile(r"(\d+)(?:-([0-9a-f]+)-[0-9a-f]+)?")
NOBODY = "0"  # the tag of a temporary that its process let go of


@functools.cache
def _machine() -> str:
    """Name host and pid namespace: a pid read off a shared disk means nothing in another one."""
    namespace = Path("/proc/self/ns/pid")
    space = namespace.readlink() if namespace.is_symlink() else ""
    return hashlib.sha256(f"{platform.node()} {space}".encode()).hexdigest()[:8]


def tag() -> str:
    """Return a suffix that no other temporary has and that tells which process made it."""
    return f"{os.getpid()}-{_machine()}-{secrets.token_hex(4)}"


def abandoned(folder: Path, prefix: str) -> list[Path]:
    """List the temporaries ``<prefix><tag>`` in `folder` whose process is gone."""
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = _TAG.fullmatch(path.name[len(prefix) :]) if path.name.startswith(prefix) else None
        if match and (match[0] == NOBODY or (match[2] == _machine() and not _alive(int(match[1])))):
            found.append(path)
    return found


def _alive(pid: int) -> bool:
    if os.name == "nt":  # os.kill(pid, 0) is no question there: it sends Ctrl-C
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def sync(path: Path) -> None:
    """Have a file's bytes, or a folder's names, on disk before this returns."""
    if path.is_dir() and os.name == "nt":
        return  # Windows has no handle on a folder to flush
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(temp: Path, target: Path) -> None:
    """Give a finished temporary its final name, after its bytes are on disk."""
    sync(temp)
    temp.replace(target)
    sync(target.parent)


def write_atomic(path: Path, data: bytes) -> None:
    """Write a small file so that its name never holds half of it."""
    temp = path.with_name(f".{path.name}.tmp-{tag()}")
    try:
        temp.write_bytes(data)
        publish(temp, path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target`, which must not exist, a second name of `source`, or a copy where it cannot be one."""
    try:
        target.hardlink_to(source.resolve())  # resolved: a link to a symlink would break with it
    except FileExistsError:
        raise
    except OSError:
        temp = target.with_name(f".{target.name}.tmp-{tag()}")
        try:
            shutil.copyfile(source, temp)
            publish(temp, target)
        except BaseException:
            temp.unlink(missing_ok=True)
            raise


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
