"""Packed samples in, a published cache out: built beside its final name and renamed when it is whole."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from filelock import FileLock, Timeout

from dvsprep import disk
from dvsprep.cache import codec as codecs
from dvsprep.cache.layout import MAGIC, SCHEMA, Block, Header, Packed, repack
from dvsprep.cache.spool import Spool
from dvsprep.parallel import refuse_in_reimport
from dvsprep.types import canonical_json
from dvsprep.version import __version__

POLARITY = {1: "one channel, in which polarity does not count", 2: "channel 0 counts OFF, channel 1 counts ON"}
SCALARS = {"n_events": np.int64, "t_start": np.int64, "t_end": np.int64, "crc32": np.uint32}


def spool_path(target: Path) -> Path:
    """Return where an unfinished build of ``target`` keeps its samples."""
    return target.with_name(f".{target.name}.spool")


@contextmanager
def locked(target: Path, say: Callable[[str], None]) -> Iterator[bool]:
    """Hold the lock of ``target``; yield whether it is held.

    Correctness never rests on it: where a file system has no locks, two builds do the work twice, each under names of
    its own, and the last rename wins with the same content.
    """
    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"another process builds {target.name}; waiting for it")
            lock.acquire()
    except (NotImplementedError, OSError) as error:
        if isinstance(error, PermissionError) or getattr(error, "errno", None) in (13, 28, 30):
            raise
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def build(
    target: Path,
    header: Header,
    produce: Callable[[set[int]], Iterable[list[Packed]]],
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Make the cache ``target`` unless it is there.

    Parameters
    ----------
    produce : callable
        Takes the indices that an earlier, unfinished build left, yields lists of the other samples.
    """
    refuse_in_reimport()
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target, say) as held:
        if target.exists():
            return target
        path = spool_path(target) if held else spool_path(target).with_suffix(f".{uuid.uuid4().hex[:8]}")
        spool = Spool(path, _tag(header))
        try:
            if held:
                for stale in target.parent.glob(f".{target.name}.tmp-*"):
                    stale.unlink(missing_ok=True)  # of a killed build: nobody else may be writing one
            if spool.positions:
                say(f"going on with {len(spool.positions)} of {len(header.ids)} samples of an unfinished build")
            for samples in produce(set(spool.positions)):
                for sample in samples:
                    spool.append(sample)
            publish(target, header, spool)
        except BaseException:
            spool.close() if held else spool.discard()
            raise
    return target


def _tag(header: Header) -> str:
    """Return what packed samples depend on besides the key: a spool of another version or codec is begun anew."""
    return f"{header.codec} {SCHEMA} {__version__}"


def write_cache(target: Path, header: Header, samples: Iterable[Packed], *, replace: bool = False) -> Path:
    """Write a cache in one go; ``replace`` lets it take the place of another file."""
    disk.make_folder(target.parent)
    spool = Spool(spool_path(target).with_suffix(f".{uuid.uuid4().hex[:8]}"), _tag(header))
    try:
        for sample in samples:
            spool.append(sample)
        publish(target, header, spool, replace=replace)
    finally:
        spool.discard()
    return target


def publish(target: Path, header: Header, spool: Spool, *, replace: bool = True) -> None:
    """Write the HDF5 file beside its final name, flush it to disk, rename it."""
    temporary = disk.beside(target)
    try:
        with h5py.File(temporary, "w", locking=False) as file:
            _write(file, header, spool)
        disk.sync(temporary)
        spool.discard()  # before the rename: behind a finished cache nobody would look for it again
        disk.publish(temporary, target, replace=replace)
    finally:
        temporary.unlink(missing_ok=True)


