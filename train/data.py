"""Datasets of frames for torch: any FrameSource in, integer tensors out; collating, masks and splits.

Frames stay integers until they are on the device. What is random about a sample is a function of (seed, epoch, sample,
copy) alone, so workers, their number and a resumed run change nothing.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from dvsprep.errors import IntegrityError, UsageError
from dvsprep.types import FrameSource

Sample = tuple[Tensor, int]
_WIDER = {np.dtype(np.uint16): np.int32, np.dtype(np.uint32): np.int64}  # torch can store these, and little else
USER = re.compile(r"(?:user|subject|person)[_-]?\d+", re.IGNORECASE)


class Batch(NamedTuple):
    """Samples together: x [N, T_max, ...], labels int64[N], and each sample's own T, int64[N]."""

    x: Tensor
    labels: Tensor
    lengths: Tensor


class Draw(NamedTuple):
    """One drawing of a sample; it decides everything random about it."""

    sample: int
    epoch: int = 0
    copy: int = 0


class Labelled(Protocol):
    """Anything with a label and an id for each of its samples."""

    labels: NDArray[np.int64]

    @property
    def ids(self) -> list[str]:
        """A name for each sample."""


class Transform(Protocol):
    """Changes one sample; takes its randomness from the generator only."""

    def __call__(self, frames: Tensor, label: int, generator: torch.Generator, /) -> Sample:
        """Return frames [T, C, H, W] and label."""


def generator(seed: int, draw: Draw) -> torch.Generator:
    """Return the random generator of one drawing."""
    text = f"{seed}:{draw.epoch}:{draw.sample}:{draw.copy}"
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little"))


class FrameDataset(Dataset[Sample]):
    """Samples of a FrameSource as ``(frames [T, C, H, W] in the stored integer type, label)``.

    Parameters
    ----------
    source : FrameSource
        ``dvsprep.open(path)``, ``event_cache.frames(...)``, or anything with ``__getitem__``, labels and classes.
    indices : sequence of int, optional
        The samples of the source that this dataset holds; all of them unless told.
    transform : callable, optional
        ``(frames, label, generator) -> (frames, label)``.
    seed : int
        Of the transform.
    """

    def __init__(
        self,
        source: FrameSource,
        *,
        indices: Sequence[int] | NDArray[np.int64] | None = None,
        transform: Transform | None = None,
        seed: int = 0,
    ) -> None:
        self.source, self.transform, self.seed = source, transform, seed
        self.indices = np.arange(len(source)) if indices is None else np.asarray(indices, np.int64)
        self.labels: NDArray[np.int64] = np.asarray(source.labels, np.int64)[self.indices]
        self.classes = tuple(source.classes)
        wrong = np.flatnonzero((self.labels < 0) | (self.labels >= len(self.classes)))
        if len(wrong):
            raise IntegrityError(
                f"{name_of(source)}: sample {self.indices[wrong[0]]} has label {self.labels[wrong[0]]}, expected 0 to "
                f"{len(self.classes) - 1}: there are {len(self.classes)} classes",
                hint="the cache's labels and class names do not fit; make it anew",
            )

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, draw: int | Draw) -> Sample:
        return self.__getitems__([draw])[0]

    def __getitems__(self, draws: Sequence[int | Draw]) -> list[Sample]:
        """Return several samples; the source is asked for them at once if it can be."""
        drawn = [draw if isinstance(draw, Draw) else Draw(draw) for draw in draws]
        wanted = [int(self.indices[draw.sample]) for draw in drawn]
        at_once = getattr(self.source, "__getitems__", None)
        found = at_once(wanted) if at_once else [self.source[i] for i in wanted]
        return [self._sample(draw, *sample) for draw, sample in zip(drawn, found, strict=True)]

    def _sample(self, draw: Draw, frames: NDArray[Any], label: int) -> Sample:
        wider = _WIDER.get(frames.dtype)
        tensor = torch.from_numpy(
            frames.astype(wider) if wider else frames if frames.flags.writeable else frames.copy()
        )
        if self.transform is None:
            return tensor, int(label)
        return self.transform(tensor, int(label), generator(self.seed, draw))

    @property
    def ids(self) -> list[str]:
        """Sample ids, or their numbers where the source has none."""
        ids = getattr(self.source, "ids", None)
        return [str(i if ids is None else ids[i]) for i in self.indices]

    def subset(self, positions: Sequence[int], transform: Transform | None = None) -> FrameDataset:
        """Return the dataset of some of these samples."""
        return FrameDataset(self.source, indices=self.indices[positions], transform=transform, seed=self.seed)


