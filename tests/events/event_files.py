"""Small files of every format, written from the formats' own words, and one way to read them all back."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import formats
import numpy as np
from formats import mat, npy, npz

from dvsprep.events import Decoded, Policy
from dvsprep.events.catalog import BYTES, CONTAINERS, PATHS

Event = tuple[int, int, int, int]  # t, x, y, p
EVENTS: list[Event] = [(1000, 3, 2, 1), (2000, 9, 4, 1), (2000, 0, 0, 0), (5000, 4, 9, 0), (8000, 7, 1, 1)]
SENSOR = (10, 12)  # H, W
NAME = "some/recording"


def rows(decoded: Decoded) -> list[Event]:
    """Return the events as (t, x, y, p) in Python integers; check the promised types on the way."""
    e = decoded.events
    assert e["t"].dtype == np.int64
    assert e["p"].dtype == np.uint8
    assert e["x"].dtype in (np.uint8, np.uint16)
    return list(zip(*(e[k].tolist() for k in "txyp"), strict=True))


def read(format: str, data: bytes, folder: Path, sensor: tuple[int, int] | None = SENSOR, **policy) -> Decoded:
    """Read a file's bytes with whichever kind of reader the format has."""
    if format in BYTES:
        raw = np.frombuffer(data, np.uint8)
        return BYTES[format][0](raw, NAME, sensor, Policy(**policy))
    path = folder / "recording"
    path.write_bytes(data)
    if format in PATHS:
        return PATHS[format][0](path, NAME, sensor, Policy(**policy))
    container = CONTAINERS[format][0]
    key = container.labels(path)[0][0]
    return container.read_one(path, key, NAME, container.sensor, Policy(**policy))


def as_columns(events: list[Event]) -> dict[str, np.ndarray]:
    """Return events as the writers of look-alikes take them."""
    return dict(zip("txyp", np.array(events, np.int64).reshape(-1, 4).T, strict=True))


def dat(events: list[Event], version: int = 2, header: str | None = None) -> bytes:
    x_bits, y_bits = {1: (9, 8), 2: (14, 14)}[version]
    if header is None:
        header = f"% Data file containing CD events.\n% Version {version}\n"
    words = b"".join(struct.pack("<II", t, x | y << x_bits | p << (x_bits + y_bits)) for t, x, y, p in events)
    return header.encode() + (b"\x0c\x08" if header else b"") + words


def evt2(events: list[Event], header: str = "% evt 2.0\n% geometry 12x10\n") -> bytes:
    """EVT 2: type 8 sets the time's upper 28 bits, types 0 and 1 are OFF and ON with its lower 6."""
    out = [header.encode()]
    for t, x, y, p in events:
        out.append(struct.pack("<II", 8 << 28 | t >> 6, p << 28 | (t & 63) << 22 | x << 11 | y))
    return b"".join(out)


def evt3(events: list[Event], header: str = "% evt 3.0\n% geometry 12x10\n") -> bytes:
    """EVT 3: type 8 and 6 set the time's upper and lower 12 bits, type 0 the row, type 2 is an event."""
    out = [header.encode()]
    for t, x, y, p in events:
        out.append(struct.pack("<HHHH", 8 << 12 | t >> 12 & 0xFFF, 6 << 12 | t & 0xFFF, y, 2 << 12 | p << 11 | x))
    return b"".join(out)


def es(events: list[Event], sensor: tuple[int, int] = SENSOR, kind: int = 1) -> bytes:
    """Event Stream: 7 bits of time difference and p, then x and y, rows from the bottom; 0xFF adds 127 us."""
    out, before = [b"Event Stream" + bytes([2, 0, 0, kind]) + struct.pack("<HH", sensor[1], sensor[0])], 0
    for t, x, y, p in events:
        overflows, rest = divmod(t - before, 127)
        out.append(b"\xff" * overflows + struct.pack("<BHH", rest << 1 | p, x, sensor[0] - 1 - y))
        before = t
    return b"".join(out)


def structured(events: list[Event]) -> np.ndarray:
    """Return events as aedat and faery have them."""
    made = np.zeros(len(events), [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), (("p", "on"), "?")])
    for i, (t, x, y, p) in enumerate(events):
        made[i] = (t, x, y, p)
    return made


def aedat4(packets: list[tuple[int, list[Event]]], folder: Path, streams: tuple[int, ...] = (0,), *, compress=None):
    """AEDAT 4 by faery's encoder: packets of (stream, events)."""
    from faery.extension import aedat

    def text(value):
        return aedat.DescriptionAttribute("string", value)

    def node(k):
        size = {"sizeX": aedat.DescriptionAttribute("int", 99), "sizeY": aedat.DescriptionAttribute("int", 99)}
        path = f"/mainloop/Recorder/outInfo/{k}/"
        info = aedat.DescriptionNode("info", f"{path}info/", size | {"source": text("test")}, [])
        kind = {
            "compression": text("NONE" if compress is None else compress[0].upper()),
            "originalOutputName": text("events"),
            "typeIdentifier": text("EVTS"),
        }
        return aedat.DescriptionNode(str(k), path, kind, [info])

    root = aedat.DescriptionNode("outInfo", "/mainloop/Recorder/outInfo/", {}, [node(k) for k in streams])
    path = folder / "made.aedat4"
    with aedat.Encoder(str(path), [root], compress) as encoder:
        for stream, events in packets:
            encoder.write(stream, structured(events))
    data = path.read_bytes()
    for key, size in (("sizeX", SENSOR[1]), ("sizeY", SENSOR[0])):  # the encoder refuses what lies outside its sensor
        data = data.replace(b'key="%s" type="int">99' % key.encode(), b'key="%s" type="int">%d' % (key.encode(), size))
    return data


