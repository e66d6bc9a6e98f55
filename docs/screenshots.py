"""Takes the pictures of the dashboard in docs/dashboard/: of each page, after a run of examples/flights.py.

Run it by ``python docs/screenshots.py``, where Lineshaft, Playwright and Debian's Chromium are installed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "dashboard"
COMMAND = [sys.executable, "-m", "lineshaft", "run", str(ROOT / "examples" / "flights.py")]
SIZE = {"width": 1280, "height": 800}
PAGES = ["overview", "timeline", "tasks", "graph", "workers", "profile"]


def address(program: subprocess.Popen[str]) -> str:
    """Return where the program's dashboard is, once it has said so."""
    assert program.stderr is not None
    for line in program.stderr:
        if found := re.search(r"dashboard at (http://\S+)", line):
            return found[1]
    raise SystemExit("the program ended without a dashboard")


def take(page: Page) -> None:
    """Take a picture of each page, one of them of the dark ones."""
    for name in PAGES:
        page.emulate_media(color_scheme="dark" if name == "profile" else "light")
        page.goto(f"{page.url.partition('#')[0]}#/{name}")
        expect(page.locator("main section").first).to_be_visible()
        # What is drawn on a canvas is there a frame after its data.
        page.wait_for_timeout(500)
        page.screenshot(path=PICTURES / f"{name}.png")
        print(PICTURES / f"{name}.png")


def main() -> None:
    """Run the example with somebody watching, and take the pictures when it has ended."""
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE)
        program = subprocess.Popen(COMMAND, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        # Stacks are taken while this page is open.
        page.goto(f"{address(program)}/#/profile")
        program.communicate()
        # Pages that are open have the whole run, and go on without the program.
        expect(page.get_by_role("status").first).to_contain_text("the engine has ended")
        take(page)
        browser.close()


if __name__ == "__main__":
    main()
