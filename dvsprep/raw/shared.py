"""Results that somebody else made, in read-only folders that many people share."""

from __future__ import annotations

import os
from pathlib import Path

from dvsprep.config import shared_roots
from dvsprep.errors import UsageError


def find_shared(name: str, relative: str | os.PathLike[str]) -> Path | None:
    """Return the first ``<shared root>/<name>/<relative>`` that exists; nothing is opened, written or locked.

    What has its final name is complete, so existence is all there is to ask. A root that cannot be read has nothing.
    """
    inner = Path(name) / relative
    if inner.is_absolute() or ".." in inner.parts:
        raise UsageError(f"{inner} leaves the shared root")
    for root in shared_roots():
        if os.path.exists(root / inner):  # noqa: PTH110 - Path.exists raises where a folder must not be read
            return root / inner
    return None


def is_shared(path: Path) -> bool:
    """Tell whether a path lies in a shared root, where nothing of ours is to be written or renamed."""
    return any(path.absolute().is_relative_to(root.absolute()) for root in shared_roots())
