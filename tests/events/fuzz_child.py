"""Feed one reader damaged files, in a process of its own: a crash or a hang must not take the test run with it.

Usage: fuzz_child.py SEED COUNT EXAMPLE... Prints each example before its turn; ends with 0 if every file was read
soundly or refused by an error that names it.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
from pathlib import Path

import event_files as ef
import numpy as np

from dvsprep.errors import FormatError, LabelError, NotFoundError
from dvsprep.events.catalog import CONTAINERS


def whole_file(which: str, folder: Path) -> tuple[str, bytes]:
    if which == "spikes-h5":
        return which, ef.shd(folder / "a.h5", [([0.1, 0.2], [3, 4]), ([0.5], [699])], [0, 1]).read_bytes()
    if which == "ntidigits-h5":
        one = {"man-ae-z": ([0.1, 0.2], [3, 63])}
        return which, ef.ntidigits(folder / "a.h5", {"train": one, "test": {}}).read_bytes()
    if which == "smnist-idx":
        return which, ef.idx(np.zeros((2, 3, 3)), [0, 1], folder).read_bytes()
    if which == "aedat4-lz4":
        return "aedat4", ef.aedat4([(0, ef.EVENTS)], folder, compress=("lz4", 1))
    if which == "aedat4-zstd":
        return "aedat4", ef.aedat4([(0, ef.EVENTS)], folder, compress=("zstd", 3))
    example = next(e for e in ef.EXAMPLES if str(e) == which)
    return example.format, example.write(ef.EVENTS, folder)


def damaged(data: bytes, rnd: random.Random, kinds: int = 4) -> bytes:
    kind = rnd.randrange(kinds)
    if kind == 0:
        return data[: rnd.randrange(len(data) + 1)] + rnd.randbytes(rnd.randrange(8))
    if kind == 1:
        return data[: rnd.randrange(120)] + rnd.randbytes(rnd.randrange(200))
    out = bytearray(data)
    for _ in range(rnd.randrange(1, 6)):
        out[rnd.randrange(len(out))] = rnd.choice((0, 0xFF, 0x7F, rnd.randrange(256)))
    if kind == 3:
        at = rnd.randrange(len(out))
        del out[at : at + rnd.randrange(1, 9)]
    return bytes(out)


def main() -> None:
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    for which in sys.argv[3:]:
        print(which, flush=True)
        check(which, random.Random(seed), count)


def check(which: str, rnd: random.Random, count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        format, data = whole_file(which, folder)
        H, W = CONTAINERS[format][0].sensor if format in CONTAINERS else ef.SENSOR
        for i in range(count):
            # libhdf5 (2.0.0) trusts what a file says of its own types and crashes on a lie: cut it, and no more. What
            # guards a whole HDF5 file is the hash of its archive.
            bad = damaged(data, rnd, kinds=2 if which.endswith("h5") else 4)
            policy = {} if i % 2 else {"salvage": True, "out_of_range": "drop", "unsorted": "sort"}
            try:
                events = ef.read(format, bad, folder, **policy).events
            except (FormatError, LabelError, NotFoundError) as error:
                assert ef.NAME in str(error) or str(folder) in str(error), error  # noqa: PT017 - no pytest in here
                continue
            assert len(events["t"]) > 0
            assert events["t"][0] >= 0
            assert (np.diff(events["t"]) >= 0).all()
            assert events["x"].max() < W
            assert events["y"].max() < H
            assert events["p"].max() <= 1


if __name__ == "__main__":
    main()
