"""Caches built on request: a queue on disk, one build at a time below a root, however many services and clients ask.

A build is a file ``ROOT/.builds/ID.json``, whose id is a digest of what was asked for: who asks again is told of the
same one. Whoever holds the lock ``run.lock`` builds, in a child process; killed, it loses the lock, and the next one
goes on where the build stopped, as `dvsprep frames` would.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from filelock import Timeout

from dvsprep import disk
from dvsprep.errors import DvsprepError, IncompleteError, NotFoundError, UsageError
from dvsprep.serve import metrics
from dvsprep.types import digest

ENDED = ("done", "failed", "cancelled")
WAITING = 100  # builds that may wait
LINES = 20  # of what a build says are kept
LOOK = 0.2  # seconds between two looks at what others wrote
Build = dict[str, Any]
log = logging.getLogger("dvsprep.serve")


class Builds:
    """The queue of one root.

    Parameters
    ----------
    root : path
        A folder that can be written to.
    plugins : tuple of str
        The plugin specs that are run. A build of another one waits for a service that allows it.
    """

    def __init__(self, root: Path, plugins: tuple[str, ...] = ()) -> None:
        self.root, self.folder, self.plugins = Path(root), Path(root) / ".builds", plugins
        self.folder.mkdir(exist_ok=True)
        self._wake, self._stop = threading.Event(), threading.Event()
        self._runner: threading.Thread | None = None

    # -- the queue --

    def _file(self, id: str) -> Path:
        return self.folder / f"{id}.json"

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with disk.lock(self.folder / "change.lock"):
            yield

    def _write(self, build: Build) -> Build:
        disk.write_whole(self._file(build["id"]), json.dumps(build).encode())
        return build

    def submit(self, asked: dict[str, Any]) -> tuple[Build, bool]:
        """Queue a build unless it waits or runs already; return it, and whether it is new.

        Parameters
        ----------
        asked : dict
            dataset, spec and options, as ``child`` takes them.
        """
        id = digest(asked)[:16]
        with self._changing():
            known = self._read(id)
            if known is not None and known["state"] not in ENDED:
                return known, False
            if sum(build["state"] == "queued" for build in self.list()) >= WAITING:
                raise IncompleteError(f"{WAITING} builds wait already", hint="ask again later")
            self._cancel_mark(id).unlink(missing_ok=True)
            build = asked | {
                "id": id, "state": "queued", "created": time.time(), "started": None, "ended": None, "stage": None,
                "done": 0, "total": 0, "says": [], "caches": {}, "error": None,
            }  # fmt: skip
            self._write(build)
        self._wake.set()
        return build, True

    def list(self) -> list[Build]:
        """Return all builds, the oldest first."""
        found = [self._read(path.stem) for path in self.folder.glob("*.json")]
        return sorted((b for b in found if b is not None), key=lambda b: (b["created"], b["id"]))

    def get(self, id: str) -> Build:
        """Return a build.

        Raises
        ------
        NotFoundError
        """
        build = self._read(id) if len(id) == 16 and id.isalnum() else None
        if build is None:
            raise NotFoundError(f"no build is numbered {id[:40]!r}", hint="/v1/builds lists them")
        return build

    def _read(self, id: str) -> Build | None:
        try:
            found: Build = json.loads(self._file(id).read_bytes())
        except FileNotFoundError:
            return None
        return found

    def _cancel_mark(self, id: str) -> Path:
        return self.folder / f"{id}.cancel"

    def cancel(self, id: str) -> Build:
        """Cancel a build that has not ended; what it has done so far is kept, for another one to go on with."""
        with self._changing():
            build = self.get(id)
            if build["state"] == "queued":
                return self._write(build | {"state": "cancelled", "ended": time.time()})
            if build["state"] == "running":
                self._cancel_mark(id).touch()
        return build

    # -- the runner --

    def start(self) -> None:
        """Begin to build what is queued, in a thread."""
        self._runner = threading.Thread(target=self._run_all, name="dvsprep-builds", daemon=True)
        self._runner.start()

    def stop(self) -> None:
        """End the running build, which waits for the next service."""
        self._stop.set()
        self._wake.set()
        if self._runner is not None:
            self._runner.join(10)

    def _run_all(self) -> None:
        said = ""
        while not self._stop.is_set():
            try:
                with suppress(Timeout), disk.lock(self.folder / "run.lock", wait=0):
                    self._sweep()
                    while not self._stop.is_set() and (build := self._next()) is not None:
                        self._run(build)
            except (DvsprepError, OSError) as error:  # of the root's disk: what is queued waits until it is mended
                if str(error) != said:
                    log.warning("builds wait: %s", error)
                said = str(error)
            self._wake.wait(5 * LOOK)
            self._wake.clear()

    def _sweep(self) -> None:
        """Remove what services that were killed while they wrote have left."""
        for prefix in {path.name.rpartition(".tmp-")[0] + ".tmp-" for path in self.folder.glob(".*.tmp-*")}:
            for left in disk.abandoned(self.folder, prefix):
                left.unlink(missing_ok=True)

    def _next(self) -> Build | None:
        """Return the oldest build that waits; one that runs lost its service, for we have the lock."""
        allowed = (None, *self.plugins)  # what another service of this root accepted is not ours to run
        waiting = (b for b in self.list() if b["state"] not in ENDED and b["spec"].get("plugin") in allowed)
        return next(waiting, None)

    def _run(self, build: Build) -> None:
        build = self._begin(build["id"])
        if build["state"] != "running":
            return
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "dvsprep.serve.child"],  # -P: modules are found where the service finds them
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip
        assert child.stdin is not None
        asked = {key: build[key] for key in ("dataset", "spec", "options")} | {"root": str(self.root)}
        try:
            with suppress(BrokenPipeError):  # it died at once; its exit code tells
                child.stdin.write(json.dumps(asked) + "\n")
                child.stdin.flush()  # and left open: the child ends when it is closed, which also our death does
            build, end = self._follow(child, build)
        finally:
            child.stdin.close()
            code = child.wait()
        self._cancel_mark(build["id"]).unlink(missing_ok=True)
        if end is None:  # it said neither that it is done nor why not
            end = {"state": "failed", "error": _death(code)}
        metrics.BUILDS.labels(end["state"]).inc()
        self._write(build | end | {"ended": time.time() if end["state"] in ENDED else None})

    def _follow(self, child: subprocess.Popen[str], build: Build) -> tuple[Build, Build | None]:
        """Write down what a child says until it ends or is to end; return the build and, if known, how it ended."""
        for told in self._lines(child):
            end: Build | None = None
            if self._stop.is_set():
                end = {"state": "queued"}
            elif self._cancel_mark(build["id"]).exists():
                end = {"state": "cancelled"}
            if end is not None:
                child.kill()  # a build survives that
                return build, end
            if "state" in told:
                return build, told
            if told:
                says = (build["says"] + [told.pop("say")])[-LINES:] if "say" in told else build["says"]
                build = self._write(build | told | {"says": says})
        return build, None

    def _begin(self, id: str) -> Build:
        with self._changing():
            build = self.get(id)
            if build["state"] in ENDED:
                return build
            return self._write(build | {"state": "running", "started": time.time(), "error": None})

    def _lines(self, child: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
        """Yield what a child says, and nothing ({}) while it is silent, until it ends."""
        lines: Queue[str | None] = Queue()

        def read() -> None:
            assert child.stdout is not None
            with child.stdout:
                for line in child.stdout:
                    lines.put(line)
            lines.put(None)

        threading.Thread(target=read, daemon=True).start()
        while True:
            try:
                line = lines.get(timeout=LOOK)
            except Empty:
                yield {}
                continue
            if line is None:
                return
            yield json.loads(line)


def _death(code: int) -> dict[str, Any]:
    """Return what to tell of a build's process that ended, with this code, without a word."""
    how, hint = f"ended with code {code}", "ask again; the build goes on where it stopped"
    if code < 0:
        names = {int(number): number.name for number in signal.Signals}
        how = f"was ended by {names.get(-code, f'signal {-code}')}"
        hint = f"often memory ran out; {hint}"
    return {"message": f"the build's process {how}", "hint": hint, "exit_code": IncompleteError.exit_code}


