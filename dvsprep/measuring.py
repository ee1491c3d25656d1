"""How fast a cache reads on the user's own machine and disk, by codec and number of workers."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from dvsprep import cache as caches
from dvsprep import parallel
from dvsprep.cache import EventCache, FrameCache
from dvsprep.cache.codec import CODECS
from dvsprep.errors import UsageError

BATCH = 16
LOOKS = 3  # the median of so many
Look = Callable[[int], None]


class Row(NamedTuple):
    """One measurement: samples a second, and bytes a sample on disk."""

    codec: str
    workers: int
    samples_per_second: float
    bytes_per_sample: int


def measure(
    path: str | os.PathLike[str],
    *,
    samples: int = 64,
    workers: Sequence[int] = (0, 1, 2, 4),
    seconds: float = 1.0,
    say: Callable[[str], None] = lambda _: None,
) -> list[Row]:
    """Copy some samples of a cache beside it with each codec, and read them in batches of 16.

    Everything is in the page cache when it is read, as from the second epoch on.

    Parameters
    ----------
    samples : int
        Most samples that are copied.
    workers : sequence of int
        Processes that read; 0 is this one, whose threads share a batch.
    seconds : float
        How long each is read, at the least.
    """
    opened = caches.open_cache(path)
    if not len(opened):
        raise UsageError(f"{path}: a cache without samples has no speed")
    chosen = range(min(samples, len(opened)))
    rows = []
    with _copies(opened.path.resolve().parent) as folder:
        for codec in CODECS:
            say(f"{codec}: copying {len(chosen)} samples")
            copy = caches.copy_samples(opened, chosen, Path(folder, f"{codec}.h5"), codec=codec)
            size = copy.stat().st_size // len(chosen)
            for n in workers:
                say(f"{codec}: reading with {n} workers")
                with _readers(copy, n) as look:
                    rows.append(Row(codec, n, _rate(look, seconds), size))
    return rows


def _copies(beside: Path) -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(dir=beside, prefix=".dvsprep-bench-")
    except OSError as error:
        raise UsageError(
            f"{beside}: the copies to be measured cannot be written there: {error.strerror}",
            hint="copy the cache to a folder of that disk that you may write",
        ) from error


def recommend(rows: Sequence[Row], current: str) -> tuple[str, int]:
    """Return codec and workers: the fastest, but a codec of less than half the bytes within a tenth of it."""
    best = max(rows, key=lambda row: row.samples_per_second)
    near = [row for row in rows if row.samples_per_second >= 0.9 * best.samples_per_second]
    small = min(near, key=lambda row: (row.bytes_per_sample, row.codec != current, row.workers))
    chosen = small if 2 * small.bytes_per_sample < best.bytes_per_sample else best
    return chosen.codec, chosen.workers


def _rate(look: Look, seconds: float) -> float:
    look(1)  # opens the file, loads kernels
    batches = 1
    while (took := _seconds(look, batches)) < seconds / LOOKS:
        batches = max(batches + 1, int(batches * min(8, 1.2 * seconds / LOOKS / max(took, 1e-4))))
    return batches * BATCH / median(_seconds(look, batches) for _ in range(LOOKS))


def _seconds(look: Look, batches: int) -> float:
    begin = time.perf_counter()
    look(batches)
    return time.perf_counter() - begin


@contextmanager
def _readers(path: Path, workers: int) -> Iterator[Look]:
    """Give a function that reads so many batches, shared by so many processes."""
    if workers == 0:
        source = caches.open_cache(path)
        yield lambda batches: read(source, batches)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(path,)) as pool:

        def look(batches: int) -> None:
            shares = [len(range(k, batches, workers)) for k in range(workers)]
            for _ in pool.map(_read_more, shares):
                pass

        list(pool.map(time.sleep, [0.05] * workers * 2))  # all of them are up
        yield look


def read(source: FrameCache | EventCache, batches: int) -> None:
    """Read so many batches, the samples in turn."""
    indices = cycle(range(len(source)))
    for _ in range(batches):
        wanted = list(islice(indices, BATCH))
        if isinstance(source, FrameCache):
            source.__getitems__(wanted)
        else:
            for i in wanted:
                source.compact(i)


_source: Any = None


def _begin(path: Path) -> None:
    global _source
    _source = caches.open_cache(path)


def _read_more(batches: int) -> None:
    read(_source, batches)


def default_workers() -> tuple[int, ...]:
    """Return 0, 1, 2, 4, ... up to the CPUs of this process."""
    return (0, *(n for n in (1, 2, 4, 8, 16, 32) if n <= parallel.cpu_count()))
