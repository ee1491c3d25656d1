"""A headless Chromium: one for all tests of the page, a context and page of its own for each, watched."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

READY = "html[data-ready]"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Debian's Chromium, or skip where there is none."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def visit(browser: Browser, base: str, target: str = "/", *, quiet: bool = True, **how: Any) -> Iterator[Page]:
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
        page.wait_for_selector(READY)
        yield page
        assert not (wrong and quiet), wrong
        assert hosts - {""} <= {urlsplit(base).netloc}  # blob: and data: have none
    finally:
        context.close()
