"""``python -m benchmarks.train.epochs``: seconds an epoch of the Fashion-MNIST scripts, train and SpikingJelly in turn.

Both sides' own scripts, as a user starts them, with the same flags, on the same files: the first images of
Fashion-MNIST, unpacked. Two epochs each, of which the second counts; its images a second, training and testing, make
the seconds of 60,000 and 10,000 images. SpikingJelly's runs once without and once with reader processes; the faster
one is compared.

Writes benchmarks/train_epochs.json and the page train_epochs.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks import environments, machine
from benchmarks.child import PROJECT
from benchmarks.train import page

RESULTS = PROJECT / "benchmarks" / "train_epochs.json"
EXAMPLES = "spikingjelly.activation_based.examples"
FULL = {"train": 60_000, "test": 10_000}
READERS = 2
SPEED = re.compile(r"train speed = *([\d.]+) images/s, test speed = *([\d.]+) images/s")


class Script(NamedTuple):
    """A script of both sides; ``images`` are those of the files that it is timed on."""

    name: str
    title: str
    ours: str
    theirs: str
    images: dict[str, int]
    flags: str
    bar: float | None


CSNN = "-T 4 -b 64 -channels 64 -opt sgd -lr 0.1 -epochs 2"
SAME = "--shift 0 --no-flip"  # theirs does not augment
COLUMNS = "-b 128 -opt sgd -lr 0.1 -epochs 2"
# Enough batches that the few whose firing rates are counted, at twice the time, weigh little, as in a whole epoch.
FEW, MANY = {"train": 5120, "test": 2560}, {"train": 6400, "test": 1280}
SCRIPTS = [
    Script("float32", "CSNN, float32", f"fashion_mnist --no-amp {SAME}", "conv_fashion_mnist", FEW, CSNN, 3),
    Script(
        "bfloat16", "CSNN, bfloat16, our default", f"fashion_mnist --amp {SAME}", "conv_fashion_mnist", FEW, CSNN, 3
    ),
    *(
        Script(m, title, "sequential_fmnist", "rsnn_sequential_fmnist", MANY, f"-model {m} {COLUMNS}", 4)
        for m, title in (("plain", "sequential, plain"), ("ss", "sequential, synapse"), ("fb", "sequential, feedback"))
    ),
]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train.epochs", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="runs of each script, in turn (3)")
    parser.add_argument("--cores", type=int, default=2, help="CPUs of each side (2)")
    parser.add_argument("--peer-python", help="a Python with spikingjelly; one is made unless told")
    parser.add_argument("--data-dir", type=Path, help="where Fashion-MNIST's files lie")
    parser.add_argument("--only", nargs="+", choices=[s.name for s in SCRIPTS], help="these anew, the others stay")
    args = parser.parse_args(argv)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])
    peer = args.peer_python or environments.python("spikingjelly")
    chosen = [script for script in SCRIPTS if not args.only or script.name in args.only]
    measured_now: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="dvsprep-epochs-") as folder:
        for round_ in range(args.rounds):
            for script in chosen:
                data = prepared(Path(folder), script.images, args.data_dir)
                for key, seconds in measured(script, data, peer).items():
                    measured_now.setdefault(key, []).append(seconds)
                    print(f"round {round_ + 1}: {key}: {seconds:.1f} s an epoch", file=sys.stderr, flush=True)
    before = json.loads(RESULTS.read_text())["seconds"] if args.only and RESULTS.is_file() else {}
    known = {"facts": facts(args), "seconds": before | measured_now}
    RESULTS.write_text(json.dumps(known, indent=1) + "\n")
    RESULTS.with_suffix(".md").write_text(markdown(known))
    print(markdown(known), end="")


def prepared(folder: Path, images: dict[str, int], source: Path | None) -> Path:
    """Write the first images where SpikingJelly's torchvision looks for them; return that folder."""
    import dvsprep
    from train import idx

    root = folder / f"{images['train']}"
    raw = root / "FashionMNIST" / "raw"
    if not raw.is_dir():
        raw.mkdir(parents=True)
        for split, n in images.items():
            for kind, name in (("images", "images-idx3-ubyte"), ("labels", "labels-idx1-ubyte")):
                stem = f"{idx.STEMS[split]}-{name}"
                array = dvsprep.read_idx(idx.find(idx.FASHION_MNIST, stem, source), kind)[:n]
                head = struct.pack(f">{1 + array.ndim}I", 2048 + array.ndim, *array.shape)
                (raw / stem).write_bytes(head + array.tobytes())
    return root


