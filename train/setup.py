"""What a run settles before its first batch: where it computes, in what precision, on which data, into which folder."""

from __future__ import annotations

import os
import shutil
from argparse import Namespace
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from dvsprep.errors import BackendError, UsageError
from train import backends, checkpoint, distributed, functional, fused, neuron
from train.data import EpochSampler, ShareLoader, pad_sequence_collate
from train.layer.sync import sync_batch_norms
from train.logs import say

# Flags of one start: a resumed run takes all others from its checkpoint unless they are given.
OF_ONE_START = (
    "resume", "explicit", "paths", "out_dir", "device", "workers", "test_only", "tensorboard", "print_logdir", "clean",
)  # fmt: skip
# What a network is, where the shapes of its weights do not always tell.
OF_THE_NETWORK = ("model", "neuron", "connect", "tau")
DERIVED = ("amp_dtype", "num_classes", "facts")


def resumed(args: Namespace) -> tuple[dict[str, Any] | None, Path]:
    """Return the checkpoint to go on from and its path, after taking the flags of its run that are not given."""
    if args.resume is None:
        if args.test_only:
            raise UsageError("--test-only needs --resume PATH: a network to test")
        return None, Path()
    if args.clean:
        raise UsageError("--clean deletes the run that --resume goes on with", hint="give one of them")
    path = checkpoint.find(Path(args.resume))
    content = checkpoint.load(path)
    for name, value in content["args"].items():
        if name in OF_ONE_START or not hasattr(args, name):
            continue
        if name in args.paths and value is not None:
            value = Path(value)  # a checkpoint holds its words
        if name not in args.explicit:
            setattr(args, name, value)
        elif getattr(args, name) != value and name in OF_THE_NETWORK:
            raise UsageError(
                f"{path}: of another network: --{name} was {value}, {getattr(args, name)} is asked for",
                hint=f"leave --{name} out",
            )
        elif getattr(args, name) != value:
            say(f"--{name.replace('_', '-')} is {getattr(args, name)} now and was {value}")
    args.resumed_facts = content["facts"]
    _share_anew(args, path, content.get("world", 1))
    return content, path


def _share_anew(args: Namespace, path: Path, then: int) -> None:
    """Keep the batch of a run that goes on in another number of processes, if ``-b`` does not change it."""
    now = distributed.world()
    if now == then or args.test_only:
        return
    was = f"{path}: the run had {then} process{'es' * (then > 1)} with -b {args.batch_size}"
    if "batch_size" not in args.explicit:
        whole = then * args.batch_size
        if whole % now:
            raise UsageError(f"{was}, a batch that {now} processes cannot share evenly", hint="give -b")
        args.batch_size = whole // now
    say(f"{was}; now {now} with -b {args.batch_size}, so random numbers differ from those of a run that never stopped")


def meta(args: Namespace) -> dict[str, Any]:
    """Return what a checkpoint tells of its run: the flags, and the facts of data and network."""
    return {
        "args": flags(args),
        "facts": dict(getattr(args, "facts", {})),
        "num_classes": args.num_classes,
        "world": distributed.world(),
    }


def flags(args: Namespace) -> dict[str, Any]:
    """Return the flags of a run, as its files tell them."""
    left_out = (*DERIVED, "resumed_facts", "explicit", "paths", "resume", "print_logdir", "clean")
    kept = {k: v for k, v in vars(args).items() if k not in left_out}
    return {k: str(v) if isinstance(v, os.PathLike) else v for k, v in kept.items()}


def device(args: Namespace) -> torch.device:
    """Return the device, and settle precision and readers for it."""
    name = args.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if distributed.world() > 1 and name.startswith("cuda"):
        if ":" in name:
            raise UsageError(f"--device {name} is one GPU, and every process needs its own", hint="--device cuda")
        name = f"cuda:{distributed.local_rank()}"
    try:
        found = torch.device(name)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        why = str(error).splitlines()[0]
        raise BackendError(f"--device {args.device} cannot be used here: {why}", hint="--device cpu") from None
    if found.index is not None:
        torch.cuda.set_device(found)
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
    n, world = len(train), distributed.world()  # type: ignore[arg-type]
    if args.batch_size * world > n:
        each = f" in each of {world} processes" * (world > 1)
        raise UsageError(
            f"-b {args.batch_size}{each} is larger than the training set: {n} samples", hint="a smaller -b"
        )
    for dataset in others:
        if dataset is not None and len(dataset) == 0:  # type: ignore[arg-type]
            raise UsageError("a validation or test set without samples", hint="leave it out, or --select-by last")


def placed(net: nn.Module, args: Namespace, where: torch.device) -> nn.Module:
    """Return the network on its device, its neurons on their engine; say which and why."""
    functional.set_backend(net, args.backend)
    net = net.to(where)
    if args.sync_bn:
        sync_batch_norms(net)
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


def new_folder(args: Namespace, name: str) -> Path:
    """Make a folder of this name in ``--out-dir``, or the first free ``name_2``, ``name_3``.

    Another run's results are never touched, but those of the very name with ``--clean``.
    """
    return distributed.of_first(_made(args, name) if distributed.rank() == 0 else None)  # type: ignore[no-any-return]


def next_folder(args: Namespace, name: str) -> Path:
    """Return the folder that :func:`new_folder` would make."""
    return next(folder for folder in _names(args.out_dir, name) if args.clean or not folder.is_dir())


def _names(parent: Path, name: str) -> Iterator[Path]:
    yield parent / name
    yield from (parent / f"{name}_{number}" for number in count(2))


def _made(args: Namespace, name: str) -> Path:
    if args.clean:
        _clean(args.out_dir / name)
    for folder in _names(args.out_dir, name):
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not folder.is_dir():
                raise
        else:
            return folder
    raise AssertionError("numbers do not end")


def _clean(folder: Path) -> None:
    """Delete a folder, if it is one that a run has made."""
    if not folder.exists():
        return
    if folder.is_symlink() or not (folder / "run.json").is_file():
        raise UsageError(f"{folder}: not deleted: no folder of a run, which holds run.json", hint="leave --clean out")
    shutil.rmtree(folder)
    say(f"{folder}: deleted, as asked by --clean")


def loader(args: Namespace, dataset: Dataset[Any], where: torch.device, *, train: bool) -> ShareLoader:
    """Return this process's batches of a dataset: drawn anew every epoch to train on, in order to look at."""
    sampler = EpochSampler(
        len(dataset),  # type: ignore[arg-type]
        shuffle=train,
        seed=args.seed,
        copies=args.ra_reps if train else 1,
        rank=distributed.rank(),
        world=distributed.world(),
        even=train,
    )
    return ShareLoader(
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
