"""The progress bar of a stage."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


class Bar:
    """One progress bar in the parent, none when stderr is no terminal."""

    def __init__(self, what: str, total: int) -> None:
        self.bar: Any = None
        if sys.stderr is not None and sys.stderr.isatty():
            from tqdm import tqdm  # which takes as long to import as some builds take

            self.bar = tqdm(total=total or None, desc=what, unit="sample", leave=False)

    def __enter__(self) -> Callable[[int], None]:
        return self._tell

    def _tell(self, n: int) -> None:
        if self.bar is not None:
            self.bar.update(n)

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()