def measured(script: Script, data: Path, peer: str) -> dict[str, float]:
    """Return seconds an epoch of both sides, one after the other."""
    found = {_ours(script): ours(script, data)}
    for readers in (0, READERS):
        found[_theirs(script, readers)] = theirs(script, data, peer, readers)
    return found


def ours(script: Script, data: Path) -> float:
    words = f"train.{script.ours} {script.flags} --select-by last --test-every 1 --no-tensorboard -j 0".split()
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", *words, "-data-dir", str(data), "-out-dir", out]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
        log = Path(json.loads(done.stdout)["out_dir"], "log.jsonl").read_text()
    row = json.loads(log.splitlines()[-1])
    return epoch(row["train_samples_per_s"], row["test_samples_per_s"])


def theirs(script: Script, data: Path, peer: str, readers: int) -> float:
    out = data.parent / "out"
    words = f"{EXAMPLES}.{script.theirs} {script.flags} -device cpu -j {readers}".split()
    command = [peer, "-m", *words, "-data-dir", str(data), "-out-dir", str(out)]
    done = subprocess.run(command, cwd=data, capture_output=True, text=True, check=True)
    shutil.rmtree(out)
    return epoch(*map(float, SPEED.findall(done.stdout)[-1]))


def epoch(train: float, test: float) -> float:
    """Return the seconds of a whole epoch at these images a second."""
    return round(FULL["train"] / train + FULL["test"] / test, 3)


def facts(args: argparse.Namespace) -> dict[str, str]:
    import torch

    import dvsprep

    return {
        "machine": machine.described(args.cores),
        "load after": f"{machine.load()} (of which the benchmark itself is about {args.cores})",
        "versions": f"train {dvsprep.__version__}, torch {torch.__version__}, SpikingJelly "
        f"{environments.PEERS['spikingjelly'][0]}",
        "images timed": "; ".join(f"{s.title}: {s.images['train']:,} + {s.images['test']:,}" for s in SCRIPTS[1:3]),
        "command": f"`python -m benchmarks.train.epochs --rounds {args.rounds}`"
        + ", each script by itself (`--only`)" * bool(args.only),
    }


def markdown(known: dict[str, Any]) -> str:
    """Return the page."""
    lines = [["script", "train", "SpikingJelly", "ratio", "bar", "its readers"]]
    for script in (script for script in SCRIPTS if _ours(script) in known["seconds"]):
        own = median(known["seconds"][_ours(script)])
        peers = {readers: median(known["seconds"][_theirs(script, readers)]) for readers in (0, READERS)}
        readers = min(peers, key=peers.__getitem__)
        cells = [script.title, f"{own:.2f} s", f"{peers[readers]:.1f} s", f"**{peers[readers] / own:.2f}**"]
        lines.append([*cells, f"at least {script.bar:g}", str(readers)])
    about = (__doc__ or "").split("\n\n")[1]
    return "\n".join([
        "# Seconds an epoch, Fashion-MNIST, on the CPU",
        "",
        "Written by `python -m benchmarks.train.epochs`; not edited by hand.",
        "",
        *page.table([["", ""], *map(list, known["facts"].items())]),
        "",
        *page.table(lines),
        "",
        about,
    ]) + "\n"  # fmt: skip


def _ours(script: Script) -> str:
    return f"{script.title}: train"


def _theirs(script: Script, readers: int) -> str:
    return f"{script.title}: SpikingJelly, {readers} readers"


if __name__ == "__main__":
    main()
