"""Which format a file has: told from its first bytes, never from its name alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dvsprep.errors import FormatError
from dvsprep.events import aedat4, dat, es, evt, idx, mat, npy, spikes, text, vetting
from dvsprep.events.prophesee import LIMIT, header
from dvsprep.events.reading import load

SUPPORTED = (
    "AEDAT 2.0, 3.1 and 4.0, DAT, EVT 2 and 3, Event Stream, ATIS .bin, MATLAB, npy, npz, HDF5 spikes, IDX, text"
)
TITLES = {
    "aedat2-dvs128": "AEDAT 2.0",
    "aedat3.1": "AEDAT 3.1",
    "aedat4": "AEDAT 4.0",
    "asl-mat": "MATLAB events of ASL-DVS",
    "atis": "ATIS 40-bit records",
    "bullying10k-npy": "a NumPy array of packets",
    "dat": "Prophesee DAT",
    "gesture-ms-npy": "a NumPy array of x, y, p, t (ms)",
    "dvslip-npy": "a structured NumPy array",
    "es": "an Event Stream",
    "es-imagenet-npz": "ES-ImageNet arrays pos and neg",
    "evt": "Prophesee EVT",
    "npz": "NumPy arrays t, x, y, p",
    "ntidigits-h5": "N-TIDIGITS18 in HDF5",
    "pokerdvs-npy": "a NumPy array of t, x, y, p",
    "spikes-h5": "SHD or SSC in HDF5",
    "smnist-idx": "IDX images",
    "stmnist-mat": "MATLAB taxels of ST-MNIST",
    "text": "plain text",
}
# What a dataset may call a format, and what a file of it is told to be.
VARIANTS = {
    "aedat2-jaer": "aedat2-dvs128",
    "dat-v1": "dat",
    "dat-v2": "dat",
    "es-imagenet-npz-ms": "es-imagenet-npz",
    "hardvs-npz": "npz",
    "navgesture-dat": "dat",
}
# Suffixes that promise a format; a file of another one under such a name is worth a word.
SUFFIXES = {
    ".aedat": ("aedat2-dvs128", "aedat3.1", "aedat4"),
    ".aedat4": ("aedat4",),
    ".bin": ("atis",),
    ".csv": ("text",),
    ".dat": ("dat",),
    ".es": ("es",),
    ".h5": ("spikes-h5", "ntidigits-h5"),
    ".hdf5": ("spikes-h5", "ntidigits-h5"),
    ".mat": ("asl-mat", "stmnist-mat"),
    ".npy": ("dvslip-npy", "bullying10k-npy", "gesture-ms-npy", "pokerdvs-npy"),
    ".npz": ("npz", "es-imagenet-npz"),
    ".raw": ("evt",),
    ".txt": ("text",),
}
# First bytes of files that are known but not read: (bytes, what it is, what to do).
REFUSED = (
    (b"#ROSBAG V", "a ROS bag", "export its events first, for example to text or npz"),
    (b"\x89PNG", "a PNG picture", "frames are no events"),
    (b"\xff\xd8\xff", "a JPEG picture", "frames are no events"),
    (b"Rar!", "a RAR archive", "extract it first"),
    (b"7z\xbc\xaf", "a 7z archive", "extract it first"),
    (b"BZh", "a bzip2 file", "extract it first"),
    (b"\xfd7zXZ", "an xz file", "extract it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd file", "extract it first"),
    (b"<!DOCTYPE", "a web page", "the download failed; fetch the file again"),
    (b"<html", "a web page", "the download failed; fetch the file again"),
    (b"#!AER-DAT1", "AEDAT 1.0", "jAER converts it to AEDAT 2.0"),
    (b"#!AER-DAT3.0", "AEDAT 3.0", "jAER or cAER convert it to AEDAT 3.1 (its rows count from the bottom)"),
)


def detect(path: Path) -> str:
    """Return the name of a file's format.

    Raises
    ------
    FormatError
        An empty, unknown or unsupported file; the message says what its first bytes are.
    """
    name = str(path)
    with path.open("rb") as file:
        first = file.read(LIMIT)
    if not first:
        raise FormatError(f"{name}: the file is empty")
    for magic, what, hint in REFUSED:
        if first[: len(magic)].lower() == magic.lower():
            raise FormatError(f"{name}: {what}, which is not read here", hint=hint)
    for magic, format in (
        (b"#!AER-DAT2.", "aedat2-dvs128"),
        (b"#!AER-DAT3.", "aedat3.1"),
        (aedat4.VERSION[:11], "aedat4"),
        (es.MAGIC, "es"),
    ):
        if first.startswith(magic):
            return format
    if first.startswith(npy.MAGIC):
        return _npy(path)
    if first.startswith(b"PK"):
        return _zip(path)
    if first.startswith(b"MATLAB"):
        return _mat(path)
    if first.startswith(spikes.MAGIC):
        found = vetting.layout(path)
        if found is None:
            raise FormatError(f"{name}: HDF5 of an unknown layout", hint="SHD, SSC and N-TIDIGITS18 are read here")
        return found
    if first.startswith(b"\x1f\x8b"):
        return _gzip(path)
    if first[:4] == idx.IMAGES.to_bytes(4, "big"):
        return "smnist-idx"
    if first.startswith(b"%"):
        return _percent(first, name)
    if _is_text(first):
        return "text"
    return _headerless(path, first)


def say_suffix(path: Path, format: str) -> str | None:
    """Return a sentence if the suffix promises another format than the file has, else None."""
    promised = SUFFIXES.get(path.suffix.lower())
    if promised is None or _plain(format) in promised:
        return None
    return f"{path.name}: named {path.suffix}, but holds {_title(path, format)}"


def _plain(format: str) -> str:
    """Return the format that detect() would name for a dataset's own variant."""
    return VARIANTS.get(format, format)


