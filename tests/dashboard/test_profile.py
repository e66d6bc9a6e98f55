"""The flame graph in a browser, of stacks of live workers."""

import re

from playwright.sync_api import expect
from tests.dashboard.jobs import outer

import lineshaft as ls


def test_stacks_are_those_of_the_tasks_and_say_so_before_there_are_any(tab):
    with ls.Engine(workers=2) as engine:
        page = tab.open(engine.dashboard_url, "profile")
        expect(page.get_by_text("No stack has been taken yet")).to_be_visible()
        tasks = [engine.submit(outer, 0.02) for _ in range(200)]
        hottest = page.get_by_role("region", name="By time in their own lines").last.get_by_role("row")
        expect(hottest.nth(1)).to_contain_text("inner (", timeout=30_000)
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
