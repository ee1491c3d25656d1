"""Batches on their way to torch: put together by unpacking, and sent from a worker without being copied.

torch's default_collate stacks samples, and its workers make a file of shared memory for every batch: both cost more
than unpacking the frames. A :class:`~dvsprep.cache.loading.Batch` lies in one array already, in a worker in memory that
the trainer's process maps once and gives back when nothing looks at the batch any more. torch is not imported here:
whoever asks for batches as its DataLoader does has loaded it.
"""

from __future__ import annotations

import os
import sys
import weakref
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np

from dvsprep.cache.memory import HEAD, Raw, Ring, can_share, map_pages
from dvsprep.types import Array

SLOTS = 16  # of a worker; batches that are kept beyond these travel as torch sends its own tensors
SMALL = 1024  # values; so few travel faster as bytes than as a file of shared memory
_rings: dict[int, Ring] = {}
_mapped: dict[str, tuple[int, Any]] = {}  # pages of workers' slots by name, and the worker's process


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an array to be filled with a batch, whatever it holds."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    return _ring().take(size).view(dtype).reshape(shape)


def _ring() -> Ring:
    """Return this process's memory of batches; in a worker of a DataLoader it is shared with the trainer."""
    pid = os.getpid()
    if pid not in _rings:
        data = sys.modules.get("torch.utils.data")
        if data is not None and data.get_worker_info() is not None and can_share():
            ForkingPickler.register(sys.modules["torch"].Tensor, _send)
            _rings[pid] = Ring(SLOTS, shared=True)
        else:
            _rings[pid] = Ring(2)  # the one that the trainer looks at, and the next
    return _rings[pid]


def teach(sample: type, batch: Any) -> None:
    """Tell torch's default_collate, if torch is loaded, how samples of a batch become tensors."""
    module: Any = sys.modules.get("torch.utils.data._utils.collate")
    known = getattr(module, "default_collate_fn_map", None)
    if known is None or sample in known:
        return
    torch = sys.modules["torch"]

    def collate(samples: Any, *, collate_fn_map: Any = None) -> list[Any]:
        if isinstance(samples, batch):
            return [torch.from_numpy(samples.frames), torch.from_numpy(samples.labels)]
        return [module.collate(part, collate_fn_map=collate_fn_map) for part in zip(*samples, strict=True)]

    known[sample] = collate


def _send(tensor: Any) -> tuple[Any, ...]:
    """Reduce a tensor for another process: to its place, if it lies in a slot; as torch does it, if not."""
    torch: Any = sys.modules["torch"]
    if tensor.device.type == "cpu" and tensor.layout == torch.strided and not tensor.requires_grad:
        if tensor.dtype == torch.int64 and tensor.numel() <= SMALL and not tensor.is_shared():
            return _small, (tensor.numpy().copy(),)
        for slot in _ring().slots:
            start = tensor.data_ptr() - slot.address
            if 0 <= start < slot.size and not slot.away:
                slot.sent += 1
                part = (str(tensor.dtype).removeprefix("torch."), tensor.shape, tensor.stride(), start)
                return _arrive, (slot.place, slot.name, slot.sent, os.getpid(), part)
    reduced: tuple[Any, ...] = sys.modules["torch.multiprocessing.reductions"].reduce_tensor(tensor)
    return reduced


def _small(values: Array) -> Any:
    return sys.modules["torch"].from_numpy(values)


def _arrive(place: str, name: str, number: int, worker: int, part: tuple[str, Any, Any, int]) -> Any:
    """Return a tensor over a worker's slot, which is given back with the last view of it."""
    torch: Any = sys.modules["torch"]
    if name not in _mapped:
        _mapped[name] = worker, map_pages(place, at_once=True)
    pages = _mapped[name][1]
    whole: Raw = np.frombuffer(pages, np.uint8, offset=HEAD)
    done = weakref.finalize(whole, _give_back, np.frombuffer(pages, np.uint64, 1), number)
    done.atexit = False
    dtype, shape, stride, start = part
    type = getattr(torch, dtype)
    whole_words = whole[start : start + (len(whole) - start) // type.itemsize * type.itemsize]
    return torch.from_numpy(whole_words).view(type).as_strided(tuple(shape), stride)


def _give_back(word: Array, number: int) -> None:
    """Tell the worker that its slot is free; forget the pages of workers that have ended."""
    word[0] = number
    for name, (worker, _) in list(_mapped.items()):
        if not Path(f"/proc/{worker}").exists():
            _mapped.pop(name, None)
