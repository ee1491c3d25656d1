"""Several processes that train one network, as ``torchrun`` starts them: which one this is, and what they share.

A process that is alone gets back what it gave.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dvsprep.errors import BackendError


def rank() -> int:
    """Return the number of this process, from 0; the first one logs and saves."""
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    """Return how many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def local_rank() -> int:
    """Return the number of this process on its machine: that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def join(where: torch.device) -> None:
    """Meet the other processes, at the address that the launcher chose.

    Raises
    ------
    BackendError
        One line, if that address cannot be used.
    """
    if world() == 1 or dist.is_initialized():
        return
    try:
        dist.init_process_group("nccl" if where.type == "cuda" else "gloo")
    except (RuntimeError, ValueError) as error:
        address = f"{os.environ.get('MASTER_ADDR', 'MASTER_ADDR')}:{os.environ.get('MASTER_PORT', 'MASTER_PORT')}"
        why = "the port is in use" if "EADDRINUSE" in str(error) else str(error).splitlines()[0]
        raise BackendError(
            f"the {world()} processes cannot meet at {address}: {why}", hint="start them by python -m train.launch"
        ) from None


def leave() -> None:
    """Part from the other processes, at the end of a run."""
    if dist.is_initialized():
        dist.destroy_process_group()


def lost(error: RuntimeError) -> bool:
    """Tell whether an error is that another process of the job has gone."""
    return world() > 1 and (isinstance(error, dist.DistError) or "gloo" in str(error) or "NCCL" in str(error))


def wrapped(net: nn.Module, where: torch.device) -> nn.Module:
    """Return the network whose gradients are averaged over all processes; itself where there is one only."""
    if world() == 1:
        return net
    return DistributedDataParallel(net, device_ids=[where] if where.type == "cuda" else None)


def bare(net: nn.Module) -> nn.Module:
    """Return the network that :func:`wrapped` wrapped."""
    return cast("nn.Module", net.module) if isinstance(net, DistributedDataParallel) else net


def total(values: Tensor) -> Tensor:
    """Return the sum over all processes."""
    if world() == 1:
        return values
    summed = values.to(_here(), copy=True)
    dist.all_reduce(summed)
    return summed.to(values.device)


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, values: Tensor) -> Tensor:
        return total(values)

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        return total(gradient)  # what every process sees depends on what each one gave


def differentiable_total(values: Tensor) -> Tensor:
    """Return the sum over all processes, of the sum of whose losses the gradient is."""
    return cast("Tensor", _Total.apply(values))  # type: ignore[no-untyped-call]


def of_first(value: Any) -> Any:
    """Return what the first process gave."""
    if world() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def gathered(value: Any) -> list[Any]:
    """Return what every process gave, in order."""
    if world() == 1:
        return [value]
    values: list[Any] = [None] * world()
    dist.all_gather_object(values, value)
    return values


def spread(tensors: Iterable[Tensor]) -> None:
    """Overwrite tensors with those of the first process."""
    if world() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def _here() -> torch.device:
    """Return the device whose tensors the processes can exchange."""
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
