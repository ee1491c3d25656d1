"""Events in, frames out, each time they are asked for: no frame cache on disk."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvsprep.cache import loading
from dvsprep.cache.read import EventCache
from dvsprep.integrate import integrate, integrator, needs_times, warm_up
from dvsprep.types import Array, Events, FrameSpec

EVENT_BYTES = 3  # x, y, p: what is unpacked for an event, at the least


class EventFrames(loading.Frames):
    """Frames integrated on the fly from an event cache; a FrameSource."""

    def __init__(self, events: EventCache, spec: FrameSpec, jitter: Callable[[Events], Events] | None = None) -> None:
        self.events, self.spec, self.jitter = events, spec, jitter
        self.labels, self.classes = events.labels, events.classes
        self.dataset, self.split, self.sensor = events.dataset, events.split, events.sensor
        self._integrate: Callable[..., Array] | None = None
        if spec.plugin is None:
            warm_up(*self.sensor)  # here, not in several workers at once

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_integrate": None}

    def __len__(self) -> int:
        return len(self.events)

    def __getitem__(self, index: int, /) -> tuple[Array, int]:
        i = self.events.index(index)
        return self._typed(self._frames(i)), int(self.labels[i])

    def _frames(self, i: int, out: Array | None = None) -> Array:
        """Return sample i's frames: in ``out``, where it is given and of their type."""
        if self._integrate is None:
            self._integrate = integrator(self.spec, *self.sensor, self.events.channels)
        jitter = self.jitter
        events = self.events.compact(i, times=True if jitter is not None else needs_times(self.spec))
        if jitter is not None:  # a stranger's events are checked before a kernel sees them
            H, W = self.sensor
            return integrate(jitter(events), self.spec, H, W, channels=self.events.channels, sample=str(self.ids[i]))
        return self._integrate(events, str(self.ids[i]), out)

    def __getitems__(self, indices: Sequence[int]) -> Sequence[tuple[Array, int]]:
        """Return a whole batch, as torch's DataLoader asks for it."""
        if self.spec.plugin is not None or self.jitter is not None:
            return [self[i] for i in indices]  # a user's Python: it may not be meant for threads
        self.events.map()
        if needs_times(self.spec) and multiprocessing.parent_process() is None:  # not in workers: as of frame caches
            self.events.load_times()
        wanted = [self.events.index(i) for i in indices]
        if self.spec.T is not None:
            shape = (self.spec.T, self.events.channels, *self.sensor)
            try:
                return loading.batch(self._fill, wanted, self.labels, shape, np.dtype(np.uint8), self._floating)
            except _WiderError:
                pass
        events = int(self.events.small("n_events").mean()) if len(self) else 0
        return loading.one_by_one(self.__getitem__, wanted, EVENT_BYTES * events)

    def _fill(self, some: Sequence[int], out: Array) -> None:
        for i, wanted in zip(some, out, strict=True):
            if self._frames(i, wanted) is not wanted:
                raise _WiderError

    @property
    def ids(self) -> NDArray[np.str_]:
        """Sample ids."""
        return self.events.ids


class _WiderError(Exception):
    """A count passed 255: the samples of this batch differ in type."""
