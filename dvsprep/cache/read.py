"""Caches as sequences: ``source[i] -> (frames, label)`` or ``(events, label)``.

A source holds a path and opens the file lazily, once a process, so fork, spawn, forkserver and persistent workers all
work. Published caches never change, so files are opened without HDF5's locks, which fail on many network file systems.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from dvsprep.cache import loading, sparse
from dvsprep.cache.codec import Chunk, Packing
from dvsprep.cache.layout import MAGIC, SCHEMA, Block
from dvsprep.cache.mapped import Mapped, locate, map_file, unpack_chunks, unpack_columns, warm_up, worth_mapping
from dvsprep.cache.numbered import Numbered
from dvsprep.cache.times import Times, load_sparse
from dvsprep.errors import DvsprepError, IncompleteError, IntegrityError, NotACacheError, NotFoundError, UsageError
from dvsprep.integrate import widen
from dvsprep.types import Array, Events, FrameSpec, NeedOfTimes

if TYPE_CHECKING:
    from dvsprep.cache.on_the_fly import EventFrames
    from dvsprep.cache.preload import PreloadedFrames

DAMAGED = "the file is damaged: delete it and build it again"


def open_file(path: Path) -> h5py.File:
    """Open an HDF5 file for reading; the one place that does, because a process may not mix locking modes."""
    if path.is_dir():
        raise NotACacheError(f"{path}: a folder, not a cache", hint="name the .h5 file in it")
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file", hint="`dvsprep frames NAME` makes a cache and prints its path")
    try:
        return h5py.File(path, "r", locking=False)
    except PermissionError:
        raise
    except OSError as error:
        raise NotACacheError(f"{path}: no HDF5 file, or a truncated one: {error}") from None


@contextmanager
def sound(path: Path, what: str) -> Iterator[None]:
    """Turn what h5py raises on a damaged file, which is nearly anything, into one error that names the file."""
    try:
        yield
    except IntegrityError as error:
        if str(path) in error.message:
            raise
        raise IntegrityError(f"{path}: {what}: {error.message}", hint=DAMAGED) from None
    except (DvsprepError, PermissionError):
        raise
    except (KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise IntegrityError(f"{path}: {what} cannot be read: {error}", hint=DAMAGED) from error


class Column(NamedTuple):
    """A chunked dataset: shape, type, chunk shape and bytes on disk."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...] | None
    packed: int


class Stored(NamedTuple):
    """A chunked dataset, open, with what is asked of it for every chunk: h5py makes all of it anew each time.

    ``packing`` is None where the filters are not ours; then HDF5's own road is the one. ``mapped``: see Cache.map.
    """

    dataset: h5py.Dataset
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    packing: Packing | None
    mapped: Mapped | None


