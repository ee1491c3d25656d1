"""Caches that the tests of training read."""

from __future__ import annotations

from pathlib import Path

import pytest

import dvsprep


@pytest.fixture(scope="session")
def sample_caches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the paths of the bundled sample's train and test caches, T = 4."""
    root = tmp_path_factory.mktemp("root")
    return {part: cache.path for part, cache in dvsprep.frames("sample", root=root, split_by="number", T=4).items()}
