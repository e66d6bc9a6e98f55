"""The flame graph in a browser, of stacks of live workers."""

import re

import pytest
from playwright.sync_api import expect
from tests.answers import get
from tests.dashboard.jobs import deep, outer

import lineshaft as ls


def test_stacks_are_those_of_the_tasks_and_say_so_before_there_are_any(tab):
    with ls.Engine(workers=2) as engine:
        page = tab.open(engine.dashboard_url, "profile")
        expect(page.get_by_text("No stack has been taken yet")).to_be_visible()
        tasks = [engine.submit(outer, 0.02) for _ in range(200)]
        hottest = page.get_by_role("region", name="By time in their own lines").last.get_by_role("row")
        expect(hottest.nth(1)).to_contain_text("inner (")
        expect(hottest.filter(has_text="outer (")).to_be_visible()
        assert "_worker.py" not in page.locator("main").inner_text()
        for task in tasks:
            task.result()
        stacks = page.locator(".hint b")
        expect(stacks).to_have_text(re.compile(r"[\d,]+ stacks"))
        tab.check_accessibility()
        choice = page.get_by_label("Function")
        choice.select_option(choice.locator("option", has_text="outer").get_attribute("value"))
        expect(hottest.nth(1)).to_contain_text("inner (")
        assert "group=" in page.url


def test_nothing_is_sampled_that_nobody_looks_at(tab):
    with ls.Engine(workers=1) as engine:
        page = tab.open(engine.dashboard_url, "overview")
        engine.submit(outer, 0.5).result()
        expect(page.get_by_role("row").filter(has_text="outer")).to_be_visible()
        page = tab.open(engine.dashboard_url, "profile")
        expect(page.get_by_text("No stack has been taken yet")).to_be_visible()


@pytest.mark.parametrize("each", [False, True])
def test_what_workers_do_around_calls_is_named(each):
    with ls.Engine(workers=2) as engine:

        def run():
            if each:
                list(engine.map(bytearray, [1 << 23] * 20))
            else:
                [future.result() for future in [engine.submit(bytearray, 1 << 25) for _ in range(10)]]

        profile = profile_of(engine, run)
    names = {frame["name"] for frame in profile["frames"]}
    assert "[storing the result]" in names
    assert not any("lineshaft/" in name or "_serial/" in name for name in names)


def profile_of(engine, run):
    """Have tasks run until a hundred stacks are there, and return the profile."""
    while (profile := get(engine, "/api/profile"))["stacks"] < 100:
        run()
    return profile


@pytest.mark.parametrize(("frames", "threads"), [(1, 0), (200, 0), (200, 50), (900, 0)])
def test_taking_stacks_costs_less_than_a_hundredth_of_the_time(frames, threads):
    with ls.Engine(workers=2) as engine:

        def run():
            tasks = [engine.submit(deep, frames, threads, 1.5) for _ in range(2)]
            assert [task.result() for task in tasks] == [None, None]

        profile = profile_of(engine, run)
    everything, *rest = profile["frames"]
    # What the workers and the program themselves count.
    assert 0 < profile["took_s"] < 0.01 * everything["all_ms"] / 1000
    # Each stack is there with its outer frames, or says that they are not.
    outermost = [frame for frame in rest if frame["parent"] == 0]
    names = {frame["name"].split(" (")[0] for frame in outermost if frame["all_ms"] > 0.1 * everything["all_ms"]}
    assert names == ({"outer frames: too many to be shown"} if frames > 400 else {"deep"})
