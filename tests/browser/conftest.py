"""A real browser for the tests of this folder; they skip, saying why, where there is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from report.screenshots import find_browser


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """Chromium, driven by Playwright: `pip install playwright` and the browser of the distribution."""
    try:
        from playwright import sync_api as api
    except ImportError:
        pytest.skip("needs playwright (pip install playwright)")
    found = find_browser()
    if found is None:
        pytest.skip("needs Chromium (apt-get install chromium, or its path in the variable CHROMIUM)")
    with api.sync_playwright() as playwright:
        arguments = [
            "--no-sandbox",
            "--use-gl=swiftshader",
            "--enable-unsafe-swiftshader",
            "--autoplay-policy=no-user-gesture-required",
            "--mute-audio",
        ]
        chromium = playwright.chromium.launch(executable_path=found, args=arguments)
        yield chromium
        chromium.close()


def wait_until(page, expression: str, *, seconds: float = 10) -> None:
    """Poll an expression (the page's security policy forbids Playwright's own way of waiting for one)."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"not true within {seconds} s: {expression}"
        page.wait_for_timeout(20)


@pytest.fixture
def opened(browser) -> Iterator[Callable]:
    """Open a file of the disk; at the end of the test there must have been no message and no request to anywhere.

    `free` lifts the page's security policy, for tests that fetch its media.
    """
    pages, complaints = [], []

    def open_file(path: Path, *, width: int = 1440, height: int = 900, free: bool = False):
        page = browser.new_page(viewport={"width": width, "height": height}, bypass_csp=free)
        pages.append(page)

        def heard(message) -> None:
            if "willReadFrequently" not in message.text and "ReadPixels" not in message.text:  # only tests read back
                complaints.append(f"console {message.type}: {message.text}")

        page.on("console", heard)
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        allowed = ("file:", "blob:", "data:")
        page.on("request", lambda r: None if r.url.startswith(allowed) else complaints.append(f"request: {r.url}"))
        page.goto(path.as_uri())
        return page

    yield open_file
    for page in pages:
        page.close()
    assert not complaints
