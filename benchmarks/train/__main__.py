"""``python -m benchmarks.train``: training steps on the CPU, train and SpikingJelly 2.0 in turn in one run.

Writes benchmarks/train_results.json and the page train_results.md. Each run is a process that warms up and times a few
steps; the sides take turns, and the medians over all steps are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks import environments, machine
from benchmarks.child import PROJECT, Answer, call
from benchmarks.train import page
from benchmarks.train.rows import Run, rows

RESULTS = PROJECT / "benchmarks" / "train_results.json"
STEPS = {"lif deep": 7, "lif wide": 11, "gesture": 5, "csnn": 5}  # a process; small networks take more
SMALL_STEPS = 40
WARM = 2


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    python = {"train": sys.executable}
    if not args.no_peer:
        python["spikingjelly"] = args.peer_python or environments.python("spikingjelly")
    answers = measure(args, python)
    known = {"facts": facts(args, answers), "runs": summary(answers), "floor": args.floors}
    text = page.markdown(known)
    if args.out:
        args.out.write_text(json.dumps(known, indent=1) + "\n")
        args.out.with_suffix(".md").write_text(text)
    print(text, end="")


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="processes of each run, in turn (3)")
    parser.add_argument("--cores", type=int, default=2, help="CPUs, and threads, of each side (2)")
    parser.add_argument("--only", nargs="*", help="tasks: lif deep, lif wide, gesture, csnn, plain, synapse, feedback")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it work?")
    parser.add_argument("--no-peer", action="store_true", help="our side only")
    parser.add_argument("--peer-python", help="a Python with spikingjelly; one is made unless told")
    parser.add_argument("--out", type=Path, help="the figures (benchmarks/train_results.json; with --quick none)")
    args = parser.parse_args(argv)
    if args.rounds < 1 or args.cores < 1:
        parser.error("needs at least 1 round and 1 core")
    if args.out is None and not args.quick:
        args.out = RESULTS
    args.floors = {}
    return args


def measure(args: argparse.Namespace, python: dict[str, str]) -> dict[Run, list[Answer]]:
    """Return the answers of each run; in every round every run once, ours beside the peer's."""
    todo: dict[Run, list[Answer]] = {}
    for row in rows():
        for run in (row.ours, row.theirs):
            if run.side in python and (not args.only or run.task in args.only):
                todo.setdefault(run, [])
    for round_ in range(1 if args.quick else args.rounds):
        for run, found in todo.items():
            request: dict[str, Any] = {
                "task": run.task, "backend": run.backend, "amp": run.amp, "kept": run.kept, "cores": args.cores,
                "steps": 2 if args.quick else STEPS.get(run.task, SMALL_STEPS), "warm": 0 if args.quick else WARM,
                "sizes": "quick" if args.quick else "full",
            }  # fmt: skip
            answer = call(python[run.side], f"benchmarks.train.side_{run.side}", request)
            found.append(answer)
            say(f"round {round_ + 1}: {run.key}: {page.middle(answer['facts']['seconds']) * 1e3:.1f} ms")
            if run.task.startswith("lif") and run.side == "train" and not run.kept and not args.quick:
                limit = call(python[run.side], "benchmarks.train.side_train", request | {"floor": True})
                args.floors.setdefault(run.task, []).extend(limit["facts"]["seconds"])
    return todo


def summary(answers: dict[Run, list[Answer]]) -> dict[str, dict[str, Any]]:
    """Return each run's figures: the seconds of every step, and what is above the memory at the start."""
    return {
        run.key: {
            "seconds": [round(s, 6) for answer in found for s in answer["facts"]["seconds"]],
            "memory": max(answer["facts"]["memory"] for answer in found),
            "first": found[0]["facts"]["first"],
        }
        for run, found in answers.items()
    }


def facts(args: argparse.Namespace, answers: dict[Run, list[Answer]]) -> dict[str, str]:
    """Return what the figures were measured on and with."""
    by_side = {run.side: found[0] for run, found in answers.items()}
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions(by_side).items())
    kernels = next(found[0]["facts"]["kernels"] for run, found in answers.items() if run.backend == "cpu")
    words = ["python -m benchmarks.train", *["--quick"] * args.quick, *["--no-peer"] * args.no_peer]
    return {
        "machine": machine.described(args.cores),
        "load after": f"{machine.load()} (of which the benchmark itself is {min(args.cores, os.cpu_count() or 1)})",
        "versions": versions,
        "kernels": kernels,
        "command": f"`{' '.join(words)}`, {1 if args.quick else args.rounds} processes of each run, in turn",
    }


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
