"""Writers of the formats the readers read: for golden bytes, look-alikes of archives, and broken files."""

from __future__ import annotations

import gzip
import io
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
    folder: Path,
    trials: dict[str, list[str]],
    *,
    events_a_row: int = 300,
    rows: int = 12,
    seed: int = 0,
    start: int = 0,
    packet: int = 1000,
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
            (root / f"{name}.aedat").write_bytes(aedat31(joined, packet))
            (root / f"{name}_labels.csv").write_text("\n".join(lines) + "\n")
    return root


def aedat2_fields(e: dict[str, np.ndarray]) -> bytes:
    """Return an AEDAT 2.0 file as jAER writes a DVS128's: x and y are the fields of the address word, 0 is ON."""
    address = (e["y"] << 8) | (e["x"] << 1) | (1 - e["p"])
    return AEDAT2_HEADER + np.stack([address, e["t"]], axis=1).astype(">u4").tobytes()


def dat(e: dict[str, np.ndarray], version: int) -> bytes:
    """Return a DAT file: 9 and 8 bits for x and y in version 1, 14 and 14 in version 2."""
    x_bits, y_bits = {1: (9, 8), 2: (14, 14)}[version]
    address = e["x"] | e["y"] << x_bits | e["p"] << (x_bits + y_bits)
    head = f"% Data file containing CD events.\n% Version {version}\n% Date 2016-1-1 12:00:00\n".encode()
    return head + b"\x00\x08" + np.stack([e["t"], address], axis=1).astype("<u4").tobytes()


def mat(*, pack: bool = False, **variables: np.ndarray) -> bytes:
    """Return a MATLAB file, as scipy writes it."""
    from scipy.io import savemat

    file = io.BytesIO()
    savemat(file, variables, do_compression=pack)
    return file.getvalue()


def asldvs(e: dict[str, np.ndarray]) -> bytes:
    """Return columns ts, x, y, pol [N, 1]."""
    columns = {key: e[name].reshape(-1, 1) for key, name in (("ts", "t"), ("x", "x"), ("y", "y"), ("pol", "p"))}
    return mat(pack=True, **{key: value.astype(np.int32) for key, value in columns.items()})


def stmnist(e: dict[str, np.ndarray]) -> bytes:
    """Return spiketrain [101, N]: one column an event, -1 is OFF, the last row seconds."""
    train, n = np.zeros((101, len(e["t"]))), np.arange(len(e["t"]))
    train[10 * e["y"] + e["x"], n] = np.where(e["p"], 1, -1)
    train[100] = e["t"] / 1e6
    return mat(spiketrain=train)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=array.dtype.hasobject)
    return file.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def records(e: dict[str, np.ndarray], fields: dict[str, tuple[str, str]]) -> np.ndarray:
    """Return a structured array: field name to (column, type)."""
    array = np.zeros(len(e["t"]), [(name, kind) for name, (_, kind) in fields.items()])
    for name, (column, _) in fields.items():
        array[name] = e.get(column, 0)
    return array


def dvslip(e: dict[str, np.ndarray]) -> bytes:
    return npy(records(e, {"t": ("t", "<i4"), "x": ("x", "i1"), "y": ("y", "i1"), "p": ("p", "i1")}))


def bullying10k(e: dict[str, np.ndarray], packet: int = 10) -> bytes:
    """Return an array of objects: packets of records, as dv's numpy events have them."""
    fields = {"timestamp": ("t", "<i8"), "x": ("x", "<i2"), "y": ("y", "<i2"), "polarity": ("p", "i1")}
    array = records(e, fields | {"_p1": ("", "i1"), "_p2": ("", "<i2")})
    parts = [array[at : at + packet] for at in range(0, len(array), packet)]
    sequence = np.empty(len(parts), object)
    sequence[:] = parts
    return npy(sequence)


def es_imagenet(e: dict[str, np.ndarray]) -> bytes:
    """Return pos and neg [N, 3] of row, column and step 1 to 8; times are 1,000 us a step."""
    both = np.stack([e["y"], e["x"], e["t"] // 1000], axis=1).astype(np.uint8)
    return npz(pos=both[e["p"] == 1], neg=both[e["p"] == 0])


def spikes_h5(samples: list[dict[str, np.ndarray]], labels: list[int], names: list[str]) -> bytes:
    """Return an SHD or SSC file: half precision seconds and channels of varying length, labels, extra/keys."""
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        times = file.create_dataset("spikes/times", (len(samples),), h5py.vlen_dtype(np.float16))
        units = file.create_dataset("spikes/units", (len(samples),), h5py.vlen_dtype(np.uint16))
        for i, e in enumerate(samples):
            times[i], units[i] = (e["ticks"] / 1024).astype(np.float16), e["x"].astype(np.uint16)
        file["labels"] = np.array(labels, np.uint16)
        file["extra/keys"] = np.array([name.encode() for name in names])
        file["extra/speaker"] = np.zeros(len(samples), np.uint16)
    return buffer.getvalue()


def ntidigits_h5(splits: dict[str, dict[str, dict[str, np.ndarray]]]) -> bytes:
    """Return an N-TIDIGITS18 file: split to sample id to events."""
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for split, samples in splits.items():
            file[f"{split}_labels"] = np.array([id.encode() for id in samples])
            for id, e in samples.items():
                file[f"{split}_timestamps/{id}"] = e["ticks"] / 1024
                file[f"{split}_addresses/{id}"] = e["x"].astype(np.uint8)
    return buffer.getvalue()


def idx(array: np.ndarray) -> bytes:
    """Return a gzipped IDX file of bytes."""
    head = struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape)
    return gzip.compress(head + array.astype(np.uint8).tobytes(), mtime=0)
