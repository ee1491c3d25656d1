"""Arrays out of a pickle without running it: every class in it is replaced by one of three records defined here.

``numpy.load(allow_pickle=True)`` executes whatever the file says. Here a global that is not NumPy's array, dtype or
reconstruct is an error, and even those never reach NumPy: their state is written down, checked, and arrays are built
from the bytes.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

from dvsprep.errors import FormatError
from dvsprep.types import Array

FIELDS = {"t": ("timestamp", "t", "ts"), "x": ("x",), "y": ("y",), "p": ("polarity", "p", "pol")}
POSITION = {"t": 0, "x": 1, "y": 2, "p": 3}  # of a record without names


def packets(data: bytes, name: str, start: int) -> dict[str, Array]:
    """Return columns t, x, y, p of a pickled sequence of packets.

    Parameters
    ----------
    data : bytes
        The pickle.
    start : int
        Its byte in the file, for errors.
    """
    reader = _Reader(io.BytesIO(data))
    try:
        root = reader.load()
        parts = [part for part in map(_packet, _items(root)) if len(part["t"])]
    except FormatError as error:
        raise FormatError(f"{name}: {error.message}", hint=error.hint) from None
    except Exception as error:  # noqa: BLE001 - a damaged pickle fails in as many ways as there are operations
        what = " ".join(str(error).split())[:120] or type(error).__name__
        raise FormatError(f"{name}: the pickle at byte {start} is damaged or no sequence of packets: {what}") from None
    if not parts:
        return {key: np.zeros(0, np.int64) for key in FIELDS}
    return {key: np.concatenate([part[key] for part in parts]) for key in FIELDS}


def _items(root: object) -> list[Any]:
    if isinstance(root, _ArrayState):
        root = root.objects()
    if not isinstance(root, (list, tuple)):
        raise FormatError(f"holds a {type(root).__name__}, expected a sequence of packets")
    return list(root)


def _packet(part: object) -> dict[str, Array]:
    """Return one packet's columns; it is an array of records, or a sequence of tuples."""
    if isinstance(part, _ArrayState) and not part.of_objects:
        array = part.build()
        names = array.dtype.names
        if names:
            found = {key: next(n for n in FIELDS[key] if n in names) for key in FIELDS}
            return {key: array[found[key]].reshape(-1) for key in FIELDS}
        if array.ndim != 2 or array.shape[1] < 4:
            raise FormatError(f"holds a packet of {array.dtype}{list(array.shape)}, expected records")
        return {key: array[:, POSITION[key]] for key in FIELDS}
    rows = [tuple(row.objects()) if isinstance(row, _ArrayState) else row for row in _items(part)]
    if any(not isinstance(row, (tuple, list)) or len(row) < 4 for row in rows):
        raise FormatError("holds a packet whose events are no records of four and more values")
    if any(type(value) not in (int, bool, float) for row in rows for value in row[:4]):
        raise FormatError("holds an event with a value that is no number")
    return {key: np.array([row[POSITION[key]] for row in rows], np.int64) for key in FIELDS}


class _DtypeState:
    """What ``numpy.dtype`` is told in a pickle."""

    def __init__(self, code: object, *_: object) -> None:
        self.code = str(code)
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def build(self) -> np.dtype[Any]:
        """Return the dtype, made by NumPy's own checked constructor."""
        names, fields, size = self.state[3:6] if len(self.state) > 5 else (None, None, -1)
        if not names:
            order = self.state[1] if len(self.state) > 1 else "|"
            return np.dtype(self.code).newbyteorder(">" if order == ">" else "<")
        formats = [fields[n][0].build() for n in names]
        return np.dtype(
            {"names": list(names), "formats": formats, "offsets": [fields[n][1] for n in names], "itemsize": size}
        )


class _ArrayState:
    """What an array is told in a pickle: version, shape, dtype, Fortran order, and bytes or a list of objects."""

    def __init__(self) -> None:
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    @property
    def of_objects(self) -> bool:
        return isinstance(self.state[-1], list)

    def objects(self) -> list[Any]:
        """Return the elements of an array of objects, or its rows as Python values."""
        return list(self.state[-1]) if self.of_objects else list(self.build().tolist())

    def build(self) -> Array:
        """Return the array; its bytes must be as many as shape and dtype ask for."""
        _, shape, dtype, fortran, data = self.state
        kind = dtype.build()
        if kind.hasobject or not isinstance(data, (bytes, bytearray)):
            raise FormatError("holds an array of objects where numbers are expected")
        return np.frombuffer(data, kind).reshape(shape, order="F" if fortran else "C")


def _reconstruct(*_: object) -> _ArrayState:
    return _ArrayState()


def _scalar(dtype: _DtypeState, data: bytes) -> object:
    return np.frombuffer(data, dtype.build(), 1)[0].item()


def _frombuffer(data: Any, dtype: _DtypeState, shape: Any, order: str) -> _ArrayState:
    made = _ArrayState()
    made.state = (1, shape, dtype, order == "F", bytes(data))
    return made


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":  # what Python 3 writes for bytes in protocols 0 to 2
        raise FormatError(f"names the encoding {encoding[:20]!r} in its pickle")
    return text.encode(encoding)


def _no_bytes(*content: object) -> bytes:
    if content:
        raise FormatError("builds bytes out of something else in its pickle")
    return b""  # as protocol 2 writes them


_KNOWN: dict[tuple[str, str], Any] = {("numpy", "dtype"): _DtypeState, ("numpy", "ndarray"): object()}
_KNOWN[("_codecs", "encode")] = _encode
_KNOWN[("__builtin__", "bytes")] = _no_bytes
for _core in ("numpy.core", "numpy._core"):
    _KNOWN[(f"{_core}.multiarray", "_reconstruct")] = _reconstruct
    _KNOWN[(f"{_core}.multiarray", "scalar")] = _scalar
    _KNOWN[(f"{_core}.numeric", "_frombuffer")] = _frombuffer


class _Reader(pickle._Unpickler):  # type: ignore[misc,name-defined,unused-ignore]
    """The unpickler written in Python: the one in C lets a damaged file ask for any amount of memory."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the record that stands for a class of NumPy; refuse every other name."""
        found = _KNOWN.get((module, name))
        if found is None:
            raise FormatError(
                f"wants {module}.{name} from its pickle, which is refused",
                hint="such a file could run code; only NumPy arrays of numbers are read",
            )
        return found
