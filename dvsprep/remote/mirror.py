"""Samples that were fetched before, on this machine's disk: one SQLite file that all processes share.

Least recently used samples go when it is full. A killed process leaves whole samples or none; what is read is compared
with its checksum; a full disk or a broken file only means that samples are fetched again, and is told once.
"""

from __future__ import annotations

import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dvsprep import wire
from dvsprep.errors import IntegrityError

log = logging.getLogger("dvsprep.remote")
SCHEMA = """
create table if not exists samples (
    id integer primary key, version text not null, i integer not null, message blob not null, unique (version, i)
);
create table if not exists used (id integer primary key, at integer not null);
"""
# A power cut may lose samples, which is all that waiting for the disk would prevent.
PRAGMAS = ("journal_mode=wal", "synchronous=normal", "busy_timeout=10000", "cache_size=-8000")
WAITING = 64  # batches to be written; more are not kept
AT_ONCE = 500  # samples in one question: SQLite's oldest limit is 999 variables


class Mirror:
    """Samples by (version of the cache, index).

    Parameters
    ----------
    path : path
        A file; on a local disk, for SQLite shares none over a network.
    cap : int
        Bytes that it may take.
    """

    def __init__(self, path: Path, cap: int) -> None:
        self.path, self.cap = Path(path), cap
        self._own: dict[int, _Process] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_own": {}}

    def _process(self) -> _Process:
        pid = os.getpid()  # neither SQLite nor threads survive a fork
        return self._own.get(pid) or self._own.setdefault(pid, _Process(self.path, self.cap))

    def get(self, version: str, indices: Sequence[int]) -> dict[int, wire.Sample]:
        """Return those of some samples that are here."""
        return self._process().get(version, indices)

    def put(self, version: str, samples: Iterable[wire.Sample]) -> None:
        """Keep samples, soon: writing is left to a thread, and skipped where that one is far behind."""
        self._process().put(version, samples)

    def flush(self) -> None:
        """Wait until what was put is written."""
        self._process().todo.join()


# A child that is forked while a thread is inside SQLite would find its mutexes locked for ever.
_reading, _writing = threading.Lock(), threading.Lock()


def _before_fork() -> None:
    _writing.acquire()
    _reading.acquire()


def _after_fork() -> None:
    _reading.release()
    _writing.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)


def _connected(path: Path) -> sqlite3.Connection:
    base = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    try:
        for pragma in PRAGMAS:
            base.execute(f"pragma {pragma}")
        base.executescript(SCHEMA)
    except BaseException:
        base.close()
        raise
    return base


class _Process:
    """What one process has of a mirror: a connection to read, and a thread that writes."""

    def __init__(self, path: Path, cap: int) -> None:
        self.path, self.cap = path, cap
        self.todo: queue.Queue[tuple[str, list[tuple[int, bytes]], list[int]]] = queue.Queue(WAITING)
        self._lock = threading.Lock()
        self._touched: list[int] = []
        self._off = False
        with _reading:
            self._reader = self._open()
        self._writer: threading.Thread | None = None

    def _open(self) -> sqlite3.Connection | None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                return _connected(self.path)
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError as error:  # broken; it is ours, and only a mirror
                log.warning("%s: %s; begun anew", self.path, error)
                self._set_aside()
                return _connected(self.path)
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)
            return None

    def _set_aside(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            file = self.path.with_name(self.path.name + suffix)
            if file.exists():
                file.replace(file.with_name(f"{file.name}.bad"))

    def _give_up(self, error: Exception) -> None:
        if not self._off:
            log.warning("%s: %s; samples are no longer kept there, and fetched each time", self.path, error)
        self._off = True

    # -- reading --

    def get(self, version: str, indices: Sequence[int]) -> dict[int, wire.Sample]:
        if self._reader is None:
            return {}
        found: dict[int, wire.Sample] = {}
        for start in range(0, len(indices), AT_ONCE):
            part = [int(i) for i in indices[start : start + AT_ONCE]]
            marks = ",".join("?" * len(part))
            question = f"select id, i, message from samples where version = ? and i in ({marks})"  # noqa: S608
            try:
                with _reading:
                    rows = self._reader.execute(question, (version, *part)).fetchall()
            except sqlite3.Error as error:
                self._give_up(error)
                return found
            for id, i, message in rows:
                try:
                    (found[i],) = wire.unpack(message)
                except (IntegrityError, ValueError):
                    log.warning("%s: sample %d of %s is damaged, and fetched again", self.path, i, version)
                    continue
                self._touched.append(id)
        if len(self._touched) > AT_ONCE:
            touched, self._touched = self._touched, []
            self._later("", [], touched)
        return found

    # -- writing --

    def put(self, version: str, samples: Iterable[wire.Sample]) -> None:
        if self._off:
            return
        self._later(version, [(sample.i, wire.pack([sample])) for sample in samples], [])

    def _later(self, version: str, samples: list[tuple[int, bytes]], touched: list[int]) -> None:
        if self._off:
            return
        if self._writer is None:
            with self._lock:
                if self._writer is None:
                    self._writer = threading.Thread(target=self._write_all, name="dvsprep-mirror", daemon=True)
                    self._writer.start()
        try:
            self.todo.put_nowait((version, samples, touched))
        except queue.Full:
            log.debug("%s: the disk is behind; %d samples are not kept", self.path, len(samples))

    def _write_all(self) -> None:
        with _writing:
            base = self._open()
        while True:
            version, samples, touched = self.todo.get()
            try:
                if base is not None and not self._off:
                    with _writing:
                        self._write(base, version, samples, touched)
            except sqlite3.Error as error:
                if "locked" in str(error):  # by another process, for longer than we wait
                    log.debug("%s: %s; %d samples are not kept", self.path, error, len(samples))
                else:
                    self._give_up(error)
            finally:
                self.todo.task_done()

    def _write(
        self, base: sqlite3.Connection, version: str, samples: list[tuple[int, bytes]], touched: list[int]
    ) -> None:
        now = time.time_ns() // 1_000_000
        base.execute("begin immediate")
        try:
            for i, message in samples:
                # Replaced rather than ignored: the one that is here may be damaged.
                put = "insert or replace into samples (version, i, message) values (?, ?, ?)"
                touched.append(int(base.execute(put, (version, i, message)).lastrowid or 0))
            base.executemany("insert or replace into used values (?, ?)", [(id, now) for id in touched])
            self._evict(base)
            base.execute("commit")
        except BaseException:
            if base.in_transaction:
                base.execute("rollback")
            raise

    def _evict(self, base: sqlite3.Connection) -> None:
        """Delete the least recently used samples until a tenth of the mirror is free, if it is full."""
        page, pages, free = (int(base.execute(f"pragma {name}").fetchone()[0]) for name in
                             ("page_size", "page_count", "freelist_count"))  # fmt: skip
        size = page * (pages - free)
        if size <= self.cap:
            return
        n = int(base.execute("select count(*) from samples").fetchone()[0])
        least = max(1, min(n, round(n * (1 - 0.9 * self.cap / size))))
        oldest = "select s.id from samples s left join used u on u.id = s.id order by coalesce(u.at, 0), s.id limit ?"
        ids = base.execute(oldest, (least,)).fetchall()
        base.executemany("delete from samples where id = ?", ids)
        base.executemany("delete from used where id = ?", ids)
