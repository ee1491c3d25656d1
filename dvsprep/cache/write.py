"""Packed samples in, a published cache out: built beside its final name and renamed when it is whole."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np

from dvsprep import disk
from dvsprep.cache import codec as codecs
from dvsprep.cache.layout import MAGIC, SCHEMA, Block, Header, Packed, packing_of, repack
from dvsprep.cache.spool import Extent, Joined, Spool
from dvsprep.parallel import refuse_in_reimport
from dvsprep.types import Array, canonical_json
from dvsprep.version import __version__

POLARITY = {1: "one channel, in which polarity does not count", 2: "channel 0 counts OFF, channel 1 counts ON"}


def spool_path(target: Path) -> Path:
    """Return where an unfinished build of ``target`` keeps its samples."""
    return target.with_name(f".{target.name}.spool")


def locked(target: Path, say: Callable[[str], None]) -> AbstractContextManager[bool]:
    """Hold the lock of ``target``; yield whether it is held.

    Correctness never rests on it: where a file system has no locks, two builds do the work twice, each under names of
    its own, and the last rename wins with the same content.
    """
    return disk.lock(
        target.with_name(f".{target.name}.lock"),
        busy=lambda: say(f"another process builds {target.name}; waiting for it"),
    )


class Publishing:
    """Publishes caches, two at a time, while the next one is built: half of that is waiting for the disk.

    When its ``with`` block ends, all are published, or the first error is raised. Until then their locks are held.
    """

    def __init__(self) -> None:
        self._locks = ExitStack()
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="dvsprep-publish")
        self._begun: list[Future[None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        with self._locks, self._pool:
            if error is None:
                for begun in self._begun:
                    begun.result()

    def lock(self, target: Path, say: Callable[[str], None]) -> bool:
        """Do :func:`locked` until all is published."""
        return self._locks.enter_context(locked(target, say))

    def begin(self, finish: Callable[[], None]) -> None:
        """Have one cache published, or something else done meanwhile."""
        self._begun.append(self._pool.submit(finish))


def build(
    target: Path,
    header: Header,
    produce: Callable[[Array], Iterable[Sequence[Packed]]],
    say: Callable[[str], None] = lambda _: None,
    publishing: Publishing | None = None,
) -> Path:
    """Make the cache ``target`` unless it is there.

    Parameters
    ----------
    produce : callable
        Takes ``done : bool[N]``, the samples that an earlier, unfinished build left; yields the others, in batches.
    publishing : Publishing, optional
        Publishes it while the caller goes on; unless given it is published when this returns.
    """
    if publishing is None:
        with Publishing() as own:
            return build(target, header, produce, say, own)
    refuse_in_reimport()
    codecs.check(header.codec)
    target.parent.mkdir(parents=True, exist_ok=True)
    held = publishing.lock(target, say)
    if target.exists():
        return target
    path = spool_path(target) if held else spool_path(target).with_suffix(f".{uuid.uuid4().hex[:8]}")
    spool = Spool(path, spool_tag(header.codec), len(header.ids))
    with _kept(spool, held):
        if held:
            _sweep(target)
        if spool.done.any():
            say(f"going on with {spool.done.sum()} of {len(header.ids)} samples of an unfinished build")
        for samples in produce(spool.done.copy()):
            spool.append(samples)
    publishing.begin(_kept(spool, held)(partial(publish, target, header, spool)))
    return target


def join(target: Path, header: Header, parts: Sequence[Spool], say: Callable[[str], None], within: Publishing) -> Path:
    """Publish the cache ``target``, unless it is there, from spools that hold its samples one after the other."""
    if within.lock(target, say):
        _sweep(target)
        spool_path(target).unlink(missing_ok=True)
    if not target.exists():
        within.begin(partial(publish, target, header, Joined(parts)))
    return target


def _sweep(target: Path) -> None:
    """Remove what killed builds left; nobody else may be writing."""
    for stale in target.parent.glob(f".{target.name}.tmp-*"):
        stale.unlink(missing_ok=True)


@contextmanager
def _kept(spool: Spool, held: bool) -> Iterator[None]:
    """Leave the samples for the next build, which finds them if it has the lock, when this one fails."""
    try:
        yield
    except BaseException:
        spool.close() if held else spool.discard()
        raise


def spool_tag(codec: str) -> str:
    """Return what packed samples depend on besides the key: a spool of another version or codec is begun anew."""
    return f"{codec} {SCHEMA} {__version__}"


def write_cache(target: Path, header: Header, samples: Iterable[Packed], *, replace: bool = False) -> Path:
    """Write a cache in one go; ``replace`` lets it take the place of another file."""
    disk.make_folder(target.parent)
    spool = Spool(spool_path(target).with_suffix(f".{uuid.uuid4().hex[:8]}"), spool_tag(header.codec), len(header.ids))
    try:
        for sample in samples:
            spool.append([sample])
        publish(target, header, spool, replace=replace)
    finally:
        spool.discard()
    return target


def publish(target: Path, header: Header, spool: Spool | Joined, *, replace: bool = True) -> None:
    """Write the HDF5 file beside its final name, flush it to disk, rename it."""
    temporary = disk.beside(target)
    try:
        with h5py.File(temporary, "w", locking=False) as file:
            _write(file, header, spool)
        disk.sync(temporary)
        spool.discard()  # before the rename: behind a finished cache nobody would look for it again
        disk.give_name(temporary, target, replace=replace)
    finally:
        temporary.unlink(missing_ok=True)


def _write(file: h5py.File, header: Header, spool: Spool | Joined) -> None:
    n = len(header.ids)
    if not spool.done.all():
        first = header.ids[int(np.argmin(spool.done))]
        raise AssertionError(f"{n - spool.done.sum()} samples were never built, the first is {first}")
    _write_head(file, header, header.provenance | ({"mended": spool.mended} if spool.mended else {}))
    _put(file, "labels", np.asarray(header.labels, np.int64))
    _put(file, "ids", as_bytes(header.ids))
    for name, values in spool.facts.items():
        _put(file, name, values)
    columns = {name: Column(name, extent, header) for name, extent in spool.columns.items()}
    for column in columns.values():
        column.create(file)
    checksums = np.zeros(n, np.uint32)
    for i in range(n):
        sample = spool.read(i)
        for name, column in columns.items():
            sample.blocks[name] = column.write(i, sample.blocks[name])
        checksums[i] = sample.crc32
    _put(file, "crc32", checksums)
    first_column = next(iter(columns.values()), None)
    if first_column is not None and first_column.offsets is not None:
        _put(file, "offsets", first_column.offsets[:-1])
        _put(file, "rows", first_column.rows)


def _put(file: h5py.File, name: str, values: Array) -> None:
    """Do ``file[name] = values`` in a third of the time."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_obj_track_times(False)
    kind, space = h5py.h5t.py_create(values.dtype, logical=True), h5py.h5s.create_simple(values.shape)
    dataset = h5py.h5d.create(file.id, name.encode(), kind, space, dcpl=properties)
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ascontiguousarray(values))


