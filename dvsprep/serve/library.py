"""The finished caches below some roots, by id. Ids come from looking at the disk; a path is never made of one."""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dvsprep.disk import explain
from dvsprep.errors import DvsprepError, NotFoundError
from dvsprep.serve.content import Content, ReplacedError, Signature, signature

PLACES = ("*.h5", "*/frames/*.h5", "*/events/*.h5")
FRESH = 1.0  # seconds that a look at the disk holds
OPEN = 64  # caches kept open
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class Library:
    """What lies finished below the roots.

    Parameters
    ----------
    roots : sequence of path
        Folders ``ROOT/NAME/{frames,events}/*.h5`` as dvsprep makes them, or with caches in the folder itself. Where two
        caches have one name, that of the earlier root is served: names hold the key of what is in them.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = [Path(root) for root in roots]
        self._lock = threading.RLock()
        self._paths: dict[str, Path] = {}
        self._looked = -FRESH
        self._open: OrderedDict[str, Content] = OrderedDict()
        self._told: dict[str, tuple[Signature, dict[str, Any]]] = {}

    def _files(self) -> Iterator[tuple[str, Path]]:
        for root in self.roots:
            home = root.resolve()
            for place in PLACES:
                for path in sorted(root.glob(place)):
                    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
                    # A link that leads out of the root would serve what nobody meant to.
                    if hidden or not path.is_file() or not path.resolve().is_relative_to(home):
                        continue
                    name = path.stem if path.parent == root else f"{path.parts[-3]}.{path.stem}"
                    yield _UNSAFE.sub("_", name)[:200], path

    def look(self, *, again: bool = False) -> dict[str, Path]:
        """Return the path of every cache file by id, from a look that is at most a second old."""
        with self._lock:
            if again or time.monotonic() - self._looked > FRESH:
                paths: dict[str, Path] = {}
                for id, path in self._files():
                    paths.setdefault(id, path)
                self._paths, self._looked = paths, time.monotonic()
                for id in [id for id in self._told if id not in paths]:
                    del self._told[id]
                    self._open.pop(id, None)
            return self._paths

    def get(self, id: str) -> Content:
        """Return the cache of an id, as it lies on disk now.

        Raises
        ------
        NotFoundError
        """
        path = self._paths.get(id) or self.look().get(id)
        if path is None:
            raise NotFoundError(f"no cache is named {id[:200]!r} here", hint="/v1/caches lists them")
        try:
            now = signature(path)
            content = self._open.get(id)
            if content is not None and content.signature == now:
                return content
            with self._lock:
                return self._keep(id, path)
        except FileNotFoundError:
            with self._lock:
                self._looked = -FRESH
                self._open.pop(id, None)
            raise NotFoundError(f"the cache {id} was deleted", hint="/v1/caches lists those that are here") from None

    def _keep(self, id: str, path: Path) -> Content:
        content = self._open.get(id)
        if content is None or content.signature != signature(path):
            content = _opened(id, path)
            self._open[id] = content
            self._told[id] = content.signature, content.summary()
        self._open.move_to_end(id)
        while len(self._open) > OPEN:
            self._open.popitem(last=False)  # whoever still reads from it holds it
        return content

    def list(self) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
        """Return what is to tell of every cache, and of every file that is none, why."""
        caches, refused = [], []
        for id, path in sorted(self.look().items()):
            try:
                told = self._told.get(id)
                if told is None or told[0] != signature(path):
                    told = (signature(path), self.get(id).summary())
                caches.append(told[1])
            except FileNotFoundError:
                continue
            except (DvsprepError, OSError) as error:
                why = error if isinstance(error, DvsprepError) else explain(error)
                refused.append({"id": id, "why": str(why)})
        return caches, refused


def _opened(id: str, path: Path) -> Content:
    """Open a cache; one that is replaced at that moment, again."""
    for _ in range(3):
        try:
            return Content(id, path)
        except ReplacedError:
            continue
    return Content(id, path)
