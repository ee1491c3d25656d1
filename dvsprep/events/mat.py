"""MATLAB files of events: ASL-DVS and ST-MNIST."""

from __future__ import annotations

import numpy as np

from dvsprep.errors import FormatError
from dvsprep.events.foreign import from_arrays
from dvsprep.events.matlab import variables
from dvsprep.events.reading import Decoded, Policy
from dvsprep.types import Array

TAXELS = 10  # a side


def read_asldvs(raw: Array, name: str, sensor: tuple[int, int], policy: Policy) -> Decoded:
    """Decode ASL-DVS in SpikingJelly's orientation: x = W - 1 - x, y = H - 1 - y.

    tonic turns y only, so its pictures are these mirrored. Which hand is the true one is not known; a network
    transfers only between sets of the same convention.
    """
    t, x, y, p = (column.reshape(-1) for column in _load(raw, name, ("ts", "x", "y", "pol")))
    H, W = sensor
    return from_arrays(
        {"t": t, "x": W - 1 - x.astype(np.float64), "y": H - 1 - y.astype(np.float64), "p": p}, name, sensor, policy
    )


def read_stmnist(raw: Array, name: str, sensor: tuple[int, int], policy: Policy) -> Decoded:
    """Decode ST-MNIST: 100 taxels with -1, 0 or 1 a time point, and the times in seconds.

    Taxel a is x = a % 10, y = a // 10; times are cut to whole microseconds; of one time point, taxels are in order.
    """
    (train,) = _load(raw, name, ("spiketrain",))
    if train.ndim != 2 or train.shape[0] != TAXELS**2 + 1:
        raise FormatError(f"{name}: spiketrain is {train.dtype}{list(train.shape)}, expected numbers [101, N]")
    values = train[:-1]
    with np.errstate(over="ignore"):
        times = train[-1].astype(np.float64) * 1e6
    point, taxel = np.nonzero(values.T)
    fields = {"t": times[point], "x": taxel % TAXELS, "y": taxel // TAXELS, "p": values[taxel, point]}
    return from_arrays(fields, name, sensor, policy)


def keys(raw: Array, name: str) -> list[str]:
    """Return the names of a MATLAB file's variables."""
    return list(variables(raw, name))


def _load(raw: Array, name: str, wanted: tuple[str, ...]) -> list[Array]:
    """Return the real numeric matrices ``wanted``."""
    found = variables(raw, name)
    missing = [key for key in wanted if found.get(key) is None]
    if missing:
        others = ", ".join(found)[:100] or "none"
        raise FormatError(f"{name}: no numeric variable {', '.join(missing)}; found {others}")
    return [np.asarray(found[key]) for key in wanted]