def _write(file: h5py.File, header: Header, spool: Spool) -> None:
    n = len(header.ids)
    missing = [i for i in range(n) if i not in spool.positions]
    if missing:
        raise AssertionError(f"{len(missing)} samples were never built, the first is {header.ids[missing[0]]}")
    mended: dict[str, int] = {}
    for head in spool.heads.values():
        for what, count in head["mended"].items():
            mended[what] = mended.get(what, 0) + count
    provenance = header.provenance | ({"mended": mended} if mended else {})
    _write_head(file, header, provenance)
    file["labels"] = np.asarray(header.labels, np.int64)
    file["ids"] = np.array(
        [i.encode() for i in header.ids], dtype=f"S{max((len(i.encode()) for i in header.ids), default=1)}"
    )
    for name, dtype in SCALARS.items():
        file[name] = np.array([spool.heads[i]["facts"].get(name, 0) for i in range(n)], dtype)
    columns = [Column(name, n, spool, header) for name in (spool.heads[0]["blocks"] if n else ())]
    for column in columns:
        column.create(file)
    changed = np.asarray(file["crc32"])
    for i in range(n):
        sample = spool.read(i)
        for column in columns:
            sample.blocks[column.name] = column.write(i, sample.blocks[column.name])
        changed[i] = sample.crc32
    file["crc32"][...] = changed
    if columns and columns[0].offsets is not None:
        file["offsets"], file["rows"] = columns[0].offsets[:-1], columns[0].rows


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
    for name, value in attributes.items():
        file.attrs[name] = value
    width = max((len(c.encode()) for c in header.classes), default=1)
    file["classes"] = np.array([c.encode() for c in header.classes], dtype=f"S{width}")


class Column:
    """One chunked dataset, and what has to be done to samples that do not fit the others' type or shape."""

    def __init__(self, name: str, n: int, spool: Spool, header: Header) -> None:
        heads = [spool.heads[i]["blocks"][name] for i in range(n)]
        self.name = name
        self.codec = codecs.get(header.codec)
        self.dtype = np.result_type(*{head["dtype"] for head in heads})
        self.chunk = heads[0]["chunk"]
        rows = np.array([head["rows"] for head in heads], np.int64)
        shapes = {tuple(head["row_shape"]) for head in heads}
        # A row of four axes is a sample [T, C, H, W]; of three a frame, even where every sample has just one.
        whole_samples = all(len(shape) == 4 for shape in shapes)
        # Only a plugin's frames can differ in T after the fact: then a row is a frame, not a sample.
        self.by_frame = whole_samples and len(shapes) > 1
        if self.by_frame:
            rows = np.array([head["row_shape"][0] for head in heads], np.int64)
            shapes = {shape[1:] for shape in shapes}
        if len(shapes) > 1:
            raise AssertionError(f"column {name}: rows of shapes {sorted(shapes)}")
        self.row_shape = shapes.pop()
        starts = np.concatenate([[0], np.cumsum(-(-rows // self.chunk) * self.chunk)])
        self.starts = starts
        self.rows = rows
        self.offsets = None if whole_samples and not self.by_frame else starts

    def create(self, file: h5py.File) -> None:
        """Create the dataset at its final size."""
        chunks = (self.chunk, *self.row_shape)
        shape = (int(self.starts[-1]), *self.row_shape)
        if 0 in chunks or shape[0] == 0:  # no frame or event in any sample: nothing to write
            file.create_dataset(self.name, shape, self.dtype)
            return
        self.dataset = file.create_dataset(
            self.name, shape, self.dtype, chunks=chunks, fillvalue=0, **self.codec.filters(self.dtype)
        )

    def write(self, i: int, block: Block) -> Block:
        """Write sample i's chunks as they are; return the block that was written."""
        if 0 in self.row_shape:
            return Block(self.dtype.str, self.row_shape, block.rows, self.chunk, [])
        if self.by_frame or np.dtype(block.dtype) != self.dtype:
            block = repack(block, self.dtype, self.codec, by_frame=self.by_frame)
        for k, chunk in enumerate(block.packed):
            at = (int(self.starts[i]) + k * self.chunk, *(0,) * len(self.row_shape))
            self.dataset.id.write_direct_chunk(at, chunk)
        return block
