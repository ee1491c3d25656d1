"""Look-alikes of the DVS128 archive, whole or broken in one place, where `adopt` would have put them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import formats

TRAIN, TEST = "user01_led", "user24_led"
HEADER = "class,startTime_usec,endTime_usec\n"


def put(root: Path, change: Callable[[Path], object] = lambda folder: None, members: dict[str, bytes] | None = None):
    """Write a small DvsGesture.tar.gz into the download folder below a root; return its path.

    ``change`` edits the folder before it is packed, ``members`` are added under the names they have.
    """
    folder = formats.dvs_gesture(root / "made", {"train": [TRAIN], "test": [TEST]})
    change(folder)
    path = root / "dvs128" / "download" / "DvsGesture.tar.gz"
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, folder.name)
        for name, data in (members or {}).items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def recording(data: bytes) -> Callable[[Path], object]:
    """Return a change: the training recording holds other bytes."""
    return lambda folder: (folder / f"{TRAIN}.aedat").write_bytes(data)


def labels(text: str) -> Callable[[Path], object]:
    """Return a change: the training recording's csv holds another text."""
    return lambda folder: (folder / f"{TRAIN}_labels.csv").write_text(text)
