"""Small inputs and caches for the tests of cache, pipeline and api; everything is made from seeds."""

from __future__ import annotations

import hashlib
import resource
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import formats
import numpy as np

from dvsprep import cache, datasets, raw
from dvsprep.cache import build as cache_build
from dvsprep.cache.cutting import Piece
from dvsprep.cache.layout import Header, Packed, pack_rows, packing_of
from dvsprep.cache.write import build
from dvsprep.datasets.dataset import files, find_folder
from dvsprep.raw import Member, as_path
from dvsprep.types import FrameSpec

TRIALS = {"train": ["user01_a", "user02_b"], "test": ["user24_c"]}
H = W = 16

Columns = dict[str, np.ndarray]


def at(*times: int, x: int = 0, y: int = 0, p: int = 1) -> Columns:
    """Return one event at each time, all in one pixel."""
    n = len(times)
    t = np.array(times, np.int64)
    return {
        "t": t,
        "x": np.full(n, x, np.uint8),
        "y": np.full(n, y, np.uint8),
        "p": np.full(n, p, np.uint8),
    }


def random_events(n: int, seed: int, *, start: int = 0, step: int = 50) -> Columns:
    """Return n random events on the 16 x 16 sensor of these tests, in the types that readers give."""
    e = formats.events(n, H, W, seed=seed, start=start, step=step)
    return {k: v.astype(np.int64 if k == "t" else np.uint8) for k, v in e.items()}


def header(n: int, kind: str = "events", **fields: Any) -> Header:
    """Return a header of n samples whose labels count 0, 1, 2, 0, ..."""
    spec = fields.pop("spec", None)
    known = {
        "dataset": "made",
        "split": "train",
        "sensor": (H, W),
        "classes": ("zero", "one", "two"),
        "ids": [f"made_{i:03d}" for i in range(n)],
        "labels": [i % 3 for i in range(n)],
        "identity": {"kind": kind, "made": n},
        "spec": spec.to_dict() if spec else {},
    }
    return Header(kind=kind, **(known | fields))


def pack_events(
    index: int, events: Columns, chunk: int = 1024, codec: str = "packed", sensor: tuple[int, int] = (H, W)
) -> Packed:
    """Pack one sample's events."""
    return cache_build.pack_events(Piece(index, events), cache_build.PackHow(sensor, chunk, codec))


def events_cache(
    path: Path, samples: Sequence[Columns], *, chunk: int = 1024, codec: str = "packed"
) -> cache.EventCache:
    """Write an event cache of these samples, one a recording."""
    packed = [pack_events(i, e, chunk, codec) for i, e in enumerate(samples)]
    build(path, header(len(samples), codec=codec), lambda done: [[p for p in packed if not done[p.index]]])
    return cache.EventCache(path)


def frames_cache(
    path: Path, source: cache.EventCache, spec: FrameSpec, *, codec: str = "packed", **how: Any
) -> cache.FrameCache:
    """Integrate every sample of an event cache into a frame cache."""
    indices = range(len(source))
    head = header(len(source), "frames", spec=spec, codec=codec)
    cache.frames_cache(path, head, source, spec, indices, **({"executor": "serial"} | how))
    return cache.FrameCache(path)


def packed_frames(index: int, frames: np.ndarray, codec: str = "packed") -> Packed:
    """Pack ready-made frames [T, C, H, W] as one sample."""
    block = pack_rows(frames[None], 1, packing_of(codec, "frames", frames.dtype, (H, W)))
    return Packed(index, {"n_events": 0, "t_start": 0, "t_end": 0}, {"frames": block})


def plugin(folder: Path, body: str, name: str = "made") -> str:
    """Write a user's integrator ``made(events, H, W, **params)`` and return how it is named."""
    file = folder / f"{name}.py"
    file.write_text(f"import numpy as np\n\n\ndef made(events, H, W, **params):\n    {body}\n")
    return f"{file}:made"


def archive(folder: Path, *, trials: dict[str, list[str]] | None = None, **how: Any) -> Path:
    """Pack a small look-alike of DVS128 Gesture as ``DvsGesture.tar.gz``, always with the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    tree = formats.dvs_gesture(folder / "tree", trials or TRIALS, **how)
    target = folder / "DvsGesture.tar.gz"

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.mtime = member.uid = member.gid = 0
        return member

    with tarfile.open(target, "w:gz", compresslevel=1) as tar:
        tar.add(tree, tree.name, filter=plain)
    return target


def adopt(root: Path, *files: Path, name: str = "dvs128") -> Path:
    """Adopt look-alike archives as those of a dataset, unverified; return the root."""
    dataset = datasets.get(name)
    raw.adopt(dataset.resources, files, root / name / "download", verify=False, warn=lambda _: None)
    return root


def command(*arguments: object) -> list[str]:
    """Return the command line of ``dvsprep ARGUMENTS`` in a process of its own."""
    return [sys.executable, "-m", "dvsprep", *map(str, arguments)]


def cpu_of_children() -> float:
    """Return CPU seconds of all child processes so far: how busy the machine is counts little in them."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def dvsprep(*arguments: object, **how: Any) -> subprocess.CompletedProcess[str]:
    """Run ``dvsprep ARGUMENTS`` to its end."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=240, **how)


def digest(frames: Any, label: int) -> str:
    """Return a hash of one item: type, shape, numbers and label; frames or events."""
    total = hashlib.sha256(str(int(label)).encode())
    parts = [frames[k] for k in sorted(frames)] if isinstance(frames, dict) else [frames]
    for part in parts:
        array = np.ascontiguousarray(part)
        total.update(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())
    return total.hexdigest()


def digests(source: Any) -> list[str]:
    """Return the hash of every item of a source."""
    return [digest(*source[i]) for i in range(len(source))]


def tree(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Return (size, mtime, hash) of every file below a folder, hidden ones too."""
    found = {}
    for path in sorted(folder.rglob("*")):
        stat = path.stat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        found[str(path.relative_to(folder))] = (stat.st_size, stat.st_mtime_ns, content)
    return found


def caches(root: Path) -> dict[str, str]:
    """Return the hash of every published cache below a root, by its path."""
    return {name: facts[2] for name, facts in tree(root).items() if name.endswith(".h5")}


def leftovers(root: Path) -> list[str]:
    """Return hidden files below a root that no finished run should leave: everything but locks and the ledger."""
    ledger = raw.Ledger(root).path.name
    hidden = [p for p in root.rglob(".*") if p.name != ledger and not p.name.endswith(".lock")]
    return sorted(str(p.relative_to(root)) for p in hidden)


def members_like_files(tree: Member, folder: Path) -> list[tuple[Member, Path]]:
    """Assert that an archive holds what the folder does that it was extracted to; return the pairs."""
    pairs: list[tuple[Member, Path]] = []
    for suffix in ("", ".bin", "a.bin", ".txt"):
        there, here = list(files(folder, suffix)), list(tree.files(suffix))
        assert [str(m.relative_to(tree)) for m in here] == [p.relative_to(folder).as_posix() for p in there]
        pairs += zip(here, there, strict=True)
    for member, file in pairs:
        assert bytes(member.read_bytes()) == file.read_bytes()
        assert (member.size, member.is_file(), member.is_dir()) == (file.stat().st_size, True, False)
    for name in ("2.bin", "a", "z.bin", "b", "list.txt"):
        found = find_folder(as_path(tree), name)
        assert str(found.relative_to(as_path(tree))) == find_folder(folder, name).relative_to(folder).as_posix()
    return pairs
