"""The overview in a browser, and what holds for all pages: a hundred thousand tasks, a server that comes back, keys."""

import subprocess
import sys
import time

import pytest
from playwright.sync_api import expect
from tests.dashboard.jobs import SlowToLoad, crash, double, move, nested, outer

import lineshaft as ls

#: Serves a dashboard on a port until its input ends.
PROGRAM = """
import sys, time
import lineshaft as ls
with ls.Engine(workers=1) as engine:
    engine.submit(abs, -1).result()
    print(engine.dashboard_url, flush=True)
    sys.stdin.read()
"""


def test_advice_has_a_number_and_a_remedy(tab):
    with ls.Engine(workers=1) as engine:
        assert engine.submit(crash).exception()
        for future in [engine.submit(abs, -number) for number in range(2_000)]:
            future.result()
        page = tab.open(engine.dashboard_url, "overview")
        advice = page.get_by_role("region", name="Advice")
        expect(advice).to_contain_text("1 worker process ended without having been asked to")
        expect(advice).to_contain_text("Half of the 2,000 tasks of abs ran for less than")
        tab.check_accessibility()


def test_a_task_that_waits_for_its_own_calls_is_not_said_to_run_for_long(tab):
    with ls.Engine(workers=2) as engine:
        for task in [engine.submit(nested, seconds) for seconds in (0, 0, 0, 0, 0, 0, 3)]:
            task.result()
        page = tab.open(engine.dashboard_url, "overview")
        row = page.get_by_role("row").filter(has_text="nested")
        expect(row).to_contain_text("and waits")
        expect(page.get_by_text("takes much longer than the others")).to_have_count(0)
        tab.check_accessibility()


def test_tasks_that_move_data_for_longer_than_they_run_are_told_of(tab):
    with ls.Engine(workers=1) as engine:
        for task in [engine.submit(move, SlowToLoad(0.3), 0.1) for _ in range(3)]:
            task.result()
        page = tab.open(engine.dashboard_url, "overview")
        advice = page.get_by_role("region", name="Advice")
        expect(advice).to_contain_text("3 of 3 tasks of move took longer to load arguments")
        expect(advice).to_contain_text("Hand over arrays")
        tab.check_accessibility()


def test_a_run_that_has_nothing_wrong_gets_no_advice(tab):
    with ls.Engine(workers=1) as engine:
        engine.submit(outer, 0.1).result()
        page = tab.open(engine.dashboard_url, "overview")
        expect(page.get_by_role("row").filter(has_text="outer")).to_be_visible()
        expect(page.get_by_role("region", name="Advice")).to_have_count(0)


def test_pages_are_reached_by_the_keyboard_alone(tab):
    with ls.Engine(workers=1) as engine:
        engine.submit(double, 1).result()
        page = tab.open(engine.dashboard_url, "overview")
        for name in ["Timeline", "Tasks", "Workers", "Profile", "Overview"]:
            link = page.get_by_role("navigation").get_by_role("link", name=name)
            expect(link).to_be_visible()
            page.locator("body").press("Tab")
            for _ in range(40):
                if link.evaluate("element => element === document.activeElement"):
                    break
                page.keyboard.press("Tab")
            page.keyboard.press("Enter")
            expect(link).to_have_attribute("aria-current", "page")


@pytest.mark.parametrize("width", [320, 700])
def test_pages_fit_into_a_narrow_window_and_say_whether_they_are_live(tab, width):
    with ls.Engine(workers=2) as engine:
        engine.submit(double, engine.submit(double, 1)).result()
        tab.page.set_viewport_size({"width": width, "height": 800})
        for name in ["overview", "timeline", "tasks", "graph", "workers", "profile"]:
            page = tab.open(engine.dashboard_url, name)
            expect(page.locator("main > *").first).to_be_visible()
            expect(page.get_by_text("Asking for")).to_have_count(0)
            assert page.evaluate("document.scrollingElement.scrollWidth") <= width, name
            expect(page.get_by_role("status").first).to_be_in_viewport(ratio=1)


def test_a_long_name_leaves_the_numbers_where_they_are_seen(tab):
    def named():
        pass

    named.__qualname__ = named.__name__ = "preprocess_" * 20
    with ls.Engine(workers=1) as engine:
        for _ in range(100):
            engine.submit(named).result()
        page = tab.open(engine.dashboard_url, "overview")
        last = page.get_by_role("row").filter(has_text="preprocess").get_by_role("cell").last
        box = last.bounding_box()
        assert box["x"] + box["width"] <= 1280


def test_a_page_at_another_address_is_opened_by_its_token_and_goes_on_without(tab):
    with ls.Engine(workers=1, dashboard="127.0.0.2") as engine:
        engine.submit(double, 1).result()
        address = engine.dashboard_url.split("?")[0]
        tab.expected.append("401")
        page = tab.page
        page.goto(address)
        expect(page.get_by_text("open the whole address")).to_be_visible()
        page.goto(engine.dashboard_url)
        expect(page.get_by_role("row").filter(has_text="double")).to_be_visible()
        expect(page.get_by_role("status").first).to_contain_text("live")
        assert page.url.startswith(address)
        assert "token" not in page.url
        page.get_by_role("link", name="Workers").click()
        page.get_by_role("button", name="Retire").click()
        expect(page.get_by_text("ends after what it runs")).to_be_visible()


def test_a_page_comes_back_with_its_server(tab):
    tab.outlives_its_server()
    first = subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    url = first.stdout.readline().strip()
    page = tab.open(url, "overview")
    status = page.get_by_role("status").first
    expect(status).to_contain_text("live")
    # It is killed, so that it cannot say that it ends.
    first.kill()
    first.communicate()
    expect(status).to_contain_text("connection lost")
    expect(page.get_by_role("row").filter(has_text="abs")).to_be_visible()
    with ls.Engine(workers=1) as engine:
        if engine.dashboard_url != url:
            pytest.skip("another program took the port")
        engine.submit(double, 1).result()
        expect(status).to_contain_text("live")
        expect(page.get_by_role("row").filter(has_text="double")).to_be_visible()
        expect(page.get_by_role("row").filter(has_text="abs")).to_have_count(0)


def test_the_timeline_of_a_hundred_thousand_tasks_is_drawn_in_time_and_within_bounds(tab):
    with ls.Engine(workers=2) as engine:
        page = tab.open(engine.dashboard_url, "timeline")
        futures = [engine.submit(double, number) for number in range(100_000)]
        canvas = page.get_by_role("application")
        expect(canvas).to_be_visible()
        # How long the page is busy with each frame, while bars come in and the window moves.
        page.evaluate("""() => {
            window.frames_ms = [];
            const original = window.requestAnimationFrame;
            window.requestAnimationFrame = (draw) => original((at) => {
                const before = performance.now();
                draw(at);
                window.frames_ms.push(performance.now() - before);
            });
        }""")
        until = time.monotonic() + 4
        while time.monotonic() < until:
            canvas.press("ArrowLeft")
            canvas.press("+")
            canvas.press("-")
        for future in futures:
            future.result()
        frames_ms = sorted(page.evaluate("window.frames_ms"))
        assert len(frames_ms) > 20
        assert frames_ms[int(len(frames_ms) * 0.95)] < 50
        heap_bytes = page.evaluate("performance.memory.usedJSHeapSize")
        assert heap_bytes < 150 << 20