def writable(roots: list[Path], plugins: tuple[str, ...]) -> Builds | None:
    """Return the queue of the first root that can be written to, if there is one."""
    for root in roots:
        if os.access(root, os.W_OK):
            try:
                return Builds(root, plugins)
            except OSError:  # what `access` says of a network disk is not always so
                continue
    return None


def checked(asked: Any, plugins: tuple[str, ...], root: Path) -> dict[str, Any]:
    """Return what a client asks to build, if that may be built.

    Raises
    ------
    UsageError, NotFoundError
    """
    from dvsprep.datasets import splits
    from dvsprep.pipeline import Job, Options
    from dvsprep.types import FrameSpec

    keys = {"dataset", "spec", "split", "seed", "instances"}
    if not isinstance(asked, dict) or not {"dataset", "spec"} <= set(asked) <= keys:
        raise UsageError('expected {"dataset": NAME, "spec": {...}}, and split, seed or instances')
    name, spec = asked["dataset"], asked["spec"]
    split, seed, instances = asked.get("split"), asked.get("seed", 0), asked.get("instances", "rows")
    if not (isinstance(name, str) and isinstance(spec, dict) and type(seed) is int and abs(seed) < 1 << 31):
        raise UsageError("dataset is a name, spec an object, seed a whole number")
    unknown = set(spec) - {"split_by", "T", "duration", "tail", "plugin", "params"}
    if unknown or not isinstance(spec.get("params", {}), dict):
        raise UsageError(f"a spec has no {', '.join(sorted(unknown)) or 'such params'}")
    if spec.get("plugin") is not None and spec["plugin"] not in plugins:
        raise UsageError("this service runs no such plugin", hint="`dvsprep serve --allow-plugins SPEC` allows one")
    if any(
        type(spec[key]) is int and spec[key] > most for key, most in (("T", 1024), ("duration", 1 << 40)) if key in spec
    ):
        raise UsageError("more than 1,024 frames a sample are not built on request")
    if type(spec.get("duration")) is int and spec["duration"] < 100:
        raise UsageError("frames of less than 100 microseconds are not built on request")
    shipped = isinstance(split, str) and split in splits.frozen(name)
    if not (split is None or shipped or (isinstance(split, float) and 0 < split < 1)):
        raise UsageError("split is a number between 0 and 1 or the name of a published split", hint="never a file")
    if not isinstance(instances, str) or not isinstance(spec.get("split_by"), str):
        raise UsageError("instances and split_by are words")
    made = FrameSpec(**spec)
    options: dict[str, Any] = {"split": split, "seed": seed, "instances": instances}
    Job(name, root, made, Options(**options))  # has its own opinion of it all
    return {"dataset": name, "spec": made.to_dict(), "options": options}
