"""ATIS 40-bit records, the format of N-MNIST and N-Caltech101 (Orchard et al. 2015, the authors' event-Python)."""

from __future__ import annotations

from dvsprep.events.reading import Decoded, Policy, columns, finish, outside, select, whole_records
from dvsprep.types import Array


def read(raw: Array, name: str, sensor: tuple[int, int], policy: Policy) -> Decoded:
    """Decode a whole file; there is no header. A record with y = 240 is a clock overflow of 2^13 us, no event."""
    from dvsprep.events import _kernels

    notes: dict[str, int] = {}
    payload = whole_records(raw, 5, 0, name, policy, notes)
    events = columns(payload.size // 5, sensor)
    drop = policy.out_of_range == "drop"
    n, status, where = _kernels.atis_decode(payload, *sensor, drop, events["t"], events["x"], events["y"], events["p"])
    if status == _kernels.OUTSIDE:
        raise outside(name, where, sensor)
    notes["dropped_outside_the_sensor"] = int(where)
    return finish(select(events, slice(n)), name, policy, notes)
