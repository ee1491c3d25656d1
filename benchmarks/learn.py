"""``python -m benchmarks.learn``: does it learn? Runs on the bundled sample and on real recordings.

    python -m benchmarks.learn [sample nmnist gestures] [--folder DIR]

Each result is a folder of docs/results: command, flags, seed, machine, log, curves, confusion matrix; README.md there
is made from them. Real recordings lie in the folder $DVSPREP_REAL_DATA, in the official layouts.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.child import PROJECT

RESULTS = PROJECT / "docs" / "results"
KEPT = ("log.jsonl", "run.json", "result.json", "curves.png", "confusion.png")


@dataclass(frozen=True)
class Learned:
    """One run: how its caches are made, what trains on them, and the least that is expected of it."""

    title: str
    dataset: str
    frames: tuple[str, ...]
    train: tuple[str, ...]
    accuracy: float
    minutes: float | None = None
    archives: tuple[str, ...] = ()
    note: str = ""


RUNS = {
    "sample": Learned(
        "Bundled sample", "sample", ("--split-by", "number", "-T", "20"), ("train.dvsg",), 0.95, 10,
        note="72 synthetic recordings of six persons to train on, 24 of two others to test.",
    ),
    "nmnist": Learned(
        "N-MNIST, 1,100 real recordings", "nmnist", ("--split-by", "time", "-T", "10"), ("train.frames",), 0.95, 20,
        archives=("nmnist-1100/Train.zip", "nmnist-1100/Test.zip"),
        note="1,000 training and 100 test recordings, not the whole set: no figure to compare with papers.",
    ),
    "gestures": Learned(
        "Ten real DVS gestures", "dvs128", ("--duration", "62500"), ("train.dvsg",), 0.9,
        archives=("dvs-gesture-10/DvsGesture.tar.gz",),
        note="A smoke test on real DVS data: one recording a class, the first second to train on, the rest to test.",
    ),
}  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learn", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", choices=[*RUNS, []], help=", ".join(RUNS))
    parser.add_argument("--folder", type=Path, help="where to work and leave everything (a temporary folder)")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="dvsprep-learn-") as temporary:
        for name in args.names or RUNS:
            learn(name, (args.folder or Path(temporary)).resolve())
    (RESULTS / "README.md").write_text(page())
    failed = [name for name in args.names or RUNS if not passed(name)]
    sys.exit(f"less than expected: {', '.join(failed)}" if failed else 0)


def learn(name: str, folder: Path) -> None:
    """Make the caches, train, and keep what tells of it."""
    run = RUNS[name]
    folder.mkdir(parents=True, exist_ok=True)
    if run.archives:
        real = os.environ.get("DVSPREP_REAL_DATA")
        if not real:
            sys.exit(f"{name} needs real recordings: DVSPREP_REAL_DATA names their folder")
        archives = [str(Path(real).resolve() / archive) for archive in run.archives]
        call(folder, "dvsprep", "adopt", run.dataset, *archives, "--no-verify")
    unverified = ("--no-verify",) if run.archives else ()
    caches = call(folder, "dvsprep", "frames", run.dataset, *run.frames, *unverified).splitlines()
    cache = next(path for path in caches if ".train." in path)
    begun = time.perf_counter()
    told = call(folder, *run.train, "--cache", os.path.relpath(folder / cache, folder))
    seconds = time.perf_counter() - begun
    result = json.loads(told.splitlines()[-1])
    target = RESULTS / name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for file in KEPT:
        shutil.copyfile(folder / result["out_dir"] / file, target / file)
    facts = json.loads((target / "result.json").read_text()) | {"wall_seconds": round(seconds, 1)}
    (target / "result.json").write_text(json.dumps(facts, indent=1) + "\n")


def call(folder: Path, module: str, *arguments: str) -> str:
    """Run a module in the work folder; return its stdout."""
    environment = os.environ | {"DVSPREP_ROOT": "data", "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def passed(name: str) -> bool:
    """Tell whether a run did what is expected of it."""
    run, result = RUNS[name], load(name, "result.json")
    in_time = run.minutes is None or result["wall_seconds"] <= 60 * run.minutes
    return bool(result["test_acc"] >= run.accuracy and in_time)


def load(name: str, file: str) -> dict[str, Any]:
    return json.loads((RESULTS / name / file).read_text())


def page() -> str:
    """Return the page of all results there are."""
    lines = [
        "# Does it learn?",
        "",
        "Made by `python -m benchmarks.learn`; every folder here holds the flags, the log and the machine of its run.",
        "",
        "| run | test accuracy | of at least | validation | best epoch | seconds in all |",
        "|---|---|---|---|---|---|",
    ]
    names = [name for name in RUNS if (RESULTS / name / "result.json").is_file()]
    for name in names:
        run, r = RUNS[name], load(name, "result.json")
        val = "none" if r["val_acc"] is None else f"{r['val_acc']:.4f}"
        cells = [f"[{run.title}](#{name})", f"{r['test_acc']:.4f}", run.accuracy, val]
        cells += [f"{r['best_epoch']} of {r['epochs']}", f"{r['wall_seconds']:.0f}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    for name in names:
        lines += section(name)
    return "\n".join(lines) + "\n"


def section(name: str) -> list[str]:
    """Return a run in words and pictures."""
    run, facts, r = RUNS[name], load(name, "run.json"), load(name, "result.json")
    m = facts["machine"]
    frames = f"dvsprep frames {run.dataset} {' '.join(run.frames)}{' --no-verify' if run.archives else ''}"
    return [
        "",
        f"## {name}",
        "",
        f"{run.note} Validation: {r['validation']}; epoch chosen by: {r['select_by']}.",
        "",
        f"    {frames}",
        f"    {facts['command']}",
        "",
        f"Seed {facts['args']['seed']}; {r['wall_seconds']:.0f} s in all; {m['cpu']}, {m['threads']} threads.",
        "",
        f"![curves]({name}/curves.png) ![confusion matrix]({name}/confusion.png)",
    ]


if __name__ == "__main__":
    main()