def name_of(source: object) -> str:
    """Return what a message calls a source: its path, or its type."""
    return str(getattr(source, "path", None) or type(source).__name__)


class EpochSampler(Sampler[Draw]):
    """Draws every sample once an epoch, in an order that only (seed, epoch) decide; the n-th of ``world`` shares.

    Parameters
    ----------
    n : int
        Samples.
    copies : int
        Repeated augmentation: every sample that is drawn is drawn so often, and the epoch is as long as before.
    rank, world : int
        Which share of how many.
    even : bool
        Make the shares even: the first samples are drawn again at the end.
    """

    def __init__(
        self,
        n: int,
        *,
        shuffle: bool = True,
        seed: int = 0,
        copies: int = 1,
        rank: int = 0,
        world: int = 1,
        even: bool = True,
    ) -> None:
        self.n, self.shuffle, self.seed, self.copies, self.rank, self.world = n, shuffle, seed, copies, rank, world
        self.even = even
        self.epoch = 0

    def __len__(self) -> int:
        return math.ceil(self.n / self.world) if self.even else self.own

    @property
    def own(self) -> int:
        """How many of this share's samples are drawn for the first time."""
        return len(range(self.rank, self.n, self.world))

    def __iter__(self) -> Iterator[Draw]:
        order = list(range(self.n))
        if self.shuffle:
            order = torch.randperm(self.n, generator=generator(self.seed, Draw(-1, self.epoch))).tolist()
        each = (i for i in order for _ in range(self.copies))
        drawn = map(Draw, each, itertools.repeat(self.epoch), itertools.cycle(range(self.copies)))
        draws = list(itertools.islice(drawn, self.n))
        mine = draws[self.rank :: self.world]
        return itertools.chain(mine, itertools.islice(itertools.cycle(draws), len(self) - len(mine)))


class ShareLoader(DataLoader[Any]):
    """The batches of one process of several: together they are those that a single process would take.

    Where the last batch cannot be shared out evenly, ``weight`` tells how much of the average gradient this process
    has to give, and samples that only fill up are left out; a process that has no others weighs nothing.
    """

    sampler: EpochSampler
    batch_size: int
    weight = 1.0

    def __iter__(self) -> Any:
        share, size = self.sampler, self.batch_size
        for number, (x, labels, lengths) in enumerate(super().__iter__()):
            own = min(size, max(0, share.own - number * size))
            whole = min(size * share.world, share.n - number * size * share.world)
            self.weight = own * share.world / whole
            kept = slice(own or 1)
            yield x[kept], labels[kept], lengths[kept]


def pad_sequence_collate(samples: Sequence[Sample] | Batch) -> Batch:
    """Return (x [N, T_max, C, H, W], labels int64[N], lengths int64[N]); shorter samples end in zeros.

    What a dataset hands out as a batch already is left as it is.
    """
    if isinstance(samples, Batch):
        return samples
    frames = [sample[0] for sample in samples]
    lengths = torch.tensor([len(x) for x in frames])
    labels = torch.tensor([int(sample[1]) for sample in samples])
    if len({x.shape for x in frames}) == 1:
        return Batch(torch.stack(frames), labels, lengths)
    x = frames[0].new_zeros((len(frames), int(lengths.max()), *frames[0].shape[1:]))
    for row, sample in zip(x, frames, strict=True):
        row[: len(sample)] = sample
    return Batch(x, labels, lengths)


