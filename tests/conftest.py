"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from dvsprep import config

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # Started in the background of a script, Ctrl-C is ignored, and so it would be in every process the tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test away from the developer's own caches and settings."""
    for key in config.TYPES:
        monkeypatch.delenv(f"DVSPREP_{key.upper()}", raising=False)
    monkeypatch.setenv("DVSPREP_CONFIG", "")
    monkeypatch.setenv("DVSPREP_ROOT", str(tmp_path / "default-root"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real recordings, or skip: they are not part of the project."""
    folder = os.environ.get("DVSPREP_REAL_DATA")
    if not folder:
        pytest.skip("DVSPREP_REAL_DATA does not name a folder of real recordings")
    return Path(folder)
