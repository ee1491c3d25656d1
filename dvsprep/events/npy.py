"""NumPy files of DVS-Lip, ES-ImageNet, HARDVS, Bullying10K, tonic's DVS128 Gesture and POKER-DVS.

Arrays are taken from the bytes after their header was checked against them; nothing is unpickled into live objects.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import numpy as np

from dvsprep.errors import FormatError
from dvsprep.events.foreign import from_arrays
from dvsprep.events.pickled import packets
from dvsprep.events.reading import Decoded, Policy
from dvsprep.types import Array

MAGIC = b"\x93NUMPY"
STEPS = 8  # of ES-ImageNet
# What zipfile raises on bytes that are no whole archive; RuntimeError: an encrypted member or an unknown compression.
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError, KeyError, struct.error)


def read_structured(raw: Array, name: str, sensor: tuple[int, int], policy: Policy) -> Decoded:
    """Decode a structured array with the fields t, x, y, p in microseconds (DVS-Lip)."""
    array = npy(raw.tobytes(), name)
    missing = [key for key in "txyp" if key not in (array.dtype.names or ())]
    if missing:
        raise FormatError(f"{name}: no field {', '.join(missing)} in {array.dtype}")
    return from_arrays({key: array[key] for key in "txyp"}, name, sensor, policy)


def read_npz(raw: Array, name: str, sensor: tuple[int, int], policy: Policy) -> Decoded:
    """Decode an archive of the arrays t, x, y, p in microseconds (HARDVS, SpikingJelly, our own convert)."""
    found = npz(raw, name, ("t", "x", "y", "p"))
    return from_arrays(found, name, sensor, policy)


def read_es_imagenet(raw: Array, name: str, sensor: tuple[int, int], policy: Policy, *, step: int = 1) -> Decoded:
    """Decode ES-ImageNet: ``pos`` and ``neg`` [N, 3] of row, column and step 1 to 8; pos is p = 1.

    So channel 1 is ON, as everywhere here; the official loader puts pos into channel 0. Within a step pos comes before
    neg, each in the file's order. No canvas is centred and nothing is cropped.

    Parameters
    ----------
    step : int
        Microseconds a step: an event of step k has t = k * step.
    """
    found = npz(raw, name, ("pos", "neg"))
    for key, array in found.items():
        if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "iu":
            raise FormatError(f"{name}: {key} is {array.dtype}{list(array.shape)}, expected whole numbers [N, 3]")
    both = np.concatenate([found["pos"], found["neg"]]).astype(np.int64)
    p = np.repeat([1, 0], [len(found["pos"]), len(found["neg"])])
    wrong = (both[:, 2] < 1) | (both[:, 2] > STEPS)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise FormatError(f"{name}: event {at} is of step {both[at, 2]}, expected 1 to {STEPS}")
    order = np.argsort(both[:, 2], kind="stable")
    y, x, k = both[order].T
    return from_arrays({"t": k * step, "x": x, "y": y, "p": p[order]}, name, sensor, policy)


def read_bullying10k(raw: Array, name: str, sensor: tuple[int, int], policy: Policy) -> Decoded:
    """Decode Bullying10K: a pickled sequence of packets, each an array of timestamp (us), x, y, polarity, two more."""
    data = raw.tobytes()
    header = _header(data, name)
    if header[0] != np.dtype(object):
        raise FormatError(f"{name}: an array of {header[0]}, expected one of objects")
    return from_arrays(packets(data[header[3] :], name, header[3]), name, sensor, policy)


def read_gesture_ms(raw: Array, name: str, sensor: tuple[int, int], policy: Policy) -> Decoded:
    """Decode tonic's mirror of DVS128 Gesture: [N, 4] of x, y, p and t in milliseconds."""
    x, y, p, t = _four(raw, name).T
    with np.errstate(over="ignore"):
        return from_arrays({"t": np.rint(t.astype(np.float64) * 1000), "x": x, "y": y, "p": p}, name, sensor, policy)


def read_poker(raw: Array, name: str, sensor: tuple[int, int], policy: Policy) -> Decoded:
    """Decode tonic's POKER-DVS: [N, 4] of t (us), x, y, p."""
    t, x, y, p = _four(raw, name).T
    return from_arrays({"t": t, "x": x, "y": y, "p": p}, name, sensor, policy)


def _four(raw: Array, name: str) -> Array:
    array = npy(raw.tobytes(), name)
    if array.ndim != 2 or array.shape[1] != 4 or array.dtype.kind not in "biuf":
        raise FormatError(f"{name}: {array.dtype}{list(array.shape)}, expected numbers [N, 4]")
    return array


def npz(raw: Array, name: str, wanted: tuple[str, ...]) -> dict[str, Array]:
    """Return the arrays ``wanted`` of an npz archive."""
    if raw.size == 0:
        raise FormatError(f"{name}: the file is empty")
    missing = [key for key in wanted if key not in members(raw, name)]
    if missing:
        raise FormatError(
            f"{name}: no array {', '.join(missing)}; found {', '.join(members(raw, name))[:100] or 'none'}"
        )
    try:
        with zipfile.ZipFile(io.BytesIO(raw.tobytes())) as archive:
            data = {key: archive.read(f"{key}.npy") for key in wanted}
    except DAMAGED as error:
        raise FormatError(f"{name}: a damaged npz archive: {error or type(error).__name__}") from None
    return {key: npy(value, f"{name}: {key}") for key, value in data.items()}


def members(raw: Array, name: str) -> list[str]:
    """Return the names of an npz archive's arrays."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw.tobytes())) as archive:
            return [member.removesuffix(".npy") for member in archive.namelist() if member.endswith(".npy")]
    except DAMAGED as error:
        raise FormatError(f"{name}: a damaged zip archive: {error or type(error).__name__}") from None


def npy(data: bytes, name: str) -> Array:
    """Return the array of an .npy file, a view into its bytes."""
    dtype, shape, fortran, start = _header(data, name)
    if dtype.hasobject:
        raise FormatError(f"{name}: an array of Python objects, expected numbers")
    count = int(np.prod(shape, dtype=object))
    size = len(data) - start
    if count * dtype.itemsize != size:
        raise FormatError(
            f"{name}: {'truncated' if size < count * dtype.itemsize else 'too long'}: {size} bytes from byte {start}, "
            f"expected {count * dtype.itemsize}"
        )
    if dtype.itemsize == 0:
        raise FormatError(f"{name}: an array of {dtype}, expected numbers")
    flat = np.frombuffer(data, dtype, count, start)
    return flat.reshape(shape, order="F" if fortran else "C")


def header_dtype(raw: Array, name: str) -> np.dtype[np.void]:
    """Return the dtype that an .npy file's header states."""
    return _header(raw[: 1 << 16].tobytes(), name)[0]


def _header(data: bytes, name: str) -> tuple[np.dtype[np.void], tuple[int, ...], bool, int]:
    """Return dtype, shape, Fortran order, and the byte where the data start."""
    if not data:
        raise FormatError(f"{name}: the file is empty")
    if not data.startswith(MAGIC):
        raise FormatError(f"{name}: no NumPy array: starts with {data[:8]!r}, expected {MAGIC!r}")
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, fortran, dtype = read(file)
    except Exception as error:  # noqa: BLE001 - the header is a Python literal: parsing it fails in many ways
        raise FormatError(f"{name}: a damaged NumPy header: {' '.join(str(error).split())[:120]}") from None
    if any(length < 0 for length in shape) or len(shape) > 32:
        raise FormatError(f"{name}: a damaged NumPy header: shape {str(shape)[:80]}")
    return dtype, shape, bool(fortran), file.tell()
