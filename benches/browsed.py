"""What it costs to have the dashboard open in a browser on the same machine, and what it costs the browser.

Needs Debian's Chromium and ``pip install playwright``. The browser is there in all samples, with a blank page where the
dashboard is closed: what is compared is the page. It draws without a graphics card here, and on processor cores that
the tasks want, too; on a machine with cores to spare the page costs the program only what its server and the reading of
the events take.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from functools import partial
from typing import Any

from benches.measure import WORKERS, Measure, Target
from benches.tasks import noop

TASKS = 200_000
CLOSED, OVERVIEW, TIMELINE = "page closed", "overview open", "timeline open"

#: Follows orders, one on each line: to open an address, to begin to count frames, and to tell of them.
BROWSER = """
import json, sys
from playwright.sync_api import sync_playwright
FRAMES = '''() => {
    let last = performance.now();
    const frames = (window.frames_ms = []);
    const next = () => {
        const now = performance.now();
        frames.push(now - last);
        last = now;
        requestAnimationFrame(next);
    };
    requestAnimationFrame(next);
}'''
TELL = "({ frames_ms: window.frames_ms ?? [], heap_bytes: performance.memory.usedJSHeapSize })"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--enable-precise-memory-info"]
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=sys.argv[1], args=ARGUMENTS)
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    answer = {}
    while True:
        print(json.dumps(answer), flush=True)
        order, *rest = sys.stdin.readline().split() or ["end"]
        if order == "open":
            page.goto(rest[0])
            page.locator("main section").first.wait_for()
        elif order == "count":
            page.evaluate(FRAMES)
        elif order == "tell":
            answer = page.evaluate(TELL)
        else:
            break
    browser.close()
"""


class _Browser:
    """A browser in a process of its own."""

    def __init__(self) -> None:
        import playwright  # noqa: F401

        chromium = shutil.which("chromium")
        if chromium is None:
            raise ImportError("chromium")
        command = [sys.executable, "-c", BROWSER, chromium]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def do(self, order: str) -> dict[str, Any]:
        """Have it do something, and return what it says to that."""
        assert self._process.stdin is not None
        print(order, file=self._process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def _run(page: str | None, *, counts_frames: bool = False) -> tuple[float, dict[str, Any]]:
    """Return the tasks in a second, and what the browser says of itself."""
    import lineshaft as ls

    browser = _Browser()
    with ls.Engine(workers=WORKERS) as engine:
        engine.submit(noop, 0).result()
        if page is not None:
            browser.do(f"open {engine.dashboard_url}/#/{page}")
        if counts_frames:
            browser.do("count")
        start = time.perf_counter()
        futures = [engine.submit(noop, number) for number in range(TASKS)]
        assert all(future.result() == number for number, future in enumerate(futures))
        rate = TASKS / (time.perf_counter() - start)
        told = browser.do("tell")
    browser.close()
    return rate, told


def _rate(page: str | None) -> float:
    return _run(page)[0]


def _frame_ms(page: str) -> float:
    """Return the time that 95 of 100 frames take at most."""
    _, told = _run(page, counts_frames=True)
    frames_ms = sorted(told["frames_ms"])
    return float(frames_ms[len(frames_ms) * 95 // 100])


def _heap_mb(page: str) -> float:
    return float(_run(page)[1]["heap_bytes"]) / 1e6


MEASURES = [
    Measure(
        name="browsed",
        title=f"{TASKS:,} no-op tasks while the dashboard is open in a browser",
        unit="tasks/s",
        better="higher",
        contestants={
            CLOSED: partial(_rate, None),
            OVERVIEW: partial(_rate, "overview"),
            TIMELINE: partial(_rate, "timeline"),
        },
        targets=[Target(ours=ours, peer=CLOSED, at_least=0.95) for ours in (OVERVIEW, TIMELINE)],
    ),
    Measure(
        name="frames",
        title=f"95 of 100 frames of a page, while {TASKS:,} no-op tasks run",
        unit="ms",
        contestants={TIMELINE: partial(_frame_ms, "timeline")},
        targets=[Target(ours=TIMELINE, at_most=50)],
    ),
    Measure(
        name="page-memory",
        title=f"What a page keeps, after {TASKS:,} no-op tasks",
        unit="MB",
        contestants={OVERVIEW: partial(_heap_mb, "overview"), TIMELINE: partial(_heap_mb, "timeline")},
        targets=[Target(ours=ours, at_most=50) for ours in (OVERVIEW, TIMELINE)],
    ),
]
