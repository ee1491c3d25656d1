"""What a run writes for its reader: a JSON line an epoch, TensorBoard's scalars, words on stderr, its circumstances."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

import dvsprep
from train import distributed, neuron

Row = dict[str, Any]


def say(line: str, *, of_all: bool = False) -> None:
    """Talk, on stderr, above a progress bar if there is one; a stderr that is closed is no reason to stop.

    Of several processes only the first one talks, unless it is a matter ``of_all``.
    """
    if of_all or distributed.rank() == 0:
        with suppress(OSError):
            tqdm.write(line, file=sys.stderr)


def bar(batches: Iterable[Any], title: str) -> Any:
    """Return a progress bar over batches, if a terminal is there and this is the process that talks."""
    silent = None if distributed.rank() == 0 else True
    return tqdm(batches, title, disable=silent, leave=False, unit="batch")


class RunLog:
    """The logs of one run's folder; writes nothing in the other processes of a distributed run.

    Parameters
    ----------
    folder : Path
    rows : sequence of dict
        What earlier starts of this run logged.
    """

    def __init__(self, folder: Path, rows: Sequence[Row], *, tensorboard: bool, active: bool = True) -> None:
        self.file = folder / "log.jsonl"
        self.active = active
        self.board: Any = None
        if not active:
            return
        self.file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                say(f"no TensorBoard logs: {error}")
            else:
                self.board = SummaryWriter(str(folder), purge_step=len(rows) + 1)

    def write(self, row: Row) -> None:
        """Log an epoch."""
        if not self.active:
            return
        with self.file.open("a") as file:
            file.write(json.dumps(row) + "\n")
        say(describe(row))
        if self.board is not None:
            for name, value in row.items():
                if isinstance(value, (int, float)) and name != "epoch":
                    self.board.add_scalar(name, value, row["epoch"])
            self.board.flush()

    def close(self) -> None:
        """Close TensorBoard's file."""
        if self.board is not None:
            self.board.close()


def describe(row: Row) -> str:
    """Return an epoch in words."""
    seen = [part for part in ("train", "val", "test") if f"{part}_loss" in row]
    parts = [
        f"epoch {row['epoch']}",
        *(f"{part} loss {row[f'{part}_loss']:.4f} acc {row[f'{part}_acc1']:.4f}" for part in seen),
        f"{row['train_samples_per_s']:.1f} samples/s",
    ]
    if row.get("firing_rate"):
        parts.append(f"firing rate {sum(row['firing_rate'].values()) / len(row['firing_rate']):.3f}")
    return ", ".join(parts) + f", lr {row['lr']:.2g}" + (" *" if row.get("best") else "")


class Meter:
    """Sums over samples of loss and right answers, and the confusion matrix [true, predicted]."""

    def __init__(self, classes: int) -> None:
        self.samples, self.loss, self.right1, self.right5 = 0, 0.0, 0.0, 0.0
        self.confusion = torch.zeros(classes, classes, dtype=torch.int64)
        self.start = time.perf_counter()

    def add(self, loss: float, acc1: float, acc5: float, output: Tensor, labels: Tensor) -> None:
        """Add a batch."""
        n, classes = len(labels), len(self.confusion)
        self.samples += n
        self.loss += loss * n
        self.right1 += acc1 * n
        self.right5 += acc5 * n
        pairs = labels.cpu() * classes + output.argmax(1).cpu()
        self.confusion += torch.bincount(pairs, minlength=classes * classes).view(classes, classes)

    def words(self) -> str:
        """Return the means so far, for a progress bar."""
        n, seconds = max(self.samples, 1), max(time.perf_counter() - self.start, 1e-9)
        return f"loss {self.loss / n:.4f}, acc {self.right1 / n:.4f}, {self.samples / seconds:.1f} samples/s"

    def row(self, prefix: str) -> Row:
        """Return the means by name, over the samples of all processes."""
        mine = torch.tensor([self.samples, self.loss, self.right1, self.right5], dtype=torch.float64)
        sums, confusion = distributed.total(mine).tolist(), distributed.total(self.confusion)
        self.samples, self.loss, self.right1, self.right5, self.confusion = int(sums[0]), *sums[1:], confusion
        n = max(self.samples, 1)
        row = {"loss": self.loss / n, "acc1": self.right1 / n}
        if len(self.confusion) > 5:
            row["acc5"] = self.right5 / n
        row["samples_per_s"] = self.samples / max(time.perf_counter() - self.start, 1e-9)
        return {f"{prefix}_{name}": round(value, 6) for name, value in row.items()}


class FiringRates:
    """Mean spikes a neuron and step of every layer of neurons, over the batches seen inside ``with``."""

    def __init__(self, net: nn.Module) -> None:
        named = distributed.bare(net).named_modules()
        self.layers = {name: m for name, m in named if isinstance(m, neuron.BaseNode)}
        self.sums = dict.fromkeys(self.layers, 0.0)
        self.calls = dict.fromkeys(self.layers, 0)

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Count inside the block."""
        hooks = [m.register_forward_hook(self._hook(name)) for name, m in self.layers.items()]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _hook(self, name: str) -> Any:
        def count(_module: nn.Module, _inputs: object, spikes: Tensor) -> None:
            self.sums[name] += float(spikes.detach().float().mean())
            self.calls[name] += 1

        return count

    def words(self) -> str:
        """Return the mean over layers, for a progress bar."""
        means = self.means()
        return f", firing rate {sum(means.values()) / len(means):.3f}" if means else ""

    def means(self) -> dict[str, float]:
        """Return the rates by layer."""
        return {name: round(self.sums[name] / n, 5) for name, n in self.calls.items() if n}


def write_circumstances(path: Path, args: Mapping[str, Any]) -> None:
    """Write what a reader needs to repeat a run; of a run that goes on, the commands it goes on with too."""
    told = circumstances(args)
    if path.is_file():
        before = json.loads(path.read_text())
        told |= {"command": before["command"], "went_on": [*before.get("went_on", []), told["command"]]}
    path.write_text(json.dumps(told, indent=1) + "\n")


def circumstances(args: Mapping[str, Any]) -> Row:
    """Return what a reader needs to repeat a run: the command, all flags, versions, the machine."""
    return {
        "command": command(sys.argv),
        "args": {name: str(v) if isinstance(v, (Path, torch.device)) else v for name, v in args.items()},
        "versions": {"dvsprep": dvsprep.__version__, "torch": torch.__version__, "python": platform.python_version()},
        "machine": {
            "cpu": _cpu(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
    }


def command(argv: Sequence[str]) -> str:
    """Return how this process was started, as a person would type it."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    name = f"python -m {spec.name}" if spec is not None else Path(argv[0]).name
    return " ".join([name, *argv[1:]])


def _cpu() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
