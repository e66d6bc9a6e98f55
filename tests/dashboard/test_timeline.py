"""The timeline in a browser: bars that grow, windows that move, the same in numbers."""

import re
import time

import pytest
from playwright.sync_api import expect
from tests.dashboard.jobs import SlowToLoad, crash, double, fail, move, nap, wait_for_call
from tests.events import eventually

import lineshaft as ls
from lineshaft.errors import WorkerDied


def point(page, across, down):
    """Move the pointer to a place of the canvas: a fraction of its width, and pixels from its top."""
    box = page.locator(".lanes canvas").bounding_box()
    page.mouse.move(box["x"] + across * box["width"], box["y"] + down)


def seconds(text):
    number, unit, *_ = text.replace(",", "").split()
    return float(number) * {"µs": 1e-6, "ms": 1e-3, "s": 1.0}[unit]


def shown_s(page):
    """The width of the window, in seconds."""
    return seconds(page.locator(".hint b").inner_text())


def test_before_the_first_task_it_says_so(tab):
    with ls.Engine(workers=1) as engine:
        page = tab.open(engine.dashboard_url, "timeline")
        expect(page.get_by_text("Nothing has run yet")).to_be_visible()
        engine.submit(double, 1).result()
        expect(page.get_by_role("application")).to_be_visible()


def test_a_running_task_has_a_bar_that_grows(tab, event):
    go_on = event("go on")
    with ls.Engine(workers=1) as engine:
        running = engine.submit(go_on.wait)
        page = tab.open(engine.dashboard_url, "timeline")
        row = page.get_by_role("row").filter(has_text="FileEvent.wait")
        expect(row).to_be_visible()
        point(page, 0.25, 40)
        tip = page.locator(".tip")
        expect(tip).to_contain_text("wait")
        expect(tip).to_contain_text("running for")
        before = tip.inner_text()
        expect(tip).not_to_have_text(before)
        go_on.set()
        running.result()
        expect(tip).not_to_contain_text("running for")


def test_lanes_are_high_where_there_is_room(tab, event):
    go_on = event("go on")
    tab.page.set_viewport_size({"width": 1920, "height": 1080})
    with ls.Engine(workers=1) as engine:
        running = engine.submit(go_on.wait)
        page = tab.open(engine.dashboard_url, "timeline")
        expect(page.get_by_role("row").filter(has_text="FileEvent.wait")).to_be_visible()
        # Below a lane that is as low as it can be.
        point(page, 0.25, 75)
        expect(page.locator(".tip")).to_contain_text("running for")
        go_on.set()
        running.result()


def test_a_bar_tells_its_phases(tab):
    with ls.Engine(workers=1) as engine:
        engine.submit(move, SlowToLoad(0.2), 0.2).result()
        page = tab.open(engine.dashboard_url, "timeline")
        expect(page.get_by_role("row").filter(has_text="move")).to_be_visible()
        # Where the bar is, which is that of the whole run.
        tip = page.locator(".tip")
        for step in range(60):
            point(page, 0.2 + step * 0.0125, 40)
            if tip.is_visible():
                break
        expect(tip).to_contain_text(re.compile(r"load [\d.]+ m?s, run [\d.]+ (µs|m?s), store [\d.]+ m?s"))
        # The address says which task was opened, and its drawer has the same.
        page.mouse.down()
        page.mouse.up()
        drawer = page.get_by_role("complementary")
        expect(drawer).to_contain_text(re.compile(r"loaded its function and arguments\s*[\d.]+ m?s"))
        expect(drawer).to_contain_text(re.compile(r"stored its result\s*[\d.]+ m?s"))
        tab.check_accessibility()


#: How many pixels of the lanes have the colour of tasks that wait.
COUNT_WAITING = """
    (() => {
        const canvas = document.querySelector(".lanes canvas");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        let count = 0;
        for (let at = 0; at < data.length; at += 4) {
            if (data[at] === 0x8a && data[at + 1] === 0x7f && data[at + 2] === 0xd1) count++;
        }
        return count;
    })()
"""


