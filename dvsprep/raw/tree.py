"""A folder that a person extracted, in place of the archives it came from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from dvsprep.disk import write_whole
from dvsprep.errors import IncompleteError, IntegrityError, NotFoundError, UsageError
from dvsprep.raw.verify import md5_file

RECORD = "adopted.json"


class Tree(NamedTuple):
    """An adopted folder and what identifies it: a digest of the names and contents of all its files.

    `listing` is a digest of their names, sizes and times: cheap to compare, and enough to see that somebody was there.
    """

    path: Path
    digest: str
    listing: str


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield every file below a folder, hidden ones left out."""
    for at, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith("."):
                path = Path(at, name)
                yield path.relative_to(folder).as_posix(), path


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()


def tree_digest(folder: Path) -> str:
    """Return SHA-256 over name and MD5 of every file below a folder, in the order of names."""
    return _digest(f"{name}\t{md5_file(path)}\n" for name, path in _files(folder))


def tree_listing(folder: Path) -> str:
    """Return SHA-256 over name, size and time of every file below a folder, in the order of names."""
    stats = ((name, path.stat()) for name, path in _files(folder))
    return _digest(f"{name}\t{stat.st_size}\t{stat.st_mtime_ns}\n" for name, stat in stats)


def adopt_tree(folder: Path, record_in: Path) -> Tree:
    """Remember that a dataset's files lie extracted in ``folder``, which stays where and as it is."""
    if not folder.is_dir():
        raise NotFoundError(f"{folder} is no folder")
    if not any(path.is_file() for path in folder.rglob("*")):
        raise UsageError(f"{folder} holds no file")
    listing = tree_listing(folder)  # first, so that a file changed while we read is noticed
    tree = Tree(folder.resolve(), tree_digest(folder), listing)
    record_in.mkdir(parents=True, exist_ok=True)
    write_whole(record_in / RECORD, json.dumps(tree._asdict() | {"path": str(tree.path)}).encode())
    return tree


def adopted_tree(record_in: Path) -> Tree | None:
    """Return the folder that :func:`adopt_tree` remembered, if any; it may be gone, but it must not have changed.

    Raises
    ------
    IncompleteError
        Its files are not those that were adopted.
    """
    try:
        record = json.loads((record_in / RECORD).read_bytes())
        tree = Tree(Path(record["path"]), str(record["digest"]), str(record["listing"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{record_in / RECORD}: unreadable: {error}", hint="delete it and adopt again") from None
    if tree.path.is_dir() and tree_listing(tree.path) != tree.listing:
        raise IncompleteError(
            f"{tree.path}: files were added, removed or changed since the folder was adopted",
            hint=f"adopt it again: `dvsprep adopt {record_in.parent.name} {tree.path} --no-verify`",
        )
    return tree
