"""Checkpoints: everything a run needs to go on as if it had never stopped, written so that a name never holds half.

Plain tensors, numbers and words, so ``torch.load(path, weights_only=True)`` reads them; neuron state is never in them.
"""

from __future__ import annotations

import os
import pickle
import random
import secrets
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from dvsprep.errors import IncompleteError, IntegrityError, NotFoundError, UsageError

LATEST, BEST = "checkpoint_latest.pth", "checkpoint_best.pth"
FORMAT = 1
# Whatever torch, zip and pickle raise for bytes that are none of theirs.
_UNREADABLE = (RuntimeError, OSError, EOFError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile)


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint beside its name, have it on disk, then give it the name."""
    temp = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with temp.open("wb") as file:
            torch.save({"format": FORMAT, **content}, file)
            file.flush()
            os.fsync(file.fileno())
        temp.replace(path)
    finally:
        temp.unlink(missing_ok=True)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU.

    Raises
    ------
    NotFoundError, IntegrityError, IncompleteError
    """
    if not path.is_file():
        raise NotFoundError(f"{path}: no such checkpoint")
    with path.open("rb") as file:
        try:
            content = torch.load(file, map_location="cpu", weights_only=True)
        except _UNREADABLE as error:
            # torch's first sentence: the next ones advise to let a file run whatever it holds
            why = str(error).splitlines()[0].partition(". ")[0] if str(error) else type(error).__name__
            raise IntegrityError(
                f"{path}: truncated, or no checkpoint: {why}", hint="a run keeps two: try the other one"
            ) from None
    if not isinstance(content, dict) or "net" not in content or "format" not in content:
        raise IntegrityError(f"{path}: a file of torch, but no checkpoint of this trainer")
    if content["format"] != FORMAT:
        raise IncompleteError(f"{path}: checkpoint format {content['format']}, this version reads {FORMAT}")
    return content


def find(where: Path, name: str = LATEST) -> Path:
    """Return the checkpoint that a path means: a file, or the latest one of a run's folder."""
    return where / name if where.is_dir() else where


def shown(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the weights that a run validates and tests: the moving average's, if it has one."""
    average = content["ema"] or {}
    return {k.removeprefix("module."): v for k, v in average.items() if k.startswith("module.")} or content["net"]


def load_net(net: nn.Module, state: Mapping[str, Any], path: Path) -> None:
    """Put the weights of a checkpoint into a network of the same shape.

    Raises
    ------
    UsageError
        If they are of another network; one line, the first difference named.
    """
    own = net.state_dict()
    missing, unknown = [k for k in own if k not in state], [k for k in state if k not in own]
    differ = [k for k in own if k in state and own[k].shape != state[k].shape]
    if missing or unknown or differ:
        parts = [
            f"{len(keys)} {what}, {keys[0]} first"
            for what, keys in (("missing", missing), ("not in this network", unknown))
            if keys
        ]
        if differ:
            theirs, ours = (list(d[differ[0]].shape) for d in (state, own))
            parts.append(f"{differ[0]} is {theirs}, expected {ours}")
        raise UsageError(
            f"{path}: of another network: {'; '.join(parts)}",
            hint="give the same --model, --channels and --neuron as the run that wrote it",
        )
    net.load_state_dict(dict(state))


def rng_state() -> dict[str, Any]:
    """Return the state of every random generator a run may draw from."""
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
        "python": random.getstate(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_rng_state(state: Mapping[str, Any]) -> None:
    """Put every random generator where it was."""
    torch.set_rng_state(state["torch"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


def seed_all(seed: int) -> None:
    """Seed every random generator a run may draw from."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)
