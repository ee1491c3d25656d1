"""dvsprep: event-camera datasets from the downloaded archive to the tensor a spiking network trains on.

``dvsprep.frames(...)`` builds what is missing and returns ``{split: FrameSource}``; ``dvsprep.open(path)`` opens one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dvsprep.version import __version__

if TYPE_CHECKING:
    from dvsprep.api import fetch_files as fetch_files
    from dvsprep.api import frames as frames
    from dvsprep.api import open as open
    from dvsprep.api import read_idx as read_idx
    from dvsprep.types import FrameSpec as FrameSpec

__all__ = ["FrameSpec", "__version__", "fetch_files", "frames", "open", "read_idx"]


def __getattr__(name: str) -> Any:
    # Lazily: `dvsprep --help` must not wait for h5py and Numba.
    if name in ("fetch_files", "frames", "open", "read_idx"):
        from dvsprep import api

        return getattr(api, name)
    if name == "FrameSpec":
        from dvsprep.types import FrameSpec

        return FrameSpec
    raise AttributeError(f"module 'dvsprep' has no attribute {name!r}")