def as_bytes(texts: Sequence[str]) -> Array:
    """Return texts as HDF5's fixed-length UTF-8 strings."""
    encoded = [text.encode() for text in texts]
    return np.array(encoded, dtype=f"S{max(map(len, encoded), default=1)}")


def _write_head(file: h5py.File, header: Header, provenance: dict[str, Any]) -> None:
    attributes: dict[str, Any] = {
        "format": MAGIC,
        "schema": SCHEMA,
        "kind": header.kind,
        "key": header.key,
        "dataset": header.dataset,
        "split": header.split,
        "sensor": np.array(header.sensor, np.int64),
        "channels": header.channels,
        "codec": header.codec,
        "spec": canonical_json(header.spec),
        "identity": canonical_json(header.identity),
        "provenance": canonical_json(provenance | {"dvsprep": __version__}),
        "time_unit": "microseconds",
        "polarity": "0 = OFF, 1 = ON; " + POLARITY[header.channels],
        "origin": "top left; x is the column, y the row",
        "bins": "[a, b)",
    }
    text, one = h5py.string_dtype(), h5py.h5s.create(h5py.h5s.SCALAR)
    kind = h5py.h5t.py_create(text, logical=True)
    for name, value in attributes.items():
        if isinstance(value, str):  # as h5py does it, in a third of the time
            h5py.h5a.create(file.id, name.encode(), kind, one).write(np.array(value, text))
        else:
            file.attrs[name] = value
    _put(file, "classes", as_bytes(header.classes))


class Column:
    """One chunked dataset, and what has to be done to samples that do not fit the others' type or shape."""

    def __init__(self, name: str, extent: Extent, header: Header) -> None:
        self.name = name
        self.dtype = np.result_type(*extent.dtypes)
        self.chunk = extent.chunk
        self.packing = packing_of(header.codec, name, self.dtype, header.sensor)
        shapes, self.rows = extent.row_shapes, extent.rows
        # A row of four axes is a sample [T, C, H, W]; of three a frame, even where every sample has just one.
        whole_samples = all(len(shape) == 4 for shape in shapes)
        # Only a plugin's frames can differ in T after the fact: then a row is a frame, not a sample.
        self.by_frame = whole_samples and len(shapes) > 1
        if self.by_frame:
            self.rows, shapes = extent.lengths, {shape[1:] for shape in shapes}
        if len(shapes) > 1:
            raise AssertionError(f"column {name}: rows of shapes {sorted(shapes)}")
        (self.row_shape,) = shapes
        self.starts = np.concatenate([[0], np.cumsum(-(-self.rows // self.chunk) * self.chunk)])
        self.offsets = None if whole_samples and not self.by_frame else self.starts

    def create(self, file: h5py.File) -> None:
        """Create the dataset at its final size."""
        chunks = (self.chunk, *self.row_shape)
        shape = (int(self.starts[-1]), *self.row_shape)
        if 0 in chunks or shape[0] == 0:  # no frame or event in any sample: nothing to write
            file.create_dataset(self.name, shape, self.dtype)
            return
        self.dataset = self.packing.create(file, self.name, shape, self.dtype, chunks)

    def write(self, i: int, block: Block) -> Block:
        """Write sample i's chunks as they are; return the block that was written."""
        if 0 in self.row_shape:
            return Block(self.dtype.str, self.row_shape, block.rows, self.chunk, [])
        if self.by_frame or block.dtype != self.dtype.str:
            block = repack(block, self.dtype, self.packing, by_frame=self.by_frame)
        if not block.packed:  # and where no sample has any, there is no dataset to write to
            return block
        at, zeros, write = int(self.starts[i]), (0,) * len(self.row_shape), self.dataset.id.write_direct_chunk
        for chunk in block.packed:
            write((at, *zeros), chunk.data, chunk.mask)
            at += self.chunk
        return block
