"""What the tests of fetching share."""

from __future__ import annotations

import bad_server
import pytest


@pytest.fixture
def server():
    with bad_server.running() as running:
        yield running


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    """No proxy of the developer's own environment reaches the network code."""
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
