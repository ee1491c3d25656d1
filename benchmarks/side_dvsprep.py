"""dvsprep's side: each stage through the public pipeline, in a process of its own."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.child import Laps, Request, serve, size


def job(request: Request, *, frames: bool = True) -> Any:
    """Return the pipeline's job of a request: up to frames, or up to events."""
    from dvsprep.pipeline import Job, Options
    from dvsprep.types import FrameSpec

    spec = FrameSpec.from_dict(request["spec"]) if frames else None
    return Job(request["dataset"], request["root"], spec, Options(verify=False))


def adopt_archives(dataset: str, root: Path, archives: list[Path]) -> None:
    """Take over the look-alike's archives, unverified."""
    from dvsprep import raw

    made = job({"dataset": dataset, "root": root}, frames=False)
    raw.adopt(made.dataset.archives, archives, made.folder / "download", verify=False, warn=lambda _: None)


def adopt_folder(dataset: str, root: Path, tree: Path) -> None:
    """Take over the look-alike's extracted folder."""
    from dvsprep import raw

    raw.adopt_tree(tree, job({"dataset": dataset, "root": root}, frames=False).folder / "extract")


def load(request: Request) -> dict[str, str]:
    """Import all that the task needs, and load the compiled kernels from disk: both are the process's start-up."""
    import dvsprep
    from dvsprep import events, pipeline  # noqa: F401 -- a job is made of it
    from dvsprep.cache import build

    small = request["dataset"] == "nmnist"
    format, sensor = ("atis", (34, 34)) if small else ("aedat3.1", (128, 128))
    events.warm_up([format], sensor)
    build.warm_up(sensor, small=small)

    import filelock  # noqa: F401 -- with the first lock
    import h5py  # isort: skip
    import numba  # isort: skip  # after the kernels, which tell it what it need not import
    import numpy as np  # isort: skip

    versions = {
        "dvsprep": dvsprep.__version__,
        "numpy": np.__version__,
        "numba": numba.__version__,
        "h5py": h5py.__version__,
    }
    if request["task"] == "epoch":
        import torch.utils.data

        versions["torch"] = str(torch.__version__)
    return versions


def paths(request: Request, *, frames: bool) -> list[Path]:
    """Return the caches that a request makes."""
    made = job(request, frames=frames)
    return list((made.frames_paths() if frames else made.events_paths()).values())


def events(request: Request, laps: Laps) -> None:
    """Make the event caches of the archive or extracted folder, whichever was adopted."""
    made = job(request, frames=False)
    _remove(paths(request, frames=False))
    if not request["extracted"]:
        shutil.rmtree(made.folder / "extract", ignore_errors=True)
    with laps("events"):
        made.run()
    laps.sizes["events"] = sum(map(size, paths(request, frames=False)))


def frames(request: Request, laps: Laps) -> None:
    """Make the frame caches of the event caches; nothing else is to do."""
    made = job(request)
    _remove(paths(request, frames=True))
    with laps("frames"):
        stages = made.run()
    todo = [stage.stage for stage in stages if stage.state != "done"]
    assert todo == ["frames"], todo
    laps.sizes["frames"] = sum(map(size, paths(request, frames=True)))


def _remove(files: list[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


def build(request: Request, laps: Laps) -> None:
    """Make the frame caches of the archives in one process."""
    events(request, laps)
    frames(request, laps)


def names(source: Any) -> list[str]:
    """Return each sample's ``<label>/<name>`` as SpikingJelly names its files.

    Of DVS128 Gesture the k-th row of a class in a trial is ``<trial>_<k>``.
    """
    seen: Counter[tuple[str, int]] = Counter()
    found = []
    for id, label in zip(map(str, source.ids), map(int, source.labels), strict=True):
        trial, row, _ = id.rpartition("_row")
        name = f"{trial}_{seen[trial, label]}" if row else id
        seen[trial, label] += 1
        found.append(f"{label}/{name}")
    return found


def epoch(request: Request, laps: Laps) -> None:
    """Read an epoch of the training frames: stored ones, or made on the fly from the event cache."""
    import dvsprep
    from benchmarks import epoch as epochs

    made = job(request)
    if request["fly"]:
        source = dvsprep.open(made.events_paths()["train"]).frames(made.spec)
    else:
        source = dvsprep.open(made.frames_paths()["train"], preload=request.get("preload", False))
    if request.get("floating"):
        source = source.astype("float32")
    epochs.run(source, names(source), request, laps)


def export(request: Request, laps: Laps) -> None:
    """Write the training events as structured arrays, one file a sample, for tonic."""
    import numpy as np

    import dvsprep

    source = dvsprep.open(job(request).events_paths()["train"])
    dtype = np.dtype([("x", np.int16), ("y", np.int16), ("p", bool), ("t", np.int64)])  # of tonic's DVSGesture
    for i, name in enumerate(names(source)):
        sample, _ = source[i]
        out = np.empty(len(sample["t"]), dtype)
        for column in "xypt":
            out[column] = sample[column]
        target = Path(request["events"]) / f"{name}.npy"
        target.parent.mkdir(parents=True, exist_ok=True)
        np.save(target, out)
    rest = {
        name: int(n) % request["spec"]["T"] for name, n in zip(names(source), source.small("n_events"), strict=True)
    }
    laps.facts["remainders"] = rest


def decode(request: Request, laps: Laps) -> None:
    """Time the decode kernel alone, and reading the same bytes and copying them once; both into warm buffers."""
    import numpy as np

    from benchmarks import lookalike
    from dvsprep.events import _kernels
    from dvsprep.events.reading import columns

    files = sorted(Path(request["tree"]).rglob("*.aedat"))
    for file in files:
        content = np.fromfile(file, np.uint8)
        buffer, copy = np.ones_like(content), np.ones_like(content)
        body = content[len(lookalike.HEADER) :].copy()
        body.flags.writeable = False
        slots, _, _ = _kernels.aedat31_count(body, body.size)
        c = columns(slots, (128, 128))
        for column in c.values():
            column[:] = 1
        with laps("read and copy"):
            with file.open("rb", buffering=0) as handle:
                handle.readinto(memoryview(buffer))
            np.copyto(copy, buffer)
        with laps("kernel"):
            n, status, _ = _kernels.aedat31_decode(body, 128, 128, False, c["t"], c["x"], c["y"], c["p"])
        assert (int(n), int(status)) == (slots, _kernels.OK)
        assert np.array_equal(copy, content)


def nothing(request: Request, laps: Laps) -> None:
    """Do nothing: the start-up is what is asked for."""


TASKS = {
    "events": events, "frames": frames, "build": build, "epoch": epoch, "export": export, "decode": decode,
    "nothing": nothing,
}  # fmt: skip

if __name__ == "__main__":
    serve(load, TASKS)
