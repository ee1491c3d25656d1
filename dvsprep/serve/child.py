"""The process of one build: what to build comes as a line on stdin, what happens goes as lines of JSON to stdout.

When stdin is closed, the service that asked is gone, and so is this process; the next one goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO

from dvsprep.errors import DvsprepError
from dvsprep.pipeline import Job, Options
from dvsprep.types import FrameSpec

OFTEN = 0.2  # seconds between two lines of progress


def main() -> int:
    """Build, and tell of it."""
    out = sys.stdout
    sys.stdout = sys.stderr  # a plugin may print

    def tell(**what: Any) -> None:
        out.write(json.dumps(what) + "\n")
        out.flush()

    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with, args=(sys.stdin,), daemon=True).start()
    try:
        job = _Told(asked["dataset"], asked["root"], FrameSpec(**asked["spec"]), Options(**asked["options"]),
                    say=lambda line: tell(say=line))  # fmt: skip
        job.tell = tell
        job.run()
    except (DvsprepError, OSError) as error:
        from dvsprep.disk import explain

        why = error if isinstance(error, DvsprepError) else explain(error)
        told = {"message": why.message, "hint": why.hint, "exit_code": why.exit_code}
        tell(state="failed", error=told)
        return why.exit_code
    tell(state="done", caches={split: f"{asked['dataset']}.{path.stem}" for split, path in job.frames_paths().items()})
    return 0


def _end_with(stream: TextIO) -> None:
    stream.read()
    os._exit(130)


class _Told(Job):
    """A job whose progress bars are lines."""

    tell: Callable[..., None]

    def _bar(self, what: str, total: int) -> Any:
        return _Progress(self.tell, what, total)


class _Progress:
    def __init__(self, tell: Callable[..., None], what: str, total: int) -> None:
        self.tell, self.total, self.done, self.last = tell, total, 0, 0.0
        tell(stage=what, done=0, total=total)

    def __enter__(self) -> Callable[[int], None]:
        return self._add

    def _add(self, n: int) -> None:
        self.done += n
        now = time.monotonic()
        if now - self.last > OFTEN or self.done == self.total:
            self.last = now
            self.tell(done=self.done)

    def __exit__(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    sys.exit(main())
