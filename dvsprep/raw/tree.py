"""A folder that a person extracted, in place of the archives it came from."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import NamedTuple

from dvsprep.errors import IntegrityError, NotFoundError, UsageError
from dvsprep.raw._disk import write_atomic

RECORD = "adopted.json"


class Tree(NamedTuple):
    """An adopted folder and what identifies it: a digest of the names and sizes of all its files."""

    path: Path
    digest: str


def tree_digest(folder: Path) -> str:
    """Return SHA-256 over name and size of every file below a folder, hidden ones left out, in the order of names."""
    lines = []
    for at, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if not name.startswith("."):
                path = Path(at, name)
                lines.append(f"{path.relative_to(folder).as_posix()}\t{path.stat().st_size}\n")
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def adopt_tree(folder: Path, record_in: Path) -> Tree:
    """Remember that a dataset's files lie extracted in ``folder``, which stays where and as it is."""
    if not folder.is_dir():
        raise NotFoundError(f"{folder} is no folder")
    if not any(path.is_file() for path in folder.rglob("*")):
        raise UsageError(f"{folder} holds no file")
    tree = Tree(folder.resolve(), tree_digest(folder))
    record_in.mkdir(parents=True, exist_ok=True)
    write_atomic(record_in / RECORD, json.dumps({"path": str(tree.path), "digest": tree.digest}).encode())
    return tree


def adopted_tree(record_in: Path) -> Tree | None:
    """Return the folder that :func:`adopt_tree` remembered, if any."""
    try:
        record = json.loads((record_in / RECORD).read_bytes())
        return Tree(Path(record["path"]), str(record["digest"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{record_in / RECORD}: unreadable: {error}", hint="delete it and adopt again") from None
