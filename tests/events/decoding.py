"""What the readers' tests share: bytes in, a list of (t, x, y, p) out."""

from __future__ import annotations

import numpy as np
import pytest

from dvsprep.errors import FormatError
from dvsprep.events import READERS, Decoded, Policy

NAME = "some/user01_led.aedat"
Event = tuple[int, int, int, int]


def decode(format: str, data: bytes, sensor: tuple[int, int] = (128, 128), **policy) -> Decoded:
    """Decode a file's bytes the way `dvsprep.events.read` does."""
    return READERS[format][0](np.frombuffer(data, np.uint8), NAME, sensor, Policy(**policy))


def rows(decoded: Decoded) -> list[Event]:
    """Return the events as (t, x, y, p) in Python integers; check the promised types on the way."""
    e = decoded.events
    assert e["t"].dtype == np.int64
    assert e["p"].dtype == np.uint8
    assert e["x"].dtype in (np.uint8, np.uint16)
    return list(zip(*(e[k].tolist() for k in ("t", "x", "y", "p")), strict=True))


def check_like_twin(format: str, data: bytes, expected: list[Event], **options) -> None:
    """Check that a file decodes to the naive twin's events; a file without any is an error."""
    if expected:
        assert rows(decode(format, data, **options)) == expected
    else:
        with pytest.raises(FormatError, match="holds no events"):
            decode(format, data, **options)


def check_sound_or_refused(format: str, data: bytes, sensor: tuple[int, int]) -> None:
    """Check that bytes of any kind give events on the sensor in order of time, or an error that names the file."""
    for policy in ({}, {"salvage": True, "out_of_range": "drop", "unsorted": "sort"}):
        refusal, events = "", None
        try:
            events = decode(format, data, sensor, **policy).events
        except FormatError as error:
            refusal = str(error)
        if events is None:
            assert refusal.startswith(f"{NAME}: ")
            continue
        assert len(events["t"]) > 0
        assert (np.diff(events["t"]) >= 0).all()
        assert events["x"].max() < sensor[1]
        assert events["y"].max() < sensor[0]
        assert events["p"].max() <= 1
