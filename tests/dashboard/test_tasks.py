"""Functions, tasks and the drawer of one task, in a browser."""

import re
import time

from playwright.sync_api import expect
from tests.dashboard.jobs import SlowToImport, SlowToLoad, crash, double, fail, move, outer, shout, wait_for_call

import lineshaft as ls


def row(page, region, text):
    """Return the row of a table that a function's name begins."""
    rows = page.get_by_role("region", name=region).last.get_by_role("row")
    return rows.filter(has=page.get_by_role("rowheader", name=text))


def test_before_the_first_task_it_says_so(tab):
    with ls.Engine(workers=1) as engine:
        page = tab.open(engine.dashboard_url, "tasks")
        expect(page.get_by_text("No task has been submitted yet")).to_be_visible()


def test_pages_of_a_hundred_thousand_tasks(tab):
    with ls.Engine(workers=2) as engine:
        last = [engine.submit(double, number) for number in range(100_000)][-1]
        page = tab.open(engine.dashboard_url, "tasks")
        assert last.result() == 199_998
        pager = page.locator(".pager").last
        expect(pager).to_contain_text(re.compile(r"1 to 25 of [\d,]+ tasks"))
        expect(row(page, "Functions", "double").get_by_role("cell").first).to_contain_text("100,000 / 100,000")
        page.get_by_role("button", name="Next tasks").click()
        expect(pager).to_contain_text("26 to 50 of")
        page.get_by_label("Order of the tasks").select_option("longest run first")
        expect(pager).to_contain_text("1 to 25 of")
        tab.check_accessibility()


def seconds(text):
    """Return how long a duration on a page is."""
    number, unit = re.match(r"([\d.]+) (\w+)", text).groups()
    return float(number) * {"s": 1, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}[unit]


def test_what_a_task_waited_for_its_own_calls_is_told_apart(tab, event):
    go_on = event("go on")
    with ls.Engine(workers=2) as engine:
        waits = engine.submit(wait_for_call, go_on)
        page = tab.open(engine.dashboard_url, "tasks")
        task = row(page, "Tasks", "wait_for_call")
        expect(task).to_contain_text("blocked")
        blocked = time.monotonic()
        time.sleep(0.3)
        waited_s = time.monotonic() - blocked
        go_on.set()
        assert waits.result()
        task.get_by_role("link").first.click()
        drawer = page.get_by_role("complementary")
        phases = drawer.locator(".legend li")
        waited = phases.filter(has_text="waited for other tasks once it had begun").locator("b")
        expect(waited).to_have_count(1)
        assert seconds(waited.inner_text()) >= 0.99 * waited_s
        # None of it is said to be another phase.
        (answer,) = page.evaluate("() => window.lineshaft.ask('/api/tasks', {name: 'wait_for_call'})")["rows"]
        others_s = 0
        for phase in ("ran", "fetched: on its way to the worker, or behind what that ran"):
            (lasted,) = phases.filter(has_text=re.compile(f"^{phase}")).locator("b").all()
            others_s += seconds(lasted.inner_text())
        assert others_s <= 1.01 * (answer["ended_s"] - answer["assigned_s"] - waited_s)
        page.get_by_role("button", name="Close").click()
        page.get_by_role("link", name="Timeline").click()
        window = page.get_by_role("region", name="In this window").last
        expect(window.get_by_role("columnheader", name="waited")).to_be_visible()
        tab.check_accessibility()


def test_a_run_is_told_apart_from_loading_and_storing(tab):
    with ls.Engine(workers=1) as engine:
        engine.submit(move, SlowToLoad(0.3), 0.2).result()
        page = tab.open(engine.dashboard_url, "tasks")
        function = row(page, "Functions", "move").get_by_role("cell")
        expect(function.nth(4)).to_have_text(re.compile(r"\d"))
        assert seconds(function.nth(4).inner_text()) >= 0.3
        assert seconds(function.nth(5).inner_text()) >= 0.2
        for ran in (2, 6, 10):
            assert seconds(function.nth(ran).inner_text()) < 0.2, "the call returns at once"
        task = row(page, "Tasks", "move").get_by_role("cell")
        assert seconds(task.nth(6).inner_text()) >= 0.3
        assert seconds(task.nth(7).inner_text()) < 0.2
        assert seconds(task.nth(8).inner_text()) >= 0.2
        tab.check_accessibility()


def test_what_the_first_task_of_a_worker_loads_is_called_imports(tab):
    with ls.Engine(workers=1) as engine:
        for _ in range(3):
            engine.submit(abs, SlowToImport(0.3)).result()
            engine.submit(move, SlowToLoad(0.1), 0).result()
        page = tab.open(engine.dashboard_url, "tasks")
        expect(row(page, "Functions", "abs").get_by_role("cell").nth(4)).to_contain_text("imports")
        expect(row(page, "Functions", "move").get_by_role("cell").nth(4)).not_to_contain_text("imports")


def test_shares_are_of_the_whole_run_whichever_rows_are_shown(tab):
    with ls.Engine(workers=1) as engine:
        engine.submit(outer, 0.3).result()
        for number in range(10):
            engine.submit(double, number).result()
        page = tab.open(engine.dashboard_url, "tasks")
        share = row(page, "Functions", "double").get_by_role("cell").nth(3)
        expect(share).to_have_text(re.compile(r"^(<1|\d) %$"))
        page.get_by_role("searchbox").fill("doub")
        expect(row(page, "Functions", "outer")).to_have_count(0)
        expect(share).to_have_text(re.compile(r"^(<1|\d) %$"))


def test_quartiles_say_how_exact_they_are(tab):
    with ls.Engine(workers=1) as engine:
        engine.submit(double, 1).result()
        page = tab.open(engine.dashboard_url, "tasks")
        for quartile in ("25 %", "median", "75 %"):
            heading = page.get_by_role("columnheader", name=quartile)
            expect(heading).to_have_attribute("title", re.compile("within a sixteenth"))


