"""The connection of a page to its program: what is seen when one of them is away, stopped or at its end."""

import re
import signal
import subprocess
import sys

from playwright.sync_api import expect
from tests.dashboard.jobs import double

import lineshaft as ls

#: Serves a dashboard until its input ends.
PROGRAM = """
import sys
import lineshaft as ls
with ls.Engine(workers=1) as engine:
    engine.submit(abs, -1).result()
    print(engine.dashboard_url, flush=True)
    sys.stdin.read()
"""

#: What a page sees when another tab comes to the front.
HIDE = """hidden => {
    Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
    Object.defineProperty(document, "visibilityState", {value: hidden ? "hidden" : "visible", configurable: true});
    document.dispatchEvent(new Event("visibilitychange"));
}"""


def status(page):
    return page.get_by_role("status").first


def row(page, text):
    return page.get_by_role("row").filter(has_text=text).first


def test_a_page_in_the_background_has_the_whole_run_when_the_engine_has_ended(tab):
    tab.outlives_its_server()
    with ls.Engine(workers=1) as engine:
        engine.submit(double, 1).result()
        page = tab.open(engine.dashboard_url, "overview")
        expect(row(page, "double")).to_be_visible()
        page.evaluate(HIDE, True)
        for number in range(100):
            engine.submit(abs, -number).result()
    page.evaluate(HIDE, False)
    expect(status(page)).to_contain_text("the engine has ended")
    expect(row(page, "abs")).to_contain_text("100 / 100")
    for name in ("Tasks", "Timeline"):
        page.get_by_role("link", name=name).click()
        expect(row(page, "abs")).to_be_visible()


def test_a_program_that_is_stopped_is_not_called_live(tab):
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        url = program.stdout.readline().strip()
        page = tab.open(url, "overview")
        expect(row(page, "abs")).to_be_visible()
        program.send_signal(signal.SIGSTOP)
        silent = page.get_by_text(re.compile(r"The program has not answered for \d+ s"))
        expect(silent).to_be_visible()
        expect(status(page)).not_to_contain_text("live")
        # A page that is chosen now says so, too, and why it is empty.
        page.get_by_role("link", name="Workers").click()
        expect(silent).to_be_visible()
        expect(page.get_by_text("The server has not answered")).to_be_visible()
        tab.check_accessibility()
        program.send_signal(signal.SIGCONT)
        expect(status(page)).to_contain_text("live")
        expect(silent).to_have_count(0)
        expect(page.get_by_text("this program")).to_be_visible()
        program.stdin.close()
        expect(status(page)).to_contain_text("the engine has ended")


def test_more_pages_than_a_browser_has_connections_are_all_live(tab):
    tab.outlives_its_server()
    with ls.Engine(workers=1) as engine:
        engine.submit(double, 1).result()
        pages = [tab.page, *(tab.page.context.new_page() for _ in range(8))]
        for page in pages:
            page.goto(f"{engine.dashboard_url}/#/tasks")
            expect(row(page, "double")).to_be_visible()
        # The one that follows the events for all goes: another does it from then on.
        pages.pop(0).goto("about:blank")
        engine.submit(abs, -1).result()
        for page in pages:
            expect(status(page)).to_contain_text("live")
            page.goto(f"{engine.dashboard_url}/#/overview")
            expect(row(page, "abs")).to_be_visible()
    for page in pages:
        expect(status(page)).to_contain_text("the engine has ended")
        page.get_by_role("link", name="Workers").click()
        expect(page.get_by_text("No worker is there")).to_be_visible()
