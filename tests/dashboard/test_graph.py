"""What needs what, and the critical path, in a browser."""

import operator
import re
import types

import dask
import dask.array
import pytest
from playwright.sync_api import expect
from tests.dashboard.jobs import double, nap, outer, total

import lineshaft as ls
import lineshaft.dask


def graph(page):
    return page.get_by_role("region", name="Functions and what they need")


def node(page, name):
    return graph(page).get_by_role("button", name=re.compile(f"^{name} "))


def test_without_a_graph_it_says_so(tab):
    with ls.Engine(workers=1) as engine:
        engine.submit(double, 1).result()
        page = tab.open(engine.dashboard_url, "graph")
        expect(page.get_by_text("No task has needed the result of another yet")).to_be_visible()
        tab.check_accessibility()


def submit_fan(engine):
    """Six calls of `outer`, the last of which runs longest, each doubled, and the total of these."""
    outers = [engine.submit(outer, 0.02) for _ in range(5)] + [engine.submit(outer, 0.3)]
    return outers, engine.submit(total, [engine.submit(double, one) for one in outers])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_functions_their_links_and_the_critical_path(tab, scheme):
    tab.page.emulate_media(color_scheme=scheme)
    with ls.Engine(workers=2) as engine:
        submit_fan(engine)[1].result()
        page = tab.open(engine.dashboard_url, "graph")
        expect(node(page, "outer")).to_contain_text("6 tasks")
        expect(node(page, "double")).to_contain_text("needs outer; is needed by total; 1 on the critical path")
        expect(graph(page).locator("path.path")).to_have_count(2)
        steps = page.get_by_role("region", name="Critical path").get_by_role("rowheader")
        assert steps.all_inner_texts() == ["outer", "double", "total"]
        cell = page.get_by_role("row").filter(has_text="outer").get_by_role("cell").nth(2)
        ran_s = float(cell.inner_text().removesuffix(" ms")) / 1000
        assert 0.3 <= ran_s < 1, "the longest of them is on the path"
        tab.check_accessibility()


def test_one_task_that_runs_longer_than_any_chain_is_the_critical_path(tab):
    with ls.Engine(workers=2) as engine:
        alone = engine.submit(nap, 1)
        engine.submit(double, engine.submit(double, 1)).result()
        alone.result()
        page = tab.open(engine.dashboard_url, "graph")
        card = page.get_by_role("term").filter(has_text=re.compile("^critical path$")).locator("..")
        expect(card).to_contain_text("one task of nap, which needs no other")
        expect(page.get_by_text("it is the critical path by itself")).to_be_visible()
        expect(page.get_by_role("region", name="Longest chain of several").first).to_contain_text("double")


def test_a_function_is_opened_and_closed_by_the_keyboard(tab):
    with ls.Engine(workers=2) as engine:
        submit_fan(engine)[1].result()
        page = tab.open(engine.dashboard_url, "graph")
        expect(node(page, "outer")).to_have_attribute("aria-expanded", "false")
        node(page, "outer").focus()
        page.keyboard.press("Enter")
        expect(node(page, "outer")).to_have_attribute("aria-expanded", "true")
        expect(node(page, "outer")).to_be_focused()
        tasks = graph(page).get_by_role("link")
        expect(tasks).to_have_count(6)
        expect(graph(page).locator("a.path")).to_have_count(1)
        assert "expand=" in page.url
        tab.check_accessibility()
        tasks.first.focus()
        page.keyboard.press("Enter")
        drawer = page.get_by_role("complementary")
        expect(drawer).to_contain_text("outer")
        page.keyboard.press("Escape")
        expect(drawer).to_have_count(0)
        node(page, "outer").focus()
        page.keyboard.press("Space")
        expect(tasks).to_have_count(0)


def test_a_result_that_was_there_before_is_an_edge_too(tab):
    with ls.Engine(workers=1) as engine:
        first = engine.submit(double, 1)
        assert first.result() == 2
        assert engine.submit(total, [first]).result() == 2
        page = tab.open(engine.dashboard_url, "graph")
        expect(node(page, "total")).to_contain_text("needs double")


def chain(engine, length):
    """Functions each of which needs the one before it, called one after the other."""

    def step(number, before=None):
        return number

    last = None
    for number in range(length):
        named = types.FunctionType(step.__code__, globals(), f"chain_{number:03}", step.__defaults__)
        named.__qualname__ = named.__name__
        last = engine.submit(named, number, last)
    return last.result()


def test_a_graph_of_any_size_fits_its_window_until_it_is_zoomed(tab):
    with ls.Engine(workers=1) as engine:
        assert chain(engine, 230) == 229
        page = tab.open(engine.dashboard_url, "graph")
        expect(page.get_by_text("31 more functions in one box")).to_be_in_viewport()
        # In the order of reading: the first one is on the left, the last one on the right.
        ends = [graph(page).locator(".node").first, graph(page).locator(".node").last]
        box = graph(page).last.bounding_box()
        for end in ends:
            expect(end).to_be_in_viewport()
            place = end.bounding_box()
            assert box["x"] <= place["x"] <= place["x"] + place["width"] <= box["x"] + box["width"]
        tab.check_accessibility()
        fitted = ends[0].bounding_box()["width"]
        for _ in range(4):
            page.get_by_role("button", name="Zoom in").click()
        assert ends[0].bounding_box()["width"] == pytest.approx(fitted * 1.5**4, rel=0.01)
        for end in ends:
            expect(end).not_to_be_in_viewport()
        middle = "box => (box.scrollLeft + box.clientWidth / 2) / box.scrollWidth"
        assert graph(page).last.evaluate(middle) == pytest.approx(0.5, abs=0.01), (
            "what was in the middle is there still"
        )
        page.get_by_role("button", name="Fit").click()
        for end in ends:
            expect(end).to_be_in_viewport()


def test_a_graph_of_dask(tab):
    with ls.Engine(workers=2) as engine:
        array = dask.array.ones((8, 8), chunks=(1, 1)).sum(split_every=4)
        assert lineshaft.dask.get(array.__dask_graph__(), array.__dask_keys__(), engine=engine) is not None
        page = tab.open(engine.dashboard_url, "graph")
        buttons = graph(page).get_by_role("button")
        expect(buttons.filter(has_text="critical path").first).to_be_visible()
        expect(page.get_by_role("region", name="Critical path").get_by_role("row").nth(2)).to_be_visible()
        tab.check_accessibility()


def test_a_hundred_thousand_tasks(tab):
    tab.outlives_its_server()
    with ls.Engine(workers=2) as engine:
        page = tab.open(engine.dashboard_url, "graph")
        last = None
        for number in range(50_000):
            last = engine.submit(operator.neg, engine.submit(double, number))
        assert last.result() == -99_998
        engine.shutdown()
        expect(page.get_by_role("status").first).to_contain_text("the engine has ended")
        expect(node(page, "double")).to_contain_text("50,000 tasks")
        expect(node(page, "neg")).to_contain_text("50,000 tasks")
        expect(page.get_by_text("50,000 results were handed on")).to_be_visible()
        node(page, "double").click()
        expect(graph(page).get_by_role("link")).to_have_count(16)
        expect(node(page, "double")).to_contain_text("49,984 more tasks")
        tab.check_accessibility()
