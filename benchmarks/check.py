"""Are all sides' outputs equal, number for number? A speed of something else is no speed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import dvsprep
from benchmarks import epoch, side_dvsprep, side_spikingjelly
from benchmarks.child import Answer, Request


def files(request: Request, theirs: str | Path, *, frames: bool) -> int:
    """Compare every sample of our event or frame caches with SpikingJelly's files; return how many there are.

    Raises
    ------
    SystemExit
        At the first difference, with its sample.
    """
    spec = request["spec"] if frames else None
    there, checked = side_spikingjelly.folder(theirs, spec), 0
    for path in side_dvsprep.paths(request, frames=frames):
        source = dvsprep.open(path)
        for i, name in enumerate(side_dvsprep.names(source)):
            sample = source[i][0]
            twin = _twin(there / source.split, name, by_duration=bool(spec and spec["split_by"] == "duration"))
            with np.load(twin) as arrays:
                for column in ("frames",) if frames else ("t", "x", "y", "p"):
                    if not np.array_equal(sample if frames else sample[column], arrays[column]):
                        raise SystemExit(f"NOT EQUAL: {column} of {source.split} sample {name} and {twin.name}")
            checked += 1
    found = sum(1 for _ in there.rglob("*.npz"))
    if found != checked or checked == 0:
        raise SystemExit(f"NOT EQUAL: {checked} samples here, {found} in {there.name}")
    return checked


def _twin(folder: Path, name: str, *, by_duration: bool) -> Path:
    """Return SpikingJelly's file of a sample; by duration its name ends in the number of frames."""
    found = [*folder.glob(f"{name}_*.npz")] if by_duration else [folder / f"{name}.npz"]
    if len(found) != 1 or not found[0].is_file():
        raise SystemExit(f"NOT EQUAL: SpikingJelly has no file, or several, of {name} in {folder}")
    return found[0]


def epochs(ours: Answer, theirs: Answer, what: str, remainders: dict[str, int] | None = None) -> int:
    """Compare two epochs batch for batch by their checksums; return the samples.

    Parameters
    ----------
    remainders : dict, optional
        Events by sample that the peer leaves out of the last frame, as tonic does with the rest of N / T; then all
        other frames are to be equal, and the sums of the last ones to differ by just these.
    """
    samples, here, there = ours["facts"]["samples"], ours["facts"]["sums"], theirs["facts"]["sums"]
    if samples != theirs["facts"]["samples"] or len(here) != len(there) or not here:
        raise SystemExit(f"NOT EQUAL: {what}: {samples} samples here, {theirs['facts']['samples']} there")
    lacking = [0] * len(here)
    if remainders is not None:
        names = sorted(remainders)
        for k, position in enumerate(epoch.order(names, samples)):
            lacking[k // epoch.BATCH] += remainders[names[position]]
    part = 0 if remainders is None else 1
    for k, (a, b, rest) in enumerate(zip(here, there, lacking, strict=True)):
        if a[part] != b[part] or a[2] - b[2] != rest:
            raise SystemExit(f"NOT EQUAL: {what}: batch {k} has other numbers")
    return int(samples)


def group(name: str, answers: dict[str, Answer], requests: dict[str, Request], roots: dict[str, Any]) -> dict[str, int]:
    """Compare what the runs of a group left; return the samples compared by what they are."""
    found: dict[str, int] = {}
    theirs = roots["spikingjelly"]
    if name == "build" and "sj build" in answers:
        for key in ("ours archive", "ours folder"):
            found[f"{key.removeprefix('ours ')} -> events"] = files(requests[key], theirs, frames=False)
        found["archive -> frames"] = files(requests["ours archive"], theirs, frames=True)
    if name == "frames" and "sj number" in answers:
        for key in ("number", "time", "duration"):
            found[f"frames by {key}"] = files(requests[f"ours {key}"], theirs, frames=True)
    if name == "small" and "sj small" in answers:
        found["N-MNIST-like frames"] = files(requests["ours small"], roots["spikingjelly-digits"], frames=True)
    if name == "loading":
        for workers in (0, 2):
            ours = answers[f"ours epoch {workers}"]
            if f"sj epoch {workers}" in answers:
                what = f"epoch with {workers} workers, SpikingJelly"
                found[what] = epochs(ours, answers[f"sj epoch {workers}"], what)
            if f"tonic epoch {workers}" in answers:
                what = f"epoch with {workers} workers, tonic"
                rest = answers["export"]["facts"]["remainders"]
                found[what] = epochs(ours, answers[f"tonic epoch {workers}"], what, rest)
        for key in ("ours fly", "ours preloaded", "ours bare", "ours integers 0", "ours integers 2"):
            found[f"{key.removeprefix('ours ')} and stored"] = epochs(answers[key], answers["ours epoch 0"], key)
    return found
