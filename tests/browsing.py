"""A headless Chromium: one for a module of tests of the page, a context and page of its own for each, watched."""

from __future__ import annotations

import base64
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import serving
from PIL import Image

from dvsprep import cache
from dvsprep.pipeline import Job
from dvsprep.types import FrameSpec

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

READY = "html[data-ready]"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Debian's Chromium, or skip where there is none."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium is installed")
    api = pytest.importorskip("playwright.sync_api", reason="playwright, which drives the browser, is not installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def visit(
    browser: Browser, base: str, target: str = "/", *, ready: str = READY, quiet: bool = True, **how: Any
) -> Iterator[Page]:
    """Open the page; at the end no error was on its console and no request left for another host, nor failed."""
    context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}} | how)
    context.set_default_timeout(20_000)
    page = context.new_page()
    wrong: list[str] = []

    def console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            wrong.append(message.text)

    page.on("console", console)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    try:
        page.goto(base + target)
        page.wait_for_selector(ready)
        yield page
        assert not (wrong and quiet), wrong
        assert hosts - {""} <= {urlsplit(base).netloc}  # blob: and data: have none
    finally:
        context.close()


def pixels(page: Page, selector: str) -> np.ndarray:
    """Return what a canvas shows, [H, W, 3]."""
    address = page.eval_on_selector(selector, "canvas => canvas.toDataURL()")
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as image:
        return np.array(image.convert("RGB"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def home(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the root, which other tests count the caches of."""
    return Path(shutil.copytree(root, tmp_path_factory.mktemp("page") / "root"))


@pytest.fixture(scope="module")
def two(home: Path) -> dict[int, cache.FrameCache]:
    """Return the sample's training frames by T."""
    caches = {}
    for T in (4, 20):
        job = Job("sample", home, FrameSpec("number", T=T))
        job.run()
        caches[T] = cache.FrameCache(job.frames_paths()["train"])
    return caches


@pytest.fixture(scope="module")
def served(home: Path, two: dict[int, cache.FrameCache]) -> Iterator[str]:
    with serving.running(home, rate=0, build=False) as base:
        yield base


@pytest.fixture(scope="module")
def id20(two: dict[int, cache.FrameCache]) -> str:
    return f"sample.{two[20].path.stem}"
