"""What changes as a run goes on: all of it is in a checkpoint, so a resumed run equals one that never stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from dvsprep.errors import UsageError
from train import checkpoint, distributed


@dataclass
class State:
    """A network in training.

    Attributes
    ----------
    epoch : int
        Epochs that are finished.
    best : dict
        Log row of the best epoch so far; empty before there is one.
    history : list of dict
        Log rows of all finished epochs.
    seconds : float
        Time spent on them.
    """

    net: nn.Module
    optimizer: Optimizer
    scheduler: LRScheduler
    scaler: torch.amp.GradScaler
    ema: AveragedModel | None = None
    epoch: int = 0
    best: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def kinds(self) -> list[str]:
        """Return the names of optimiser and schedule: the state of one means nothing to another."""
        return [type(self.optimizer).__name__, type(self.scheduler).__name__]

    def content(self) -> dict[str, Any]:
        """Return what a checkpoint holds of it; every process of a run has to ask."""
        return {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "lr_scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "ema": self.ema.state_dict() if self.ema is not None else None,
            "kinds": self.kinds(),
            "epoch": self.epoch,
            "best": self.best,
            "history": self.history,
            "seconds": self.seconds,
            "rng": distributed.gathered(checkpoint.rng_state()),
        }

    def restore(self, content: Mapping[str, Any], path: Path) -> None:
        """Become what a checkpoint holds."""
        checkpoint.load_net(self.net, content["net"], path)
        if (content["ema"] is None) != (self.ema is None):
            raise UsageError(f"{path}: --model-ema is {self.ema is not None} here and was not so in that run")
        if self.ema is not None:
            self.ema.load_state_dict(content["ema"])
        if content["kinds"] != self.kinds():
            there, here = (" and ".join(kinds) for kinds in (content["kinds"], self.kinds()))
            raise UsageError(f"{path}: holds the state of {there}, expected {here}", hint="give the same --opt")
        self.optimizer.load_state_dict(content["optimizer"])
        self.scheduler.load_state_dict(content["lr_scheduler"])
        self.scaler.load_state_dict(content["scaler"])
        self.epoch, self.best, self.seconds = content["epoch"], dict(content["best"]), content["seconds"]
        self.history = list(content["history"])
        generators = content["rng"] if isinstance(content["rng"], list) else [content["rng"]]
        if len(generators) == distributed.world():  # else they stay as the seed left them
            checkpoint.set_rng_state(generators[distributed.rank()])

    def shown(self) -> nn.Module:
        """Return the network that is validated and tested."""
        return self.ema.module if self.ema is not None else self.net
