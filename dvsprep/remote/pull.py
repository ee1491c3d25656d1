"""A served cache becomes a file of the user's own root, whole and verified."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from dvsprep import config, disk, raw
from dvsprep.cache import open_cache
from dvsprep.cache.write import locked
from dvsprep.errors import IntegrityError
from dvsprep.remote.link import Link

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,200}")


def pull(
    url: str,
    *,
    root: Path | None = None,
    out: Path | None = None,
    replace: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Fetch a cache to where `dvsprep frames` would have put it, or to ``out``; return its path.

    An interrupted download goes on where it stopped.

    Raises
    ------
    FetchError, NotFoundError
    IntegrityError
        What came is not what the service said.
    UsageError
        Another file has this name, and is not to be replaced.
    """
    link = Link(url)
    facts = link.json()
    link.version = str(facts["version"])
    told = link.json("/digest")
    # A service may say anything; what it says becomes no path but these.
    dataset, kind, file = str(facts["dataset"]), str(facts["kind"]), str(facts["file"])
    if not (
        _NAME.fullmatch(dataset) and _NAME.fullmatch(file) and file.endswith(".h5") and kind in ("frames", "events")
    ):
        raise IntegrityError(f"{link}: names a cache {dataset!r}/{kind!r}/{file!r}, which is no name of a file")
    folder = (root or config.root()).expanduser() / dataset
    target = out or folder / kind / file
    if target.is_dir():
        target = target / file
    resource = raw.Resource(
        file, None, size=int(told["bytes"]), sha256=str(told["sha256"]), urls=(f"{link.url}/file",), page=str(link)
    )
    disk.make_folder(target.parent)
    with locked(target, say):
        if target.is_file() and _sha256(target) == resource.sha256:
            say(f"{target} is here already")
            return target
        if target.exists() and not replace:
            raise disk.exists(target, ", and is not the same")
        parts = target.with_name(f".{target.name}.pull")  # beside it, so that a rename is enough
        whole = raw.fetch(resource, parts, network=raw.Network(mirrors=()), warn=say)
        cache = open_cache(whole)
        if cache.key != facts["key"]:
            raise IntegrityError(f"{link}: sent the cache {cache.key}, expected {facts['key']}")
        disk.publish(whole, target, replace=replace)
        shutil.rmtree(parts)
    return target


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
