"""Writers of the formats the readers read: for golden bytes, look-alikes of archives, and broken files."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

AEDAT31_HEADER = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n"
AEDAT2_HEADER = b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n# Timestamps tick is 1 us\r\n"


def events(n: int, H: int, W: int, *, seed: int = 0, start: int = 0, step: int = 50) -> dict[str, np.ndarray]:
    """Return n random events in order."""
    rng = np.random.default_rng(seed)
    t = start + np.cumsum(rng.integers(0, step, n)) if n else np.zeros(0, np.int64)
    return {
        "t": t.astype(np.int64),
        "x": rng.integers(0, W, n),
        "y": rng.integers(0, H, n),
        "p": rng.integers(0, 2, n),
    }


def aedat31_packet(e: dict[str, np.ndarray], valid: np.ndarray | None = None) -> bytes:
    """Return one polarity packet; all its events share one overflow count."""
    n = len(e["t"])
    valid = np.ones(n, np.uint32) if valid is None else valid.astype(np.uint32)
    t = np.asarray(e["t"], np.int64)
    overflow = int(t[0] >> 31) if n else 0
    assert (t >> 31 == overflow).all()
    data = (e["x"].astype(np.uint32) << 17) | (e["y"].astype(np.uint32) << 2) | (e["p"].astype(np.uint32) << 1) | valid
    words = np.stack([data, (t & 0x7FFFFFFF).astype(np.uint32)], axis=1).astype("<u4")
    return struct.pack("<hhiiiiii", 1, 1, 8, 4, overflow, n, n, int(valid.sum())) + words.tobytes()


def aedat31_other(kind: int, size: int, number: int) -> bytes:
    """Return a packet of another type, filled with 0xFF."""
    return struct.pack("<hhiiiiii", kind, 1, size, 4, 0, number, number, number) + b"\xff" * (size * number)


def aedat31(e: dict[str, np.ndarray], packet: int = 1000) -> bytes:
    """Return a whole AEDAT 3.1 file; packets never cross a timestamp overflow."""
    out, at, n = [AEDAT31_HEADER], 0, len(e["t"])
    while at < n:
        end = min(n, at + packet)
        while e["t"][end - 1] >> 31 != e["t"][at] >> 31:
            end -= 1
        out.append(aedat31_packet({k: v[at:end] for k, v in e.items()}))
        at = end
    return b"".join(out)


def aedat2(e: dict[str, np.ndarray]) -> bytes:
    """Return an AEDAT 2.0 file that SpikingJelly's orientation reads as these events."""
    address = ((127 - e["x"]) << 8) | ((127 - e["y"]) << 1) | (1 - e["p"])
    words = np.stack([address, e["t"]], axis=1).astype(">u4")
    return AEDAT2_HEADER + words.tobytes()


def atis(e: dict[str, np.ndarray]) -> bytes:
    """Return ATIS 40-bit records."""
    word = (e["x"] << 32) | (e["y"] << 24) | (e["p"] << 23) | e["t"]
    return b"".join(int(w).to_bytes(5, "big") for w in word)


def dvs_gesture(
    folder: Path, trials: dict[str, list[str]], *, events_a_row: int = 300, rows: int = 12, seed: int = 0, start: int = 0
) -> Path:
    """Write the folder ``DvsGesture`` of a small look-alike archive; return it. Rows are 100 ms apart."""
    root = folder / "DvsGesture"
    root.mkdir(parents=True)
    for split, names in trials.items():
        (root / f"trials_to_{split}.txt").write_text("".join(f"{name}.aedat\n" for name in names))
        for k, name in enumerate(names):
            parts, lines = [], ["class,startTime_usec,endTime_usec"]
            for row in range(rows):
                begin = start + 1_000_000 + row * 100_000
                e = events(events_a_row, 128, 128, seed=seed + 1000 * k + row, start=begin, step=100)
                parts.append(e)
                label = [1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 10, 11][row % 12]
                lines.append(f"{label},{begin},{begin + 90_000}")
            joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
            (root / f"{name}.aedat").write_bytes(aedat31(joined))
            (root / f"{name}_labels.csv").write_text("\n".join(lines) + "\n")
    return root
