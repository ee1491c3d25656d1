"""Flags that were left open, and the cache at hand in; good values and the reasons in words out."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import Any

STEPS = 800  # what small sets need; others take the field's 64 epochs
FIELD_EPOCHS = 64
FEW = 150  # samples a class, up to which shifts and rotations help more than they cost


def choose(args: Namespace, facts: Mapping[str, Any], samples: int) -> Iterator[str]:
    """Fill in every flag that is None; yield what was chosen, in words."""
    chosen: dict[str, Any] = {}

    def settle(name: str, value: Any) -> None:
        if getattr(args, name) is None:
            setattr(args, name, value)
            chosen[name] = value

    side = max(facts["sensor"])
    few = samples < FEW * len(facts["classes"])
    settle("model", "nmnist_net" if side < 64 else "dvs_gesture_net")
    settle("neuron", "lif" if args.model == "dvs_gesture_net" else "plif")
    settle("channels", channels_of(args.model) if args.device.startswith("cuda") else 32)
    settle("batch_size", min(16, max(4, samples // 16), samples))
    settle("epochs", min(256, max(FIELD_EPOCHS if samples >= 500 else 1, round(STEPS * args.batch_size / samples))))
    settle("opt", "adam")
    settle("lr", 1e-3 if args.opt.startswith(("adam", "rms")) else 0.1)
    settle("val_ratio", 0.1)
    augmented = few and args.augment == "auto"
    settle("shift", max(1, side // 32) if augmented else 0)
    settle("affine", augmented)
    settle("erase", 0.0)
    settle("flip", False)
    if chosen:
        words = ", ".join(f"--{name.replace('_', '-')} {value}" for name, value in chosen.items())
        yield f"chosen for {samples} samples of {facts['sensor'][0]} x {facts['sensor'][1]}, T = {facts['T']}: {words}"


def channels_of(model: str) -> int:
    """Return the channels that a model was published with."""
    from train.models import MODELS

    return int(MODELS[model].default_channels)  # type: ignore[attr-defined]