def expect_waiting(page):
    eventually(lambda: page.evaluate(COUNT_WAITING) > 100, "a part of a bar shows that a call waits")


def test_a_bar_shows_when_its_call_waits_and_so_it_does_of_a_run_that_is_over(tab, event, tmp_path):
    go_on = event("go on")
    tab.expected.append("willReadFrequently")  # the browser's advice to who reads a canvas as often as this test
    with ls.Engine(workers=2) as engine:
        engine.submit(nap, 0.1).result()
        page = tab.open(engine.dashboard_url, "timeline")
        expect(page.get_by_role("row").filter(has_text="nap")).to_be_visible()
        assert page.evaluate(COUNT_WAITING) == 0
        waits = engine.submit(wait_for_call, go_on)
        expect_waiting(page)
        go_on.set()
        assert waits.result()
        engine.report(tmp_path / "run.html")
    page.goto((tmp_path / "run.html").as_uri() + "#/timeline")
    expect_waiting(page)


def test_what_ran_in_the_window_is_there_in_numbers(tab):
    with ls.Engine(workers=2) as engine:
        tasks = [engine.submit(double, number) for number in range(1_000)]
        failing = [engine.submit(fail, number) for number in range(3)]
        assert [task.result() for task in tasks] == [2 * number for number in range(1_000)]
        assert all(task.exception() for task in failing)
        page = tab.open(engine.dashboard_url, "timeline")
        cells = page.get_by_role("row").filter(has_text="double").get_by_role("cell")
        expect(cells.first).to_have_text("1,000")
        cells = page.get_by_role("row").filter(has_text="fail").last.get_by_role("cell")
        expect(cells.nth(1)).to_have_text("3")
        tab.check_accessibility()


def test_attempts_whose_worker_died_are_in_no_time_that_functions_ran(tab):
    with ls.Engine(workers=1) as engine:
        assert isinstance(engine.submit(crash).exception(), WorkerDied)
        page = tab.open(engine.dashboard_url, "timeline")
        headings = page.get_by_role("columnheader")
        expect(headings.filter(has_text="lost")).to_be_visible()
        table = page.get_by_role("table")
        places = {heading.inner_text(): place for place, heading in enumerate(headings.all())}
        cells = table.get_by_role("row").last.locator("th, td")
        expect(cells.nth(places["failed"])).to_have_text("1")
        expect(cells.nth(places["ran"])).to_have_text("0 s")
        expect(cells.nth(places["lost"])).to_have_text(re.compile(r"[1-9]"))
        expect(cells.nth(places["mean"])).to_have_text("")


def test_the_whole_run_has_no_time_before_the_first_task_and_none_behind_the_last(tab):
    with ls.Engine(workers=1, dashboard=True) as engine:
        engine.metrics()
        engine.submit(nap, 0.2).result()
        page = tab.open(engine.dashboard_url, "timeline")
        lasted = page.get_by_text("had tasks for")
        expect(lasted).to_contain_text("ms")
        # The engine is asked how things are now, which is later.
        engine.metrics()
        page.reload()
        expect(lasted).to_contain_text("ms")
        bar_s = seconds(lasted.inner_text().partition("had tasks for ")[2])
        assert shown_s(page) < 1.1 * bar_s


def test_keys_move_and_zoom(tab):
    with ls.Engine(workers=1) as engine:
        engine.submit(time.sleep, 1).result()
        page = tab.open(engine.dashboard_url, "timeline")
        expect(page.get_by_role("row").filter(has_text="sleep")).to_be_visible()
        # From the address to the canvas by the keyboard alone.
        for _ in range(30):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.tagName") == "CANVAS":
                break
        assert page.evaluate("document.activeElement.getAttribute('role')") == "application"
        # Who moves away from the end does not follow it any more.
        page.keyboard.press("ArrowLeft")
        expect(page.get_by_role("button", name="Whole run")).to_have_attribute("aria-pressed", "false")
        before_s = shown_s(page)
        for _ in range(6):
            page.keyboard.press("+")
        # What is shown follows the keys a moment later.
        expected = pytest.approx(before_s * 0.6**6, rel=0.02)
        eventually(lambda: shown_s(page) == expected, "it shows less")
        page.keyboard.press("Home")
        expect(page.get_by_role("button", name="Whole run")).to_have_attribute("aria-pressed", "true")
        eventually(lambda: shown_s(page) >= before_s * 0.98, "it shows all again")
        # Beyond the end nothing ran.
        for _ in range(20):
            page.keyboard.press("ArrowRight")
        expect(page.get_by_text("No task ran in it")).to_be_visible()


