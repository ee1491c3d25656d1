"""Are both sides' outputs equal, number for number? A speed of something else is no speed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

import dvsprep
from benchmarks import ours, peer
from benchmarks.child import Request


def equal(request: Request, theirs: Request) -> int:
    """Compare every sample of a stage; return how many there are.

    Raises
    ------
    SystemExit
        At the first difference, with its sample.
    """
    there, checked = peer.folder(theirs), 0
    for path in ours.paths(request):
        source = dvsprep.open(path)
        seen: Counter[tuple[str, int]] = Counter()
        for i, id in enumerate(source.ids):
            sample, label = source[i]
            trial = str(id).rpartition("_row")[0]
            twin = _twin(there / source.split / str(label), trial, seen[trial, label], theirs)
            seen[trial, label] += 1
            columns = ("t", "x", "y", "p") if not request["spec"] else ("frames",)
            with np.load(twin) as arrays:
                for column in columns:
                    if not np.array_equal(sample[column] if column in "txyp" else sample, arrays[column]):
                        raise SystemExit(f"NOT EQUAL: {column} of {source.split} sample {id} and {twin.name}")
            checked += 1
    files = sum(1 for _ in there.rglob("*.npz"))
    if files != checked or checked == 0:
        raise SystemExit(f"NOT EQUAL: {checked} samples here, {files} in {there.name}")
    return checked


def _twin(folder: Path, trial: str, k: int, theirs: Request) -> Path:
    """Return SpikingJelly's file of the k-th row of a class in a trial; by duration its name ends in the frames."""
    by_duration = (theirs["spec"] or {}).get("split_by") == "duration"
    found = [*folder.glob(f"{trial}_{k}{'_*' if by_duration else ''}.npz")]
    if len(found) != 1:
        raise SystemExit(f"NOT EQUAL: {len(found)} files of SpikingJelly for row {k} of {trial} in {folder.name}")
    return found[0]
