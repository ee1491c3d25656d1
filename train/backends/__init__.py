"""A neuron and its input in, spikes and potentials out: engines with one signature and equal numbers.

``get(name)`` loads the one engine it needs; installed packages add theirs as entry points of the group train.backends.
"""

from __future__ import annotations

import functools
import importlib
from importlib.metadata import entry_points

import torch
from torch import Tensor

from dvsprep.errors import BackendError, UsageError
from train.backends.spec import Engine, NeuronSpec, inverse_tau, state_dtype

GROUP = "train.backends"
BUILT_IN = {"torch": "train.backends.torch_loop", "cpu": "train.backends.cpu", "cupy": "train.backends.cupy"}
FASTEST = {"cpu": ("cpu",), "cuda": ("cupy",)}  # by device, tried in order before torch

__all__ = [
    "BUILT_IN",
    "GROUP",
    "Engine",
    "NeuronSpec",
    "check_name",
    "choose",
    "get",
    "inverse_tau",
    "names",
    "state_dtype",
]


def names() -> list[str]:
    """Return every name that :func:`get` knows; "auto" stands for one of them."""
    return [*BUILT_IN, *sorted({e.name for e in entry_points(group=GROUP)} - set(BUILT_IN))]


def check_name(name: str) -> str:
    """Return the name of an engine, or "auto"; raise UsageError if it is neither."""
    if name not in ("auto", *BUILT_IN) and name not in names():
        raise UsageError(f"no backend is named {name!r}", hint=f"there are auto, {', '.join(names())}")
    return name


@functools.cache
def get(name: str) -> Engine:
    """Return an engine that works on this machine.

    Raises
    ------
    BackendError
        With the real cause, if the engine cannot be imported or cannot run here.
    """
    check_name(name)
    try:
        if name in BUILT_IN:
            engine: Engine = importlib.import_module(BUILT_IN[name]).ENGINE
        else:
            (entry,) = entry_points(group=GROUP, name=name)
            engine = entry.load()
        cause = engine.why_not()
    except Exception as error:  # noqa: BLE001  whatever an engine's compiler, driver or package raises; told below
        cause = error
    if cause is not None:
        raise BackendError(
            f"backend {name} cannot be used here: {type(cause).__name__}: {' '.join(str(cause).split())}",
            hint="use backend auto or torch",
        ) from cause
    return engine


def choose(x: Tensor, spec: NeuronSpec) -> tuple[Engine, str]:
    """Return the fastest engine for this input and neuron, and why it is that one, in words."""
    return _choose(x.device, x.dtype, spec)


@functools.cache
def _choose(device: torch.device, dtype: torch.dtype, spec: NeuronSpec) -> tuple[Engine, str]:
    reasons = []
    for name in FASTEST.get(device.type, ()):
        try:
            engine = get(name)
        except BackendError as error:
            reasons.append(error.message)
            continue
        refused = engine.refuses(spec, torch.empty(0, dtype=dtype, device=device))
        if refused is None:
            return engine, "; ".join([f"{name} is the fastest for {spec.kind} neurons on {device}", *reasons])
        reasons.append(f"{name} refuses: {refused}")
    return get("torch"), "; ".join(reasons) or f"no faster engine is known for {device}"
