"""``python -m benchmarks.learn``: does it learn? Runs on the bundled sample, real recordings and real images.

    python -m benchmarks.learn [sample nmnist gestures fashion sequential images] [--folder DIR]
    python -m benchmarks.learn fashion --keep logs/T4_b64_adamw_lr0.001_c64_amp

Each result is a folder of docs/results: command, flags, seed, machine, log, curves, confusion matrix; README.md there
and the project's README's table are made from them. Real recordings lie in the folder $DVSPREP_REAL_DATA, in the
official layouts; Fashion-MNIST where `python -m train.fashion_mnist` finds it. ``--keep`` takes a finished run instead
of a new one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.child import PROJECT

RESULTS, README = PROJECT / "docs" / "results", PROJECT / "README.md"
KEPT = ("log.jsonl", "run.json", "result.json", "curves.png", "confusion.png")
COMPARED = ("result.json", "curves.png")
BEGIN, END = "<!-- made by `python -m benchmarks.learn`; a test compares -->", "<!-- end of what was learned -->"


@dataclass(frozen=True)
class Learned:
    """One run: how its caches are made, what trains on them, and the least that is expected of it.

    ``short`` says of a result that is known to miss this by how much; a test holds it to be true.

    ``parts`` are the networks that it compares, with the least of each; the first one has to be the worst.
    """

    title: str
    train: tuple[str, ...]
    accuracy: float = 0.0
    minutes: float | None = None
    dataset: str = ""
    frames: tuple[str, ...] = ()
    archives: tuple[str, ...] = ()
    maker: tuple[str, ...] = ()  # what makes the data, where no dataset of dvsprep is learned
    parts: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    short: str = ""


RUNS = {
    "sample": Learned(
        "Bundled sample", ("train.dvsg",), 0.95, 10, "sample", ("--split-by", "number", "-T", "20"),
        note="72 synthetic recordings of six persons to train on, 24 of two others to test.",
    ),
    "nmnist": Learned(
        "N-MNIST, 1,100 real recordings", ("train.frames",), 0.95, 20, "nmnist", ("--split-by", "time", "-T", "10"),
        archives=("nmnist-1100/Train.zip", "nmnist-1100/Test.zip"),
        note="1,000 training and 100 test recordings, not the whole set: no figure to compare with papers.",
    ),
    "gestures": Learned(
        "Ten real DVS gestures", ("train.dvsg",), 0.9, None, "dvs128", ("--duration", "62500"),
        archives=("dvs-gesture-10/DvsGesture.tar.gz",),
        note="A smoke test on real DVS data: one recording a class, the first second to train on, the rest to test.",
    ),
    "fashion": Learned(
        "Fashion-MNIST, CSNN, T = 4",
        (
            "train.fashion_mnist", "--lr", "0.002", "--lr-warmup-epochs", "2", "--wd", "0.03", "--select-by", "last",
            "--test-every", "1",
        ),
        0.934,
        note="All 60,000 images to train on and the last epoch counts; the test set, looked at on the way for the "
        "curves, chooses no epoch. It did choose the setting: with --lr 0.001, no warm-up and --wd 0.05 it was 0.9328, "
        "with --erase 0.25 besides 0.9323, with --shift 1 and --wd 0.02 0.9303; -b 32 and --wd 0.2 were "
        "worse half-way and stopped. The field's tutorial has 0.9308 with "
        "128 channels and 64 epochs, its best epoch chosen on the test set.",
    ),
    "sequential": Learned(
        "Sequential Fashion-MNIST", ("train.sequential_fmnist", "--compare"),
        parts={"plain": 0.7, "ss": 0.755, "fb": 0.77},
        note="A column a step, three networks of 1,258 to 3,338 parameters, 64 epochs each.",
    ),
    "images": Learned(
        "Spiking ResNet-18, T = 4, overfits ten classes of generated images",
        (
            "train.imagenet", "--data-dir", "images", "-T", "4", "-b", "16", "--epochs", "36", "--opt", "adam",
            "--lr", "0.003", "--lr-warmup-epochs", "0", "--label-smoothing", "0", "--mixup-alpha", "0",
            "--cutmix-alpha", "0", "--auto-augment", "none", "--random-erase", "0", "--train-crop-size", "64",
            "--val-resize-size", "64", "--val-crop-size", "64",
        ), 1.0, 10, maker=("benchmarks.generated_images", "images"),
        note="160 images of 64 x 64, and tested on the same ones: can a deep spiking network be trained at all?",
    ),
}  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learn", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", choices=[*RUNS, []], help=", ".join(RUNS))
    parser.add_argument("--folder", type=Path, help="where to work and leave everything (a temporary folder)")
    parser.add_argument("--keep", type=Path, help="a finished run's folder, of the one name that is given")
    args = parser.parse_args(argv)
    if args.keep and len(args.names) != 1:
        parser.error("--keep goes with one name")
    with tempfile.TemporaryDirectory(prefix="dvsprep-learn-") as temporary:
        for name in args.names or RUNS:
            keep(name, args.keep or learn(RUNS[name], (args.folder or Path(temporary)).resolve()))
    write()
    failed = [name for name in args.names or RUNS if not passed(name)]
    sys.exit(f"less than expected: {', '.join(failed)}" if failed else 0)


def write() -> None:
    """Make the page, and README's table, of all results there are."""
    (RESULTS / "README.md").write_text(page())
    head, _, rest = README.read_text().partition(BEGIN)
    README.write_text(f"{head}{BEGIN}\n{quoted()}\n{END}{rest.partition(END)[2]}")


