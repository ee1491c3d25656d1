"""``python -m benchmarks.scale``: time and memory as datasets, recordings and sample counts grow. No peers."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import lookalike, machine, report, results, side_dvsprep
from benchmarks.__main__ import say
from benchmarks.child import Answer, call, size
from benchmarks.rows import DIGITS, NUMBER

QUICK = {"recordings": 2, "events": 20_000, "long": 200_000, "small": 70, "many": 1_000}
USUAL = {"recordings": 3, "events": 4_500_000, "long": 200_000_000, "small": 70_000, "many": 1_300_000}
TIMES = (1, 2, 4, 8)
OPEN_BAR = 0.1  # seconds
Line = dict[str, Any]


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    with tempfile.TemporaryDirectory(prefix="dvsprep-scale-") as made:
        folder = Path(args.folder or made)
        page = results.Results(args.out.with_suffix(".json") if args.out else None)
        page.facts |= {"machine": machine.described(args.cores), "code": machine.code()}
        for part in args.parts:
            for line in PARTS[part](args, folder / f"scale-{part}"):
                say(f"{line['title']}: {line['ours median']:.3g} s")
                page.put(line)
    report.publish(page, args.out)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the options; what was not given comes from QUICK or USUAL."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--only", help=f"parts, with commas between them: {', '.join(PARTS)} (all)")
    parser.add_argument("--cores", type=int, default=2, help="CPUs (2)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it work?")
    parser.add_argument("--folder", help="where to work and leave everything (a temporary folder)")
    parser.add_argument(
        "--out", type=Path, help="the page, and its .json beside it (benchmarks/results.md; none if quick)"
    )
    args = parser.parse_args(argv)
    args.parts = tuple(args.only.split(",")) if args.only else tuple(PARTS)
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"--only knows {', '.join(PARTS)}, not {', '.join(sorted(unknown))}")
    for name, value in (QUICK if args.quick else USUAL).items():
        setattr(args, name, value)
    if args.out is None and not args.quick:
        args.out = report.PAGE
    return args


def growing(args: argparse.Namespace, folder: Path) -> Iterator[Line]:
    """1, 2, 4 and 8 times as many recordings; the same few over and over, each in a file of its own name."""
    few = [lookalike.recording(args.events, seed) for seed in range(args.recordings)]
    contents = [(lookalike.aedat31(*columns), lookalike.labels(columns[0], overlap=False)) for columns in few]
    for times in TIMES:
        tree = folder / f"{times}x" / "DvsGesture"
        tree.mkdir(parents=True, exist_ok=True)
        trials = lookalike.names(times * args.recordings)
        for split, names in trials.items():
            (tree / f"trials_to_{split}.txt").write_text("".join(f"{name}.aedat\n" for name in names))
        for k, name in enumerate([*trials["train"], *trials["test"]]):
            content, labels = contents[k % len(contents)]
            _write_or_link(tree / f"{name}.aedat", content, folder / f"{k % len(contents)}.aedat")
            (tree / f"{name}_labels.csv").write_text(labels)
        megabytes = sum(map(size, tree.glob("*.aedat"))) / 1e6
        what = f"{times}x: {times * args.recordings} recordings, {megabytes:.0f} MB"
        yield from _both(args, tree.parent, f"growing {times}", what)


def long(args: argparse.Namespace, folder: Path) -> Iterator[Line]:
    """One recording of 200 M events, beside one with a tenth of them."""
    for events in (args.long // 10, args.long):
        tree = folder / f"{events}" / "DvsGesture"
        tree.mkdir(parents=True, exist_ok=True)
        _write_long(tree / "user01_led.aedat", events)
        for split, name in (("train", "user01_led"), ("test", "user24_led")):
            (tree / f"trials_to_{split}.txt").write_text(f"{name}.aedat\n")
        small = lookalike.recording(10_000, 1)
        (tree / "user24_led.aedat").write_bytes(lookalike.aedat31(*small))
        (tree / "user24_led_labels.csv").write_text(lookalike.labels(small[0], overlap=False))
        what = f"one recording of {events / 1e6:g} M events, {size(tree / 'user01_led.aedat') / 1e6:.0f} MB"
        yield from _both(args, tree.parent, f"long {events}", what)


def small(args: argparse.Namespace, folder: Path) -> Iterator[Line]:
    """As many small samples as N-MNIST has: built, and loaded one by one and in batches."""
    zips = lookalike.nmnist(folder, args.small)
    root = folder / "dvsprep"
    side_dvsprep.adopt_archives("nmnist", root, zips)
    request = _request(args, root, "nmnist") | {"spec": DIGITS, "extracted": False}
    what = f"{args.small:,} N-MNIST-like samples"
    built = _call(request | {"task": "build"})
    yield _line("small events", f"{what}: zips -> event cache", built, "events", args.small)
    yield _line("small frames", f"{what}: events -> frame cache, T = 10", built, "frames", args.small)
    training = args.small - max(1, args.small // 7)
    epoch = request | {"task": "epoch", "samples": training, "fly": False, "check": False}
    for workers in (0, 2):
        read = _call(epoch | {"workers": workers})
        title = f"an epoch of {training:,} of them, {workers} workers, float32 in batches of 16"
        yield _line(f"small epoch {workers}", title, read, "epoch", training)


def many(args: argparse.Namespace, folder: Path) -> Iterator[Line]:
    """Write and open a cache of 1.3 M samples, as many as ES-ImageNet has, of one pixel each."""
    folder.mkdir(parents=True, exist_ok=True)
    request = _request(args, folder, "dvs128") | {"samples": args.many}
    made = _call(request | {"task": "many"}, "benchmarks.side_scale")
    what = f"a cache of {args.many:,} samples of one pixel"
    yield _line("many write", f"{what}: written by the library's own writer", made, "write", args.many)
    opened = sorted(
        (_call(request | {"task": "open"}, "benchmarks.side_scale") for _ in range(5)),
        key=lambda answer: answer["laps"]["open"]["seconds"],
    )
    title = f"{what}: opened, all labels and one sample read; a fresh process, imports done, the median of 5"
    yield _line("many open", title, opened[2], "open", bar=OPEN_BAR)


PARTS = {"growing": growing, "long": long, "small": small, "many": many}


def _both(args: argparse.Namespace, tree: Path, key: str, what: str) -> Iterator[Line]:
    """Measure both stages of an extracted folder, each in a process of its own."""
    root = tree / "dvsprep"
    side_dvsprep.adopt_folder("dvs128", root, tree / "DvsGesture")
    request = _request(args, root, "dvs128") | {"spec": NUMBER, "extracted": True}
    for task, title in (("events", "extracted files -> event cache"), ("frames", "events -> frame cache")):
        watched = call(sys.executable, "benchmarks.side_dvsprep", request | {"task": task}, watch=True)
        line = _line(f"{key} {task}", f"{what}: {title}", _call(request | {"task": task}), task)
        yield line | {"anonymous": watched["anonymous"]}


def _request(args: argparse.Namespace, root: Path, dataset: str) -> dict[str, Any]:
    return {"dataset": dataset, "root": str(root), "cores": args.cores}


def _call(request: dict[str, Any], module: str = "benchmarks.side_dvsprep") -> Answer:
    return call(sys.executable, module, request)


def _line(key: str, title: str, answer: Answer, lap: str, samples: int = 0, bar: float | None = None) -> Line:
    seconds = answer["laps"][lap]["seconds"]
    row = {"key": f"scale {key}", "group": "scale", "title": title, "bar": bar, "ours median": float(f"{seconds:.4g}")}
    row |= {"peak": answer["laps"][lap]["peak"], "cpu": float(f"{answer['laps'][lap]['cpu']:.4g}")}
    return row | ({"a sample": float(f"{seconds / samples:.4g}")} if samples else {})


def _write_or_link(target: Path, content: bytes, first: Path) -> None:
    """Write a file once, and link it under every other name it is wanted under."""
    if not first.exists():
        first.write_bytes(content)
    if not target.exists():
        os.link(first, target)


def _write_long(path: Path, events: int) -> None:
    """Write one recording: the same minute of it again and again, time going on."""
    part = min(events, 4_000_000)
    t, x, y, p = lookalike.recording(part, 0)
    lasts, times = int(t[-1] - t[0]) + 10, events // part
    with path.open("wb") as file:
        file.write(lookalike.HEADER)
        for k in range(times):
            file.write(lookalike.aedat31(t + k * lasts, x, y, p)[len(lookalike.HEADER) :])
    whole = np.array([t[0], t[-1] + (times - 1) * lasts])
    path.with_name(f"{path.stem}_labels.csv").write_text(lookalike.labels(whole, overlap=False))


if __name__ == "__main__":
    main()
