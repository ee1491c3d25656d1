"""The kernel that turns stored differences into times, against its slow twin."""

from __future__ import annotations

import naive
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dvsprep.cache import _kernels


@settings(deadline=None, max_examples=60)
@given(
    size=st.sampled_from([2, 4, 8]),
    steps=st.lists(st.integers(0, 2**16 - 1), max_size=40),
    padding=st.integers(0, 5),
    start=st.integers(0, 2**40),
)
def test_times_are_the_running_sum_of_shuffled_differences(size, steps, padding, start):
    chunk = np.zeros(len(steps) + padding, f"<u{size}")
    chunk[: len(steps)] = steps
    planes = chunk.view(np.uint8).reshape(-1, size).T.copy().reshape(-1)
    planes.flags.writeable = False
    out = np.zeros(len(steps), np.int64)
    last = _kernels.add_times(planes, size, np.int64(start), out)
    assert out.tolist() == naive.times(planes.tobytes(), size, start, len(steps))
    assert last == (out[-1] if steps else start)
