"""The one Numba decorator of the kernels: no GIL, compiled once a machine, and an import that never fails."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import config

Kernel = Callable[..., Any]
settings: Any = config  # built at import from the environment; type checkers do not see what is in it


def kernel(function: Kernel) -> Kernel:
    """Compile a kernel lazily, without the GIL, and keep the result on disk where that is possible.

    Numba puts its cache beside the source or below HOME and raises at decoration when it can write to neither
    (read-only install, no HOME: numba issues 4908, 5566). Then our own folder serves, and failing that, memory.
    """
    for folder in (None, _own_cache()):
        before = settings.CACHE_DIR
        try:
            if folder is not None:
                settings.CACHE_DIR = folder
            return _compile(function, cache=True)
        except RuntimeError:
            continue
        finally:
            settings.CACHE_DIR = before
    return _compile(function, cache=False)


def _compile(function: Kernel, *, cache: bool) -> Kernel:
    compiled: Kernel = numba.njit(function, nogil=True, error_model="numpy", cache=cache)
    return compiled


def _own_cache() -> str:
    import platformdirs

    root = os.environ.get("DVSPREP_ROOT") or platformdirs.user_cache_dir("dvsprep")
    return str(Path(root) / ".numba")