def asl(events: list[Event]) -> bytes:
    H, W = SENSOR
    t, x, y, p = np.array(events, np.int32).reshape(-1, 4).T.reshape(4, -1, 1)
    return mat(ts=t, x=W - 1 - x, y=H - 1 - y, pol=p)


def stmnist(events: list[Event]) -> bytes:
    return formats.stmnist(as_columns(events))


def dvslip(events: list[Event]) -> bytes:
    return formats.dvslip(as_columns(events))


def columns(events: list[Event]) -> bytes:
    t, x, y, p = np.array(events, np.int64).reshape(-1, 4).T
    return npz(t=t, x=x.astype(np.uint16), y=y.astype(np.uint16), p=p.astype(bool))


def es_imagenet(events: list[Event]) -> bytes:
    """Steps are t / 1000; pos before neg within a step, so callers give events in that order."""
    return formats.es_imagenet(as_columns(events))


AER = [("timestamp", "<i8"), ("x", "<i2"), ("y", "<i2"), ("polarity", "i1"), ("_p1", "i1"), ("_p2", "<i2")]


def bullying(events: list[Event], packet: int = 2) -> bytes:
    """Packets of ``packet`` events."""
    return formats.bullying10k(as_columns(events), packet)


def gesture_ms(events: list[Event]) -> bytes:
    return npy(np.array([(x, y, p, t / 1000) for t, x, y, p in events], np.float32).reshape(-1, 4))


def text(events: list[Event]) -> bytes:
    return "".join(f"{t} {x} {y} {p}\n" for t, x, y, p in events).encode()


@dataclass(frozen=True)
class Example:
    """A format, its writer, and what it can hold."""

    format: str
    write: Callable[[list[Event], Path], bytes]
    backward: bool = True  # can hold times that run backward
    outside: bool = True  # can hold pixels outside SENSOR
    name: str = ""

    def __str__(self) -> str:
        return self.name or self.format


EXAMPLES = [
    Example("dat-v1", lambda e, _: dat(e, 1)),
    Example("dat-v2", lambda e, _: dat(e, 2)),
    Example("dat-v2", lambda e, _: dat(e, header=""), name="dat-v2-headerless"),
    Example("evt", lambda e, _: evt2(e), backward=False, name="evt2"),
    Example("evt", lambda e, _: evt3(e), backward=False, name="evt3"),
    Example("es", lambda e, _: es(e), backward=False),
    Example("aedat4", lambda e, folder: aedat4([(0, e[:2]), (0, e[2:])], folder), backward=False),
    Example("asl-mat", lambda e, _: asl(e)),
    Example("stmnist-mat", lambda e, _: stmnist(e), outside=False),
    Example("dvslip-npy", lambda e, _: dvslip(e)),
    Example("npz", lambda e, _: columns(e)),
    Example("es-imagenet-npz-ms", lambda e, _: es_imagenet(e), backward=False),
    Example("bullying10k-npy", lambda e, _: bullying(e)),
    Example("gesture-ms-npy", lambda e, _: gesture_ms(e)),
    Example("pokerdvs-npy", lambda e, _: npy(np.array(e, np.int64).reshape(-1, 4))),
    Example("text", lambda e, _: text(e)),
]


def shd(path: Path, samples: list[tuple[list[float], list[int]]], labels: list[int], chunks=None) -> Path:
    import h5py

    with h5py.File(path, "w") as file:
        times = file.create_dataset("spikes/times", (len(samples),), h5py.vlen_dtype(np.float16), chunks=chunks)
        units = file.create_dataset("spikes/units", (len(samples),), h5py.vlen_dtype(np.uint16), chunks=chunks)
        for i, (t, u) in enumerate(samples):
            times[i], units[i] = np.array(t, np.float16), np.array(u, np.uint16)
        file["labels"] = np.array(labels, np.uint16)
        file["extra/keys"] = np.array([b"zero", b"one", "fünf".encode()])
    return path


def ntidigits(path: Path, samples: dict[str, dict[str, tuple[list[float], list[int]]]]) -> Path:
    import h5py

    with h5py.File(path, "w") as file:
        for split in ("train", "test"):
            file[f"{split}_labels"] = np.array([key.encode() for key in samples[split]], "S40")
            for key, (t, channels) in samples[split].items():
                file[f"{split}_timestamps/{key}"] = np.array(t, np.float64)
                file[f"{split}_addresses/{key}"] = np.array(channels, np.int64)
    return path


def idx(images: np.ndarray, labels: list[int], folder: Path, stem: str = "train") -> Path:
    path = folder / f"{stem}-images-idx3-ubyte"
    path.write_bytes(struct.pack(">IIII", 2051, *images.shape) + images.astype(np.uint8).tobytes())
    (folder / f"{stem}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, len(labels)) + bytes(labels))
    return path
