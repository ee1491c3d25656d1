"""Tasks in, results out in the tasks' order: serial, threads, processes or any concurrent.futures Executor.

Threads are the default: kernels, codecs and reads hold no GIL, and no worker has to import Numba again. Processes are
for users' Python functions.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar, cast

from dvsprep import config
from dvsprep.errors import BackendError, UsageError

T = TypeVar("T")
R = TypeVar("R")
SELDOM = 50_000  # objects made before Python looks for garbage

Kind = str | Executor


def cpu_count() -> int:
    """Return the CPUs this process may use: affinity (SLURM, taskset, cgroup cpusets), else all."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def workers(jobs: int | None) -> int:
    """Return how many work at once: so many, or unless told what ``dvsprep.config`` says, else one a usable CPU."""
    return jobs or config.jobs() or cpu_count()


def refuse_in_reimport() -> None:
    """Raise in a worker that imports the user's script anew: it would build again, and wait for the build it is of."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise UsageError(
            "a script that builds with worker processes runs once more in each of them",
            hint='put what it does below `if __name__ == "__main__":`',
        )


def run(
    fn: Callable[[T], R],
    tasks: Iterable[T],
    executor: Kind = "threads",
    *,
    jobs: int | None = None,
    ahead: int | None = None,
) -> Iterator[R]:
    """Yield ``fn(task)`` for every task, in order.

    At most ``jobs + ahead`` tasks are in flight, so memory does not grow with their number. The first error cancels
    what has not started and is raised; so does closing the iterator.

    Parameters
    ----------
    fn : callable
        Must be picklable for processes and remote executors.
    executor : {"serial", "threads", "processes"} or concurrent.futures.Executor
    jobs : int, optional
        Workers; unless told what ``dvsprep.config`` says, else the number of usable CPUs.
    ahead : int, optional
        Results that may wait to be taken; as many as there are workers unless told.
    """
    jobs = workers(jobs)
    most = jobs + (jobs if ahead is None else ahead)
    if executor == "serial" or (jobs == 1 and executor == "threads"):
        yield from map(fn, tasks)
        return
    with _pool(executor, jobs) as pool:
        pending: deque[Future[R]] = deque()
        try:
            for task in tasks:
                pending.append(pool.submit(fn, task))
                if len(pending) >= most:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BrokenExecutor as error:
            raise BackendError(
                "a worker process ended before its work was done",
                hint="often memory ran out, and --jobs 1 needs less; or a plugin crashes Python",
            ) from error
        finally:
            for future in pending:
                future.cancel()


def ahead(items: Iterable[T]) -> Iterator[T]:
    """Yield items of which a thread makes the next one meanwhile; its error comes out here."""
    iterator, end, turn = iter(items), object(), threading.Lock()

    def step() -> object:
        with turn:
            return next(iterator, end)

    with ThreadPoolExecutor(1, thread_name_prefix="dvsprep-ahead") as pool:
        try:
            coming = pool.submit(step)
            while (item := coming.result()) is not end:
                coming = pool.submit(step)
                yield cast(T, item)
                del item  # it may be large
        finally:
            pool.shutdown()
            # Nobody may be in it when it is closed; the pool does not know a thread at whose start Ctrl-C came.
            with turn:
                if isinstance(iterator, Generator):
                    iterator.close()


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Have Python look for garbage a hundredth as often; also to decorate what makes many objects.

    Of 7,000 small samples that takes a sixth of the time, and more of more, for all that is kept is looked at again and
    again. Next to nothing of what a build makes is garbage that only a search finds.
    """
    first, *others = gc.get_threshold()
    if not 0 < first < SELDOM:  # switched off, or seldom already: whoever made it so puts it back
        yield
        return
    gc.set_threshold(SELDOM, *others)
    try:
        yield
    finally:
        gc.set_threshold(first, *others)


@contextmanager
def _pool(executor: Kind, jobs: int) -> Iterator[Executor]:
    if isinstance(executor, Executor):
        yield executor  # the caller's own: theirs to shut down
    elif executor == "threads":
        with ThreadPoolExecutor(jobs, thread_name_prefix="dvsprep") as pool:
            yield pool
    elif executor == "processes":
        # Never fork: Numba's and HDF5's threads and locks do not survive it.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, mp_context=context, initializer=_quiet_worker, initargs=(os.getpid(),)) as pool:
            try:
                yield pool
            except BaseException:
                # Leaving the pool waits for what its workers have begun; a user's function may take minutes.
                for process in list((pool._processes or {}).values()):
                    process.terminate()
                raise
    else:
        raise UsageError(f"executor is {executor!r}, expected serial, threads, processes or an Executor")


def _quiet_worker(parent: int) -> None:
    """Leave Ctrl-C to the parent, and end with it: a killed parent must not leave workers behind."""
    import signal
    import time

    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    if hasattr(os, "getppid") and os.name == "posix":
        threading.Thread(target=watch, daemon=True).start()