def _title(path: Path, format: str) -> str:
    title = TITLES.get(_plain(format), format)
    if format == "evt":
        with path.open("rb") as file:
            title = f"{title} {evt.stated_version(header(file.read(LIMIT), str(path)))}"
    return title


def _percent(first: bytes, name: str) -> str:
    """Tell EVT, whose header states its version, from DAT."""
    head = header(first, name)
    if evt.stated_version(head) is not None:
        return "evt"
    behind = first[head.length : head.length + 2]
    if head.length and len(behind) == 2 and behind[1] == dat.RECORD:
        return "dat"
    raise FormatError(f"{name}: header lines as of Prophesee, but neither an EVT version nor DAT events of 8 bytes")


def _npy(path: Path) -> str:
    raw, name = load(path), str(path)
    dtype = npy.header_dtype(raw, name)
    if dtype.hasobject:
        return "bullying10k-npy"
    if dtype.names:
        return "dvslip-npy"
    found = npy.npy(raw.tobytes(), name)
    if found.ndim == 2 and found.shape[1] == 4 and len(found):
        orders = {"gesture-ms-npy": (2, 3), "pokerdvs-npy": (3, 0)}  # columns of p and t
        fits = [
            key
            for key, (p, t) in orders.items()
            if np.isin(found[:, p], (0, 1)).all() and (np.diff(found[:, t].astype(np.float64)) >= 0).all()
        ]
        if len(fits) == 1:
            return fits[0]
    raise FormatError(
        f"{name}: a NumPy array of {found.dtype}{list(found.shape)}, which could mean anything",
        hint="name the format: gesture-ms-npy is x y p t(ms), pokerdvs-npy is t x y p",
    )


def _zip(path: Path) -> str:
    names = set(npy.members(load(path), str(path)))
    if names >= {"t", "x", "y", "p"}:
        return "npz"
    if names >= {"pos", "neg"}:
        return "es-imagenet-npz"
    raise FormatError(
        f"{path}: a zip archive without arrays t, x, y, p or pos, neg", hint="extract it first if it is an archive"
    )


def _mat(path: Path) -> str:
    raw, name = load(path), str(path)
    keys = mat.keys(raw, name)
    if "spiketrain" in keys:
        return "stmnist-mat"
    if {"ts", "x", "y", "pol"} <= set(keys):
        return "asl-mat"
    raise FormatError(
        f"{name}: MATLAB variables {', '.join(keys)[:100] or '(none)'}; expected ts, x, y, pol or spiketrain"
    )


def _gzip(path: Path) -> str:
    try:
        idx.read(path, idx.IMAGES)
    except FormatError:
        raise FormatError(f"{path}: a gzip file, which is not read here", hint="extract it first") from None
    return "smnist-idx"


def _is_text(first: bytes) -> bool:
    try:
        lines = first.decode("utf-8-sig", "strict" if len(first) < LIMIT else "ignore").splitlines()
    except UnicodeDecodeError:
        return False
    rows = [line.replace(",", " ").split() for line in lines[:20] if line.strip() and not line.startswith("#")]
    if not rows or any(len(row) < 4 for row in rows[: -1 if len(rows) > 1 else None]):
        return False
    named = {field.lower() for field in rows[0]}
    return bool(named & set(text.NAMES["x"])) or all(_number(field) for field in rows[0])


def _number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _headerless(path: Path, first: bytes) -> str:
    """Guess by suffix and size: these two formats have nothing at their start that could tell."""
    size, suffix = path.stat().st_size, path.suffix.lower()
    if suffix == ".bin" and size % 5 == 0:
        return "atis"
    if suffix == ".dat" and size % dat.RECORD == 0:
        return "dat"
    shown = first[:16].decode("latin-1")
    shown = repr(shown) if shown.isprintable() else first[:16].hex(" ")
    why = ""
    if suffix in (".bin", ".dat"):
        why = f"; a headerless {suffix} has records of {5 if suffix == '.bin' else 8} bytes, this file has {size} bytes"
    raise FormatError(f"{path}: an unknown format: it starts with {shown}{why}", hint=f"read here: {SUPPORTED}")
