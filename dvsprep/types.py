"""The nouns every room shares: Events, FrameSpec, and the protocols FrameSource and Integrator.

Conventions: x is the column (right), y the row (down), p is 0 = OFF or 1 = ON, t is int64 microseconds and
non-decreasing. Frames are counts ``[T, 2, H, W]``, channel 0 = OFF, channel 1 = ON. Labels are 0-based class indices.
Bins are left-closed ``[a, b)``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal, Protocol, TypedDict, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dvsprep.errors import UsageError

Array = NDArray[Any]
SplitBy = Literal["number", "time", "duration", "plugin"]
Tail = Literal["keep", "drop"]


NeedOfTimes = bool | Literal["searched"]  # whether t is looked at; searched: no more than its ends, and for values


class Events(TypedDict):
    """One sample's events: t int64[N] microseconds, x and y uint8 or uint16[N], p uint8[N]."""

    t: NDArray[np.int64]
    x: Array
    y: Array
    p: NDArray[np.uint8]


@dataclass(frozen=True)
class FrameSpec:
    """How events become frames; everything that changes a number is here, nothing else.

    Parameters
    ----------
    split_by : {"number", "time", "duration", "plugin"}
    T : int, optional
        Frames a sample; with "number" and "time".
    duration : int, optional
        Microseconds a frame; with "duration".
    tail : {"keep", "drop"}
        With "duration": whether an interval that the recording does not fill is a frame.
    plugin : str, optional
        ``module:function``, ``file.py:function`` or an entry point's name; with "plugin".
    params : mapping
        Keyword arguments of the plugin, JSON values.
    """

    split_by: SplitBy
    T: int | None = None
    duration: int | None = None
    tail: Tail = "keep"
    plugin: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.split_by not in get_args(SplitBy):
            raise UsageError(f"split_by is {self.split_by!r}, expected one of {', '.join(get_args(SplitBy))}")
        if self.tail not in get_args(Tail):
            raise UsageError(f"tail is {self.tail!r}, expected keep or drop")
        needed = {"number": "T", "time": "T", "duration": "duration", "plugin": "plugin"}[self.split_by]
        for name in ("T", "duration", "plugin"):
            value = getattr(self, name)
            if name == needed and value is None:
                raise UsageError(f"split by {self.split_by} needs {name}")
            if name != needed and value is not None:
                raise UsageError(f"{name} does not go with split by {self.split_by}")
            if name != "plugin" and value is not None and not _is_count(value):
                raise UsageError(f"{name} is {value!r}, expected a whole number of at least 1")
        if self.tail != "keep" and self.split_by != "duration":
            raise UsageError(f"tail {self.tail} goes with split by duration only")
        if self.params and self.split_by != "plugin":
            raise UsageError("parameters go with a plugin only")
        try:
            canonical_json(dict(self.params))
        except (TypeError, ValueError) as error:
            raise UsageError(f"parameters of a plugin are JSON values: {error}") from None
        # NumPy integers are welcome, but the canonical JSON must not depend on them.
        for name in ("T", "duration"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, int(getattr(self, name)))

    def to_dict(self) -> dict[str, Any]:
        """Return only what this spec uses, so that an unused default never changes a digest."""
        spec: dict[str, Any] = {"split_by": self.split_by}
        if self.T is not None:
            spec["T"] = self.T
        if self.duration is not None:
            spec |= {"duration": self.duration, "tail": self.tail}
        if self.plugin is not None:
            spec |= {"plugin": self.plugin, "params": dict(self.params)}
        return spec

    @classmethod
    def from_dict(cls, spec: Mapping[str, Any]) -> FrameSpec:
        """Rebuild a spec from :meth:`to_dict`."""
        return cls(**dict(spec))

    def describe(self) -> str:
        """Return the words of a file name, for example ``number-T20`` or ``duration-50000us``."""
        if self.T is not None:
            return f"{self.split_by}-T{self.T}"
        if self.duration is not None:
            return f"duration-{self.duration}us" + ("-drop" if self.tail == "drop" else "")
        name = str(self.plugin).rpartition(":")[2]
        return "plugin-" + "".join(c if c.isalnum() or c in "_-" else "_" for c in name)


def _is_count(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and int(value) >= 1


def canonical_json(value: object) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, ASCII only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(identity: Mapping[str, Any]) -> str:
    """Return SHA-256 of the canonical JSON of everything that decides a result's numbers."""
    return sha256(canonical_json(identity).encode()).hexdigest()


@runtime_checkable
class FrameSource(Protocol):
    """Labelled frames by index: a local cache, events integrated on the fly, a service, a test double."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class index of every sample, int64[N]."""

    @property
    def classes(self) -> Sequence[str]:
        """Class names; ``classes[label]`` names a label."""

    @property
    def spec(self) -> FrameSpec:
        """How the frames were made."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Array, int]: ...


class Integrator(Protocol):
    """Turns one sample's events into frames ``[T, C, H, W]``; built-ins and users' functions alike."""

    def __call__(self, events: Events, H: int, W: int, **params: Any) -> Array:
        """Return frames [T, C, H, W]."""
