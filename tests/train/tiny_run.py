"""Runs TinyTrainer as a process of its own; DIE names a moment at which it kills itself, or is interrupted."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

import torch  # noqa: E402
from sources import TinyTrainer  # noqa: E402

from train import augment, checkpoint, script  # noqa: E402

moment, _, how = os.environ.get("DIE", "").partition("/")
calls = {"batch": 0, "save": 0, "replace": 0}


def at(name: str) -> None:
    calls[name] += 1
    if moment == f"{name}{calls[name]}":
        os.kill(os.getpid(), getattr(signal, how or "SIGKILL"))


class DyingTrainer(TinyTrainer):
    transform = augment.Compose([augment.RandomShift(2), augment.RandomAffine(), augment.RandomErase()])

    def preprocess_train_sample(self, args, x):
        if torch.is_grad_enabled():
            at("batch")
        return super().preprocess_train_sample(args, x)


save, replace = checkpoint.save, Path.replace


def dying_save(path, content):
    save(path, content)
    at("save")


def dying_replace(self, target):
    at("replace")
    return replace(self, target)


if __name__ == "__main__":
    checkpoint.save, Path.replace = dying_save, dying_replace
    script.run(DyingTrainer())