def learn(run: Learned, folder: Path) -> Path:
    """Make the caches and train; return the run's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    words = list(run.train)
    if run.archives:
        real = os.environ.get("DVSPREP_REAL_DATA")
        if not real:
            sys.exit(f"{run.title} needs real recordings: DVSPREP_REAL_DATA names their folder")
        archives = [str(Path(real).resolve() / archive) for archive in run.archives]
        call(folder, "dvsprep", "adopt", run.dataset, *archives, "--no-verify")
    if run.maker:
        call(folder, *run.maker)
    if run.dataset:
        unverified = ("--no-verify",) if run.archives else ()
        caches = call(folder, "dvsprep", "frames", run.dataset, *run.frames, *unverified, own_root=True).splitlines()
        cache = next(path for path in caches if ".train." in path)
        words += ["--cache", os.path.relpath(folder / cache, folder)]
    told = call(folder, *words, own_root=bool(run.dataset))
    return folder / json.loads(told.splitlines()[-1])["out_dir"]


def keep(name: str, source: Path) -> None:
    """Copy what tells of a run to the results."""
    target = RESULTS / name
    shutil.rmtree(target, ignore_errors=True)
    _copy(COMPARED if RUNS[name].parts else KEPT, source, target)
    for part in RUNS[name].parts:
        _copy(KEPT, source / Path(load(name, "result.json")["models"][part]["out_dir"]).name, target / part)


def _copy(files: tuple[str, ...], source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for file in files:
        shutil.copyfile(source / file, target / file)


def call(folder: Path, module: str, *arguments: str, own_root: bool = True) -> str:
    """Run a module in the work folder, with a root there for datasets unless told; return its stdout."""
    environment = os.environ | {"PYTHONPATH": str(PROJECT)} | ({"DVSPREP_ROOT": "data"} if own_root else {})
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def load(name: str, file: str) -> dict[str, Any]:
    return json.loads((RESULTS / name / file).read_text())


def results() -> dict[str, tuple[str, float]]:
    """Return title and least accuracy of each single run that there is a result of, by its folder."""
    found = {}
    for name, run in RUNS.items():
        for folder, title, least in [
            (f"{name}/{part}", f"{run.title}, {part}", least) for part, least in run.parts.items()
        ] or [(name, run.title, run.accuracy)]:
            if (RESULTS / folder / "result.json").is_file():
                found[folder] = (title, least)
    return found


def passed(name: str) -> bool:
    """Tell whether a run did what is expected of it."""
    run, every = RUNS[name], [folder for folder in results() if folder.split("/")[0] == name]
    reached = [load(folder, "result.json")["test_acc"] for folder in every]
    in_time = run.minutes is None or load(name, "result.json")["seconds"] <= 60 * run.minutes
    enough = all(accuracy >= results()[folder][1] for folder, accuracy in zip(every, reached, strict=True))
    return bool(reached) and enough and in_time and all(accuracy > reached[0] for accuracy in reached[1:])


def table(*, link: str) -> list[str]:
    """Return all results as a table of Markdown; ``link`` goes before the anchors."""
    lines = [
        "| run | test accuracy | of at least | validation | best epoch | seconds of training |",
        "|---|---|---|---|---|---|",
    ]
    for folder, (title, least) in results().items():
        r = load(folder, "result.json")
        val = "none" if r["val_acc"] is None else f"{r['val_acc']:.4f}"
        cells = [f"[{title}]({link}#{folder.split('/')[0]})", f"{r['test_acc']:.4f}", least, val]
        cells += [f"{r['best_epoch']} of {r['epochs']}", f"{r['seconds']:.0f}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def quoted() -> str:
    """Return README's table."""
    return "\n".join(table(link="docs/results/README.md"))


def page() -> str:
    """Return the page of all results there are."""
    lines = [
        "# Does it learn?",
        "",
        "Made by `python -m benchmarks.learn`; every folder here holds the flags, the log and the machine of its run.",
        "Seconds are what they were on a machine that had other work too.",
        "",
        *table(link=""),
    ]
    for name in dict.fromkeys(folder.split("/")[0] for folder in results()):
        lines += section(name)
    return "\n".join(lines) + "\n"


def section(name: str) -> list[str]:
    """Return a run in words and pictures."""
    run = RUNS[name]
    folder = next(folder for folder in results() if folder.split("/")[0] == name)
    facts, r = load(folder, "run.json"), load(folder, "result.json")
    m = facts["machine"]
    frames = f"dvsprep frames {run.dataset} {' '.join(run.frames)}{' --no-verify' if run.archives else ''}"
    made = [f"python -m {' '.join(run.maker)}"] * bool(run.maker)
    commands = [frames] * bool(run.dataset) + made + [facts["command"], *facts.get("went_on", [])]
    pictures = ["curves"] if run.parts else ["curves", "confusion"]
    return [
        "",
        f"## {name}",
        "",
        f"{run.note} Validation: {r['validation']}; epoch chosen by: {r['select_by']}.",
        *[run.short] * bool(run.short),
        "",
        *(f"    {command}" for command in commands),
        "",
        f"Seed {facts['args']['seed']}; {m['cpu']}, {m['threads']} threads.",
        "",
        " ".join(f"![{picture}]({name}/{picture}.png)" for picture in pictures),
    ]


if __name__ == "__main__":
    main()