class Cache(Numbered):
    """What frame and event caches have in common.

    Parameters
    ----------
    path : path-like

    Attributes
    ----------
    kind : {"frames", "events"}
    dataset, split, key : str
    sensor : (H, W)
    identity, provenance : dict
    """

    kind: str

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Path = Path(path)
        self._handles: dict[int, h5py.File] = {}
        self._stored_columns: dict[int, dict[str, Stored]] = {}
        self._mapped: dict[str, Mapped | None] = {}
        self._small: dict[str, Array] = {}
        with sound(self.path, "the head"):
            self._read_head()

    def _read_head(self) -> None:
        attrs = self._file.attrs
        if attrs.get("format") != MAGIC:
            raise NotACacheError(f"{self.path}: an HDF5 file, but no cache of dvsprep")
        if attrs["schema"] != SCHEMA:
            raise IncompleteError(
                f"{self.path}: cache schema {attrs['schema']}, this version of dvsprep reads {SCHEMA}",
                hint="make it anew with `dvsprep frames`",
            )
        if attrs["kind"] != self.kind:
            raise UsageError(f"{self.path}: a cache of {attrs['kind']}, expected one of {self.kind}")
        self.dataset, self.split, self.key = str(attrs["dataset"]), str(attrs["split"]), str(attrs["key"])
        self.codec = str(attrs["codec"])
        self.channels = int(attrs["channels"])
        self.sensor = (int(attrs["sensor"][0]), int(attrs["sensor"][1]))
        self.identity: dict[str, Any] = json.loads(attrs["identity"])
        self.provenance: dict[str, Any] = json.loads(attrs["provenance"])
        self._spec: dict[str, Any] = json.loads(attrs["spec"])
        self.classes: Sequence[str] = tuple(c.decode() for c in self._file["classes"][:])
        self.labels: NDArray[np.int64] = self._file["labels"][:]

    @property
    def _file(self) -> h5py.File:
        # By process: after a fork the parent's handle is left alone, closing it would act on shared HDF5 state. Threads
        # that come first together all open the file, and one handle wins before any is used.
        pid = os.getpid()
        return self._handles.get(pid) or self._handles.setdefault(pid, open_file(self.path))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_handles": {}, "_stored_columns": {}, "_mapped": {}, "_small": {}}

    def small(self, name: str) -> Array:
        """Return a dataset of one value a sample: ids, n_events, t_start, t_end, crc32, offsets or rows."""
        if name not in self._small:
            with sound(self.path, name):
                values = self._file[name][:]
                if values.dtype.kind == "S":  # np.char would be imported for this alone
                    values = np.array([value.decode() for value in values.tolist()], np.str_)
                self._small[name] = values
        return self._small[name]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the chunked datasets; a cache without samples has none."""
        names = ("frames",) if self.kind == "frames" else ("dt", "x", "y", "p")
        with sound(self.path, "the list of columns"):
            return tuple(name for name in names if name in self._file)

    def column(self, name: str) -> Column:
        """Return the facts of a chunked dataset."""
        with sound(self.path, name):
            dataset = self._file[name]
            return Column(dataset.shape, dataset.dtype, dataset.chunks, int(dataset.id.get_storage_size()))

    def run(self, i: int) -> tuple[int, int]:
        """Return (first row, rows) of sample i in every column."""
        if not self.varies:
            return i, 1
        return int(self.small("offsets")[i]), int(self.small("rows")[i])

    @cached_property
    def varies(self) -> bool:
        """Whether samples differ in their number of rows: of events, or of frames."""
        return "offsets" in self._file

    def block(self, column: str, i: int) -> Block:
        """Return sample i's part of a column as it is stored."""
        start, rows = self.run(i)
        with sound(self.path, f"{column} of sample {i}"):
            stored = self._stored_column(column)
            chunk = stored.chunks[0] if stored.chunks else 1
            own = stored._replace(mapped=None)  # the bytes go to other processes and files
            packed = [] if 0 in stored.shape else [c for _, c in self._chunks(own, start, rows)]
        return Block(stored.dtype.str, stored.shape[1:], rows, chunk, packed)

    def rows(self, column: str, start: int, count: int) -> Array:
        """Return ``count`` rows of a column from ``start`` on, which begins a chunk."""
        with sound(self.path, f"{column}, row {start}"):
            return self._rows(self._stored_column(column), start, count)

    def _rows(self, stored: Stored, start: int, count: int) -> Array:
        out = np.empty((count, *stored.shape[1:]), stored.dtype)
        self._read(stored, start, out)
        return out

    def _read(self, stored: Stored, start: int, out: Array) -> None:
        if out.size == 0:
            return
        if stored.packing is None:
            out[...] = stored.dataset[start : start + len(out)]
            return
        for at, chunk in self._chunks(stored, start, len(out)):
            part = out[at : at + stored.chunks[0]]
            if stored.packing.undoes(chunk):
                stored.packing.unpack(chunk, part, stored.chunks[0])
            else:
                part[...] = stored.dataset[start + at : start + at + len(part)]

    def _stored_column(self, name: str) -> Stored:
        known = self._stored_columns.setdefault(os.getpid(), {})
        if name not in known:
            dataset = self._file[name]
            known[name] = Stored(
                dataset,
                dataset.shape,
                dataset.dtype,
                dataset.chunks or (),
                Packing.of(dataset) if dataset.chunks else None,
                self._mapped.get(name),
            )
        return known[name]

    def map(self) -> None:
        """Map the file and find all chunks, once: from then on threads read at the same time, without HDF5's lock.

        To be called before threads begin; worth it for who reads many samples.
        """
        if self._mapped:
            return
        with sound(self.path, "the list of chunks"):
            pages, mapped = map_file(self._file), {}
            for name in self.columns:
                dataset = self._file[name]
                few = worth_mapping(dataset)
                mapped[name] = Mapped(pages, locate(dataset)) if pages is not None and few else None
        self._mapped = mapped  # all at once: another thread may ask for the same
        self._stored_columns.clear()

    @staticmethod
    def _chunks(stored: Stored, start: int, count: int) -> Iterator[tuple[int, Chunk]]:
        """Yield the rows before it and each chunk of ``count`` rows from ``start`` on."""
        zeros = (0,) * (len(stored.shape) - 1)
        read, rows = stored.dataset.id.read_direct_chunk, stored.chunks[0]
        for at in range(0, count, rows):
            chunk = stored.mapped.chunk((start + at) // rows) if stored.mapped is not None else None
            yield at, chunk or Chunk(*read((start + at, *zeros)))


class FrameCache(loading.Frames, Cache):
    """A cache of frames; a FrameSource.

    ``source[i] -> (frames [T, C, H, W] in the stored integer type, label)``
    """

    kind = "frames"

    @property
    def spec(self) -> FrameSpec:
        """How the frames were made."""
        return FrameSpec.from_dict(self._spec)

    def __getitem__(self, index: int, /) -> tuple[Array, int]:
        i = self.index(index)
        frames = self.rows("frames", *self.run(i))
        return self._typed(frames if self.varies else frames[0]), int(self.labels[i])

    def preload(self) -> PreloadedFrames:
        """Return the same frames, unpacked into memory once for all processes that use them."""
        from dvsprep.cache.preload import PreloadedFrames

        return PreloadedFrames(self)

    def __getitems__(self, indices: Sequence[int]) -> Sequence[tuple[Array, int]]:
        """Return a whole batch, as torch's DataLoader asks for it."""
        if self.varies:
            return loading.one_by_one(self.__getitem__, indices, self._chunk_bytes)
        self.map()
        large = self._chunk_bytes >= sparse.WORTH_READING
        if large and multiprocessing.parent_process() is None:  # not in workers: each would wait for Numba
            sparse.load()  # those forked from this process have it
        column = self._stored_column("frames") if len(self) else self.column("frames")
        wanted = [self.index(i) for i in indices]
        how = column.dtype, self._floating, sparse.AT_ONCE if large else 1
        return loading.batch(self._fill, wanted, self.labels, column.shape[1:], *how)

    def _fill(self, some: Sequence[int], out: Array) -> None:
        stored = self._stored_column("frames")
        for k, done in enumerate(unpack_chunks(stored, some, out)):
            if not done:
                with sound(self.path, f"frames, row {some[k]}"):
                    self._read(stored, some[k], out[k : k + 1])

    @cached_property
    def _chunk_bytes(self) -> int:
        """Bytes of an unpacked chunk: about what is done for a sample."""
        column = self.column("frames")
        return int(np.prod(column.chunks or (0,))) * column.dtype.itemsize


class EventCache(Cache):
    """A cache of events: ``source[i] -> ({"t", "x", "y", "p"} int64[N], label)``."""

    kind = "events"

    def __getitem__(self, index: int, /) -> tuple[Events, int]:
        i = self.index(index)
        return widen(self.compact(i)), int(self.labels[i])

    def map(self) -> None:
        """Map the file, as of all caches; the columns of a sample are then unpacked by one call."""
        super().map()
        warm_up()

    def load_times(self) -> None:
        """Load what unpacks times, if it takes long to load and these are worth it; before threads or workers begin."""
        load_sparse(self)

    def compact(self, i: int, *, times: NeedOfTimes = True, empty: loading.Empty = loading.fresh) -> Events:
        """Return one sample's events as they are kept: x and y in uint8 where the sensor allows, p in uint8.

        Without ``times``, t is empty: who does not look at it need not unpack it. With "searched" it can be searched.
        With ``empty=loading.scratch`` they last until this thread's next sample.
        """
        start, n = self.run(i)
        t: Any = np.empty(0, np.int64)
        if times:
            stored = Times(self, i, partial(sound, self.path, f"dt of sample {i}"))
            t = stored if times == "searched" else stored.unpack()
        with sound(self.path, f"the events of sample {i}"):
            columns = [self._stored_column(name) for name in "xyp"]
            x, y, p = unpack_columns(columns, start, n, empty) or (self._rows(column, start, n) for column in columns)
        return Events(t=t, x=x, y=y, p=p)

    def frames(
        self,
        spec: FrameSpec | None = None,
        *,
        jitter: Callable[[Events], Events] | None = None,
        **fields: Any,
    ) -> EventFrames:
        """Return a FrameSource that integrates on the fly, equal to a stored cache of the same spec.

        Parameters
        ----------
        spec, **fields
            A FrameSpec, or its fields: ``frames(split_by="number", T=20)``.
        jitter : callable, optional
            Applied to the events before they are integrated.
        """
        from dvsprep.cache.on_the_fly import EventFrames

        return EventFrames(self, spec or FrameSpec(**fields), jitter)


def kind_of(path: str | os.PathLike[str]) -> str:
    """Return "frames" or "events".

    Raises
    ------
    NotFoundError, NotACacheError
    """
    with open_file(Path(path)) as file, sound(Path(path), "the head"):
        if file.attrs.get("format") != MAGIC:
            raise NotACacheError(f"{path}: an HDF5 file, but no cache of dvsprep")
        return str(file.attrs["kind"])
