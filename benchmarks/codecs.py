"""``python -m benchmarks.codecs``: what each codec costs on real events and on the look-alike; writes codecs.md.

Real recordings come from the folder that the environment variable DVSPREP_REAL_DATA names; without it only the
look-alike is measured.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from benchmarks import lookalike, machine
from dvsprep import cache, events, integrate
from dvsprep.cache import Header, build, sparse
from dvsprep.cache.codec import CODECS
from dvsprep.cache.cutting import Piece
from dvsprep.cache.layout import pack_rows, packing_of
from dvsprep.cache.write import write_cache
from dvsprep.types import Events, FrameSpec

PAGE = Path(__file__).with_name("codecs.md")
REPEATS = 7
Sensor = tuple[int, int]
REAL = {  # below DVSPREP_REAL_DATA/recordings: file, format, sensor
    "N-Caltech101, real": ("ncaltech101-face.bin", "atis", (180, 240)),
    "N-CARS, real": ("ncars-car.dat", "dat", (100, 120)),
    "Gen 4 camera, 1280 x 720, real": ("lamp.gen4.dat", "dat", (720, 1280)),
}


def sources() -> Iterator[tuple[str, Sensor, Events]]:
    """Yield name, sensor and events of each sample that is measured."""
    t, x, y, p = lookalike.recording(360_000, 0)
    narrow = events.columns(len(t), (128, 128))
    for name, column in (("t", t), ("x", x), ("y", y), ("p", p)):
        narrow[name][:] = column
    yield "look-alike of DVS128", (128, 128), narrow
    folder = os.environ.get("DVSPREP_REAL_DATA")
    for name, (file, format, sensor) in REAL.items() if folder else ():
        recording = events.Recording(Path(folder, "recordings", file), format, "all", ())
        yield name, sensor, events.read(recording, sensor, events.Policy(unsorted="sort")).events


def seconds(work: Callable[[], object]) -> float:
    """Return the median CPU time of one call."""
    work()
    times = []
    for _ in range(REPEATS):
        begin = time.thread_time()
        work()
        times.append(time.thread_time() - begin)
    return median(times)


def event_rows(folder: Path) -> Iterator[list[str]]:
    """Yield a line for each sample's events and codec."""
    for name, sensor, sample in sources():
        n = len(sample["t"])
        build.warm_up(sensor)
        for codec in CODECS:
            how = build.PackHow(sensor, build.MAX_CHUNK if n >= build.MAX_CHUNK else 4096, codec)
            packed = build.pack_events(Piece(0, sample), how)
            head = Header("events", "made", "all", sensor, ("one",), ["one"], [0], {"codec": codec}, codec=codec)
            source = cache.EventCache(write_cache(folder / "one.h5", head, [packed], replace=True))
            size = sum(len(c.data) for block in packed.blocks.values() for c in block.packed)
            costs = [
                seconds(lambda how=how, sample=sample: build.pack_events(Piece(0, sample), how)),
                seconds(lambda source=source: source.compact(0)),
                seconds(lambda source=source: source.compact(0, times=False)),
            ]
            yield [name, f"{n:,}", codec, f"{size / n:.2f}", *(f"{cost / n * 1e9:.1f}" for cost in costs)]


def frame_rows() -> Iterator[list[str]]:
    """Yield a line for the frames of each sample and codec."""
    for name, sensor, sample in sources():
        frames = integrate.integrate(sample, FrameSpec("number", T=20), *sensor)
        for codec in ("packed", "none"):
            packing = packing_of(codec, "frames", frames.dtype, sensor)
            block = pack_rows(frames[None], 1, packing)
            shape = (1, *frames.shape)
            costs = [
                seconds(lambda packing=packing, frames=frames: pack_rows(frames[None], 1, packing)),
                seconds(
                    lambda packing=packing, block=block, dtype=frames.dtype, shape=shape: packing.unpack_whole(
                        block.packed[0], dtype, shape
                    )
                ),
            ]
            size = len(block.packed[0].data)
            yield [
                name,
                codec,
                f"{size / frames.nbytes:.3f}",
                *(f"{frames.nbytes / cost / 1e6:,.0f}" for cost in costs),
            ]


def table(head: str, rows: Iterator[list[str]]) -> str:
    """Return a table of Markdown."""
    columns = head.split("|")
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> None:
    sparse.load()
    with tempfile.TemporaryDirectory(prefix="dvsprep-codecs-") as folder:
        events_table = table(
            "events of|events|codec|bytes an event|pack, ns an event|unpack, ns an event|without times, ns an event",
            event_rows(Path(folder)),
        )
    frames_table = table("frames (T = 20) of|codec|size, of uint8 or uint16|pack, MB/s|unpack, MB/s", frame_rows())
    PAGE.write_text(
        "# Codecs\n\nWritten by `python -m benchmarks.codecs`; not edited by hand. CPU time of one thread, medians of "
        f"{REPEATS};\n{machine.processor()}. `packed` is the default: coordinates in the bits they need, times and "
        f"frames deflated.\n\n{events_table}\n{frames_table}"
    )
    print(PAGE.read_text(), end="")


if __name__ == "__main__":
    main()
