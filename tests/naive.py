"""Slow, obvious twins of every kernel: one event at a time, in the words of the format or the formula."""

from __future__ import annotations

import struct

import numpy as np


def aedat31(body: bytes) -> list[tuple[int, int, int, int]]:
    """Return (t, x, y, p) of every valid polarity event behind the header of an AEDAT 3.1 file."""
    events, at = [], 0
    while at < len(body):
        kind, _, size, _, overflow, _, number, _ = struct.unpack_from("<hhiiiiii", body, at)
        at += 28
        for k in range(number):
            if kind == 1:
                data, time = struct.unpack_from("<II", body, at + k * size)
                if data & 1:
                    events.append(((overflow << 31) + time, data >> 17, data >> 2 & 0x7FFF, data >> 1 & 1))
        at += number * size
    return events


def aedat2(payload: bytes) -> list[tuple[int, int, int, int]]:
    """Return (t, x, y, p) of DVS128 words in SpikingJelly's orientation, backward clocks repaired."""
    events, shift, previous = [], 0, -1
    for at in range(0, len(payload), 8):
        address, time = struct.unpack_from(">II", payload, at)
        if address & 0x8000:
            continue
        if time < previous:
            shift += previous
        previous = time
        x_field, y_field = address >> 1 & 0x7F, address >> 8 & 0x7F
        events.append((time + shift, 127 - y_field, 127 - x_field, 1 - (address & 1)))
    return events


def atis(payload: bytes) -> list[tuple[int, int, int, int]]:
    """Return (t, x, y, p) of ATIS 40-bit records; y = 240 is an overflow of 8192 us."""
    events, shift = [], 0
    for at in range(0, len(payload), 5):
        word = int.from_bytes(payload[at : at + 5], "big")
        x, y, p, t = word >> 32, word >> 24 & 0xFF, word >> 23 & 1, word & 0x7FFFFF
        if y == 240:
            shift += 8192
        else:
            events.append((t + shift, x, y, p))
    return events


def frames(events: dict[str, np.ndarray], segments: list[list[int]], H: int, W: int) -> np.ndarray:
    """Count each segment's events, given as lists of their positions, one at a time."""
    out = np.zeros((len(segments), 2, H, W), np.int64)
    for k, segment in enumerate(segments):
        for i in segment:
            out[k, int(events["p"][i]), int(events["y"][i]), int(events["x"][i])] += 1
    return out


def by_number(t: np.ndarray, T: int) -> list[list[int]]:
    """Return the positions of each frame's events: N // T each, the last takes the rest."""
    d = len(t) // T
    return [list(range(k * d, (k + 1) * d if k < T - 1 else len(t))) for k in range(T)]


def by_time(t: np.ndarray, T: int) -> list[list[int]]:
    """Return the positions of each frame's events: windows of (t[-1] - t[0]) // T, the last takes the rest."""
    segments: list[list[int]] = [[] for _ in range(T)]
    if len(t):
        dt = (int(t[-1]) - int(t[0])) // T
        for i, now in enumerate(t):
            segments[T - 1 if dt == 0 else min(T - 1, (int(now) - int(t[0])) // dt)].append(i)
    return segments


def by_duration(t: np.ndarray, duration: int, tail: str) -> list[list[int]]:
    """Return the positions of each frame's events: windows of ``duration``."""
    lasts = int(t[-1]) - int(t[0]) if len(t) else 0
    whole, rest = divmod(lasts, duration)
    F = whole if tail == "drop" else max(1, whole + (rest > 0))
    segments: list[list[int]] = [[] for _ in range(F)]
    for i, now in enumerate(t):
        k = (int(now) - int(t[0])) // duration
        if tail == "keep":
            segments[min(k, F - 1)].append(i)
        elif k < F:
            segments[k].append(i)
    return segments


def times(planes: bytes, size: int, start: int, n: int) -> list[int]:
    """Return the running sum of n differences of ``size`` bytes each, laid out in byte planes."""
    chunk, out, now = len(planes) // size, [], start
    for j in range(n):
        now += int.from_bytes(bytes(planes[b * chunk + j] for b in range(size)), "little")
        out.append(now)
    return out


def bits(values: list[int], width: int) -> bytes:
    """Return whole numbers of ``width`` bits one behind the other, the highest bit first, filled up with zeros."""
    text = "".join(format(value, f"0{width}b") for value in values)
    text += "0" * (-len(text) % 8)
    return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))


def first_from(times: list[int], wanted: int) -> int:
    """Return the position of the first time that is not before ``wanted``, or how many there are."""
    return next((i for i, t in enumerate(times) if t >= wanted), len(times))