def test_filters_are_in_the_address(tab):
    with ls.Engine(workers=1) as engine:
        engine.submit(double, 1).result()
        failed = engine.submit(fail, 1)
        assert isinstance(failed.exception(), ValueError)
        page = tab.open(engine.dashboard_url, "tasks")
        expect(row(page, "Tasks", "double")).to_be_visible()
        page.get_by_label("State").select_option("ended without a result")
        expect(row(page, "Tasks", "double")).to_have_count(0)
        expect(row(page, "Tasks", "fail")).to_have_count(1)
        assert "state=unsuccessful" in page.url
        page.reload()
        expect(row(page, "Tasks", "fail")).to_have_count(1)
        expect(row(page, "Tasks", "double")).to_have_count(0)
        page.get_by_role("searchbox").fill("DOUB")
        expect(page.get_by_text("There is no such task")).to_be_visible()
        expect(row(page, "Functions", "double")).to_have_count(1)
        expect(row(page, "Functions", "fail")).to_have_count(0)


def test_a_task_says_why_it_is_not_running_and_what_it_printed(tab, event):
    go_on = event("go on")
    with ls.Engine(workers=1) as engine:
        heard = event("heard")
        printed = engine.submit(shout, "lineshaft", heard)
        held = engine.submit(go_on.wait)
        waiting = engine.submit(double, 21)
        page = tab.open(engine.dashboard_url, "tasks")
        row(page, "Tasks", "shout").get_by_role("link").click()
        drawer = page.get_by_role("complementary")
        expect(drawer).to_contain_text("LINESHAFT")
        heard.set()
        printed.result()
        expect(drawer).to_contain_text("Where its time went")
        expect(drawer).to_be_focused()
        tab.check_accessibility()
        page.keyboard.press("Escape")
        expect(drawer).to_have_count(0)
        page.get_by_label("State").select_option("not ended")
        row(page, "Tasks", "double").get_by_role("link").click()
        expect(drawer).to_contain_text("Why it has not ended")
        why = drawer.locator("h3 + p").inner_text()
        assert "worker" in why, why
        go_on.set()
        assert held.result()
        assert waiting.result() == 42
        expect(drawer).to_contain_text("finished")
        expect(drawer).not_to_contain_text("Why it has not ended")


def test_a_task_that_is_not_there_says_so(tab):
    tab.expected.append("404")
    with ls.Engine(workers=1) as engine:
        engine.submit(double, 1).result()
        page = tab.open(engine.dashboard_url, "tasks?task=12345")
        expect(page.get_by_role("complementary")).to_contain_text("no such task is listed")


def test_a_task_that_failed_shows_what_it_raised_and_its_attempts(tab):
    with ls.Engine(workers=1) as engine:
        failed = engine.submit(ls.task(fail, retries=1), 41)
        assert isinstance(failed.exception(), ValueError)
        died = engine.submit(crash)
        assert died.exception() is not None
        page = tab.open(engine.dashboard_url, "tasks")
        drawer = page.get_by_role("complementary")
        row(page, "Tasks", "fail").get_by_role("link").click()
        expect(drawer.locator("pre")).to_have_count(2)
        expect(drawer.locator("pre").first).to_contain_text("ValueError: 41")
        expect(drawer.locator("pre").first).to_contain_text("in fail")
        attempts = drawer.get_by_role("region", name="Its attempts").get_by_role("row")
        expect(attempts).to_have_count(3)
        expect(drawer).to_contain_text("before it was ready for the last time")
        expect(drawer).not_to_contain_text("waited for other tasks")
        tab.check_accessibility()
        page.keyboard.press("Escape")
        row(page, "Tasks", "crash").get_by_role("link").click()
        expect(drawer).to_contain_text("killed by SIGKILL")
        expect(drawer).to_contain_text("Its arguments are not shown")
        expect(drawer.locator(".legend li").filter(has_text="lost: there")).to_have_count(1)
        tab.check_accessibility()


def test_a_task_that_failed_on_a_thread_shows_its_traceback(tab):
    with ls.Engine(workers=1) as engine:
        assert isinstance(engine.submit(ls.task(fail, threads=True), 1).exception(), ValueError)
        page = tab.open(engine.dashboard_url, "tasks")
        row(page, "Tasks", "fail").get_by_role("link").click()
        drawer = page.get_by_role("complementary")
        expect(drawer).to_contain_text("What tasks on threads and coroutines print")
        expect(drawer).to_contain_text("What it raised")
        expect(drawer).to_contain_text("Traceback (most recent call last)")
        expect(drawer).to_contain_text("ValueError")
        expect(drawer).to_contain_text("Its arguments, as they were after the call")
        expect(drawer.get_by_text("1", exact=True).last).to_be_visible()
        tab.check_accessibility()


def test_functions_by_the_bytes_of_their_results(tab):
    with ls.Engine(workers=1) as engine:
        for _ in range(3):
            engine.submit(bytes, 1 << 20).result()
        task = engine.submit(double, 1)
        task.result()
        page = tab.open(engine.dashboard_url, "tasks")
        page.get_by_label("Order of the functions").select_option("by bytes of results")
        cells = row(page, "Functions", "bytes").get_by_role("cell")
        expect(cells.nth(2)).to_have_text("3.00 MiB")
        expect(cells.nth(3)).to_have_text("100 %")
        expect(cells.nth(6)).to_have_text("1.00 MiB")
        row(page, "Tasks", "bytes").first.get_by_role("link").click()
        expect(page.get_by_role("complementary")).to_contain_text("1.00 MiB")
        tab.check_accessibility()
