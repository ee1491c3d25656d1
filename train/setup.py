"""What a run settles before its first batch: where it computes, in what precision, on which data, into which folder."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from dvsprep.errors import BackendError, UsageError
from train import backends, checkpoint, functional, fused, neuron
from train.data import EpochSampler, pad_sequence_collate
from train.logs import say

# Flags of one start: a resumed run takes all others from its checkpoint unless they are given.
OF_ONE_START = ("resume", "explicit", "out_dir", "device", "workers", "test_only", "tensorboard")
DERIVED = ("amp_dtype", "num_classes", "facts")


def resumed(args: Namespace) -> tuple[dict[str, Any] | None, Path]:
    """Return the checkpoint to go on from and its path, after taking the flags of its run that are not given."""
    if args.resume is None:
        if args.test_only:
            raise UsageError("--test-only needs --resume PATH: a network to test")
        return None, Path()
    path = checkpoint.find(Path(args.resume))
    content = checkpoint.load(path)
    for name, value in content["args"].items():
        if name in OF_ONE_START or not hasattr(args, name):
            continue
        if name not in args.explicit:
            setattr(args, name, value)
        elif getattr(args, name) != value:
            say(f"--{name.replace('_', '-')} is {getattr(args, name)} now and was {value}")
    args.resumed_facts = content["facts"]
    return content, path


def meta(args: Namespace) -> dict[str, Any]:
    """Return what a checkpoint tells of its run: the flags, and the facts of data and network."""
    kept = {k: v for k, v in vars(args).items() if k not in (*DERIVED, "resumed_facts", "explicit", "resume")}
    return {
        "args": {k: str(v) if isinstance(v, os.PathLike) else v for k, v in kept.items()},
        "facts": dict(getattr(args, "facts", {})),
    }


def device(args: Namespace) -> torch.device:
    """Return the device, and settle precision and readers for it."""
    name = args.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(name)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        why = str(error).splitlines()[0]
        raise BackendError(f"--device {args.device} cannot be used here: {why}", hint="--device cpu") from None
    args.device = str(found)
    if args.amp is None:
        args.amp = found.type == "cuda" or (found.type == "cpu" and bf16_is_fast())
    args.amp_dtype = torch.float16 if found.type == "cuda" else torch.bfloat16
    if args.workers is None:
        args.workers = 4 if found.type == "cuda" else 0
    return found


def bf16_is_fast() -> bool:
    """Tell whether this CPU multiplies bf16 in hardware."""
    able: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def check(args: Namespace, train: Dataset[Any], *others: Dataset[Any] | None) -> None:
    """Raise UsageError if there is nothing to train on, or less than a batch."""
    n = len(train)  # type: ignore[arg-type]
    if args.batch_size > n:
        raise UsageError(f"-b {args.batch_size} is larger than the training set: {n} samples", hint="a smaller -b")
    for dataset in others:
        if dataset is not None and len(dataset) == 0:  # type: ignore[arg-type]
            raise UsageError("a validation or test set without samples", hint="leave it out, or --select-by last")


def placed(net: nn.Module, args: Namespace, where: torch.device) -> nn.Module:
    """Return the network on its device, its neurons on their engine; say which and why."""
    functional.set_backend(net, args.backend)
    net = net.to(where)
    if where.type == "cpu":
        fused.fuse(net)
    dtype = args.amp_dtype if args.amp else torch.float32
    specs = {module.spec for module in net.modules() if isinstance(module, neuron.BaseNode)}
    if args.backend == "auto":
        for spec in sorted(specs, key=repr):
            engine, why = backends.choose(torch.empty(0, dtype=dtype, device=where), spec)
            say(f"backend auto: {engine.name} ({why})")
    parameters = sum(p.numel() for p in net.parameters())
    say(f"{type(net).__name__}: {parameters:,} parameters, {where}, {dtype}".replace("torch.", ""))
    return net


def new_folder(parent: Path, name: str) -> Path:
    """Make a folder of this name, or the first free ``name_2``, ``name_3``; another run's results are never touched."""
    number = 1
    while True:
        folder = parent / (name if number == 1 else f"{name}_{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not folder.is_dir():
                raise
            number += 1
        else:
            return folder


def loader(args: Namespace, dataset: Dataset[Any], where: torch.device, *, train: bool) -> DataLoader[Any]:
    """Return the batches of a dataset: drawn anew every epoch to train on, in order to look at."""
    n = len(dataset)  # type: ignore[arg-type]
    sampler = EpochSampler(n, shuffle=train, seed=args.seed, copies=args.ra_reps if train else 1)
    return DataLoader(
        dataset,
        args.batch_size,
        sampler=sampler,
        num_workers=args.workers,
        collate_fn=pad_sequence_collate,
        pin_memory=where.type == "cuda",
    )


def differences(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[str]:
    """Return in words what two sets of facts do not agree in."""
    return [f"{k} {then[k]!r} there, {now[k]!r} here" for k in now if k in then and now[k] != then[k]]