def test_start_against_duration(tab):
    with ls.Engine(workers=1) as engine:
        engine.submit(time.sleep, 0.2).result()
        engine.submit(abs, -1).result()
        page = tab.open(engine.dashboard_url, "timeline?view=scatter")
        expect(page.get_by_role("button", name="Start against duration")).to_have_attribute("aria-pressed", "true")
        expect(page.get_by_role("row").filter(has_text="sleep")).to_be_visible()
        # The longest attempt is at the top: somewhere along it there is a dot.
        tip = page.locator(".tip")
        for step in range(100):
            point(page, 0.18 + step * 0.008, 40)
            if tip.is_visible():
                break
        expect(tip).to_contain_text("sleep")
        expect(tip).to_contain_text("took about")
        tab.check_accessibility()


#: Counts how often a canvas is drawn afresh.
COUNT_PICTURES = """
    const { clearRect } = CanvasRenderingContext2D.prototype;
    window.pictures = 0;
    CanvasRenderingContext2D.prototype.clearRect = function (...area) {
        window.pictures++;
        return clearRect.apply(this, area);
    };
"""


def test_a_run_that_goes_on_is_drawn_no_more_often_than_it_pays(tab, event):
    go_on = event("go on")
    tab.page.add_init_script(COUNT_PICTURES)
    with ls.Engine(workers=1) as engine:
        running = engine.submit(go_on.wait)
        page = tab.open(engine.dashboard_url, "timeline")
        expect(page.get_by_role("row").filter(has_text="FileEvent.wait")).to_be_visible()
        # So many pictures take so long at least: ten a second by itself, and one for each of two answers.
        took_s = page.evaluate("""async () => {
            const [from, first] = [performance.now(), window.pictures];
            while (window.pictures < first + 36) await new Promise((soon) => setTimeout(soon, 10));
            return (performance.now() - from) / 1000;
        }""")
        assert took_s > 2
        go_on.set()
        running.result()


def test_nothing_is_asked_for_while_nothing_happens(tab):
    with ls.Engine(workers=1) as engine:
        engine.submit(double, 1).result()
        page = tab.open(engine.dashboard_url, "timeline")
        expect(page.get_by_role("row").filter(has_text="double")).to_be_visible()
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        # At most so many seconds pass until nothing is new any more.
        for _ in range(60):
            asked.clear()
            page.wait_for_timeout(2_000)
            if not [url for url in asked if "/api/timeline" in url]:
                break
        assert [url for url in asked if "/api/timeline" in url] == []
        # What happens then is seen.
        engine.submit(abs, 1).result()
        expect(page.get_by_role("row").filter(has_text="abs")).to_be_visible()


#: Whether the strip under the picture has the colours of the scheme.
STRIP_IS_LIGHT = """(expected) => {
    const context = document.querySelector("canvas.scrub").getContext("2d");
    return context.getImageData(3, 3, 1, 1).data[0] > 128 === expected;
}"""


def test_canvases_follow_from_dark_to_light_while_the_window_changes(tab):
    with ls.Engine(workers=1) as engine:
        engine.submit(double, 1).result()
        page = tab.open(engine.dashboard_url, "timeline")
        # The browser's advice about what this test does.
        tab.expected.append("willReadFrequently")
        expect(page.locator("canvas.scrub")).to_be_visible()
        for turn in range(6):
            scheme = "light" if turn % 2 else "dark"
            page.set_viewport_size({"width": 1280 + 100 * (turn % 2), "height": 900 - 100 * (turn % 2)})
            page.emulate_media(color_scheme=scheme)
            page.wait_for_function(STRIP_IS_LIGHT, arg=scheme == "light")
