"""Pages in a real browser, on a live engine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright
from tests.events import PATIENCE_S

#: The sandbox needs what root and many containers do not have; the pages are our own. The rest is quiet.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--enable-precise-memory-info",
]


#: Limit of every wait for something that a page must show, in milliseconds.
PATIENCE_MS = 1000 * PATIENCE_S

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start Debian's Chromium. Until it ends, Playwright's event loop runs in this thread, and no other can."""
    chromium = shutil.which("chromium")
    assert chromium is not None, "chromium is missing; on Debian: apt install chromium"
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)


class Tab:
    """A page of the browser, and what it complained about.

    Parameters
    ----------
    page
        The page, as Playwright has it.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        #: Complaints with one of these parts are expected.
        self.expected: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def open(self, url: str, path: str) -> Page:
        """Show a page of the dashboard at `url`."""
        self.page.goto(f"{url}/#/{path}")
        return self.page

    def outlives_its_server(self) -> None:
        """Expect what a browser says of a question that the server was asked at its end, cut off in whatever way."""
        self.expected.append("net::ERR_")

    def check_console(self) -> None:
        """Fail if the console shows an error that was not expected."""
        unexpected = [text for text in self.complaints if not any(part in text for part in self.expected)]
        assert unexpected == []

    def check_accessibility(self) -> None:
        """Fail if axe finds a serious violation in what is shown now."""
        violations: list[dict[str, Any]] = Axe().run(self.page).response["violations"]
        serious = [found for found in violations if found["impact"] in ("serious", "critical")]
        assert [(found["id"], [node["html"][:200] for node in found["nodes"]]) for found in serious] == []


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    """Open a page of its own for one test; no error may be left in its console."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    tab = Tab(context.new_page())
    yield tab
    tab.check_console()
    context.close()