def padded_sequence_mask(lengths: Tensor, T: int | None = None, *, batch_first: bool = False) -> Tensor:
    """Return bool[T, N], true where step t belongs to sample n; [N, T] with ``batch_first``.

    Parameters
    ----------
    T : int, optional
        Steps; the longest sample's unless told.
    """
    steps = torch.arange(int(lengths.max()) if T is None else T, device=lengths.device)
    mask = steps[:, None] < lengths[None, :]
    return mask.T if batch_first else mask


def split_to_train_test_set(
    train_ratio: float, dataset: Any, num_classes: int | None = None, random_split: bool = False, seed: int = 0
) -> tuple[Any, Any]:
    """Split class by class, the first ``ceil(ratio n)`` samples of each to the first part; reads labels only.

    Parameters
    ----------
    dataset : FrameDataset or FrameSource
        A dataset gives datasets, a source gives datasets too.
    random_split : bool
        Shuffle each class first, by ``seed``.
    """
    if not isinstance(dataset, FrameDataset):
        dataset = FrameDataset(dataset)
    if num_classes is not None and num_classes != len(dataset.classes):
        raise UsageError(f"num_classes is {num_classes}, but the dataset has {len(dataset.classes)} classes")
    if not 0 <= train_ratio <= 1:
        raise UsageError(f"train_ratio is {train_ratio}, expected 0 to 1")
    ratio = Fraction(str(train_ratio))  # 0.9 of ten is nine, and ceil(0.9 * 10) would be a matter of rounding
    train, test = stratified(dataset.labels, lambda n: math.ceil(ratio * n), seed if random_split else None)
    return dataset.subset(train, dataset.transform), dataset.subset(test, dataset.transform)


def stratified(
    labels: NDArray[np.int64], first: Callable[[int], int], seed: int | None = None
) -> tuple[list[int], list[int]]:
    """Return the positions of both parts; of a class of n samples, ``first(n)`` are in the first one."""
    parts: tuple[list[int], list[int]] = ([], [])
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label).tolist()
        if seed is not None:
            order = torch.randperm(len(members), generator=generator(seed, Draw(int(label)))).tolist()
            members = [members[i] for i in order]
        cut = first(len(members))
        parts[0].extend(members[:cut])
        parts[1].extend(members[cut:])
    return parts


def user_of(sample_id: str) -> str | None:
    """Return the person that a sample id names: ``user01`` of ``user01_fluorescent_row01``."""
    found = USER.search(sample_id)
    return found[0].lower() if found else None


def hold_out(
    dataset: Labelled, *, by: str, ratio: float, seed: int, who: Callable[[str], str | None] = user_of
) -> tuple[list[int], list[int], str]:
    """Return the positions to train on, those to validate on, and in words how they were chosen.

    By user where the ids name at least two; else by sample, class by class; no validation where classes have one
    sample only.
    """
    if by == "user":
        names = [who(id) for id in dataset.ids]
        users = sorted({name for name in names if name is not None})
        if None not in names and len(users) >= 2:
            order = sorted(users, key=lambda user: hashlib.sha256(f"{seed}:{user}".encode()).digest())
            held = set(order[: _part(ratio, len(users))])
            kept, out = ([i for i, name in enumerate(names) if (name in held) == side] for side in (False, True))
            return kept, out, f"by user, {', '.join(sorted(held))} of {len(users)} held out"
        why = f"the samples are all of {users[0]}" if None not in names and users else "the sample ids name no user"
    held_out, train = stratified(dataset.labels, lambda n: _part(ratio, n), seed)
    how = f"by sample, {ratio:g} of each class" + (f" ({why})" if by == "user" else "")
    return sorted(train), sorted(held_out), how


def _part(ratio: float, n: int) -> int:
    """Return a part of n that is at least one and leaves at least one; none of a single one."""
    return min(max(1, round(ratio * n)), n - 1)
