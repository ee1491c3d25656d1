"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test away from the developer's own caches."""
    monkeypatch.setenv("DVSPREP_ROOT", str(tmp_path / "default-root"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real recordings, or skip: they are not part of the project."""
    folder = os.environ.get("DVSPREP_REAL_DATA")
    if not folder:
        pytest.skip("DVSPREP_REAL_DATA does not name a folder of real recordings")
    return Path(folder)
