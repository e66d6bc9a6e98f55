"""The whole run in one file, and pages whose engine has ended: the same answers without a server."""

import subprocess
import sys

import pytest
from playwright.sync_api import expect
from tests.dashboard.jobs import crash, double, fail, nested, outer, shout, total

import lineshaft as ls

#: Questions that have the same answer with and without a server. Cells of the timeline are left out: without one their
#: columns begin at the run's start.
QUESTIONS = [
    ("/api/groups", {"sort": "name"}),
    ("/api/groups", {"sort": "bytes"}),
    ("/api/groups", {"sort": "tasks", "name": "OU", "limit": 2}),
    ("/api/tasks", {"sort": "oldest", "offset": 3, "limit": 7}),
    ("/api/tasks", {"sort": "ran", "limit": 5}),
    ("/api/tasks", {"sort": "queued", "limit": 5}),
    ("/api/tasks", {"state": "unsuccessful"}),
    ("/api/tasks", {"state": "unfinished"}),
    ("/api/tasks", {"name": "doub", "limit": 3}),
    ("/api/timeline", {"from_s": 0, "to_s": 1e-9, "columns": 1}),
    ("/api/timeline", {"from_s": -1, "to_s": 3600, "columns": 1}),
    ("/api/graph", {}),
    ("/api/graph", {"expand": "0,1,2,3,99"}),
    ("/api/workers", {}),
]


def ask(page, path, params):
    return page.evaluate("([path, params]) => window.lineshaft.ask(path, params)", [path, params])


def same(live, recorded):
    """Whether two answers are equal but for the last digits of numbers, what time it was, and cells."""
    if isinstance(live, dict):
        left_out = {
            "at_s",
            "whole_s",
            "from_s",
            "to_s",
            "cells",
            "bars",
            "program",
            "down_s",
            "process",
            "column_s",
            "explanation",
        }
        keys = set(live) - left_out
        return keys == set(recorded) - left_out and all(same(live[key], recorded[key]) for key in keys)
    if isinstance(live, list):
        return len(live) == len(recorded) and all(map(same, live, recorded))
    return live == pytest.approx(recorded, rel=1e-6) if isinstance(live, float) else live == recorded


def run_something(engine):
    tasks = [engine.submit(double, number) for number in range(300)]
    tasks += [engine.submit(outer, 0.002) for _ in range(20)]
    tasks.append(engine.submit(shout, "lineshaft"))
    tasks.append(engine.submit(nested, 0.05))
    tasks.append(engine.submit(total, [engine.submit(double, one) for one in tasks[:30]]))
    for task in tasks:
        task.result()
    assert engine.submit(fail, 1).exception()
    assert engine.submit(crash).exception()


def test_a_report_says_whether_the_run_was_over(tab, tmp_path):
    with ls.Engine(workers=1) as engine:
        engine.report(tmp_path / "before.html")
    engine.report(tmp_path / "after.html")
    for name, said in (("before", "went on"), ("after", "is over")):
        tab.page.goto((tmp_path / f"{name}.html").as_uri())
        expect(tab.page.get_by_role("status").first).to_contain_text(f"report of a run that {said}")


def test_a_report_answers_as_the_server_did(tab, tmp_path):
    with ls.Engine(workers=2) as engine:
        run_something(engine)
        page = tab.open(engine.dashboard_url, "overview")
        expect(page.get_by_role("row").filter(has_text="crash")).to_be_visible()
        failed = ask(page, "/api/tasks", {"state": "unsuccessful"})["rows"]
        finished = ask(page, "/api/tasks", {"name": "outer", "limit": 3})["rows"]
        waited = ask(page, "/api/tasks", {"name": "nested"})["rows"]
        shown = [*failed, *finished, *waited]
        questions = [*QUESTIONS, *[(f"/api/tasks/{task['task']}", {}) for task in shown]]
        live = [ask(page, path, params) for path, params in questions]
        engine.report(tmp_path / "run.html")
    file = (tmp_path / "run.html").as_uri()
    page.goto("about:blank")
    page.context.set_offline(True)
    page.goto(f"{file}#/tasks")
    expect(page.get_by_role("status").first).to_contain_text("report of a run that went on")
    for (path, params), answer in zip(questions, live, strict=True):
        recorded = ask(page, path, params)
        assert same(answer, recorded), f"{path} {params}: {answer} {recorded}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_of_a_report_opens_offline_and_is_accessible(tab, tmp_path, scheme):
    with ls.Engine(workers=1) as engine:
        run_something(engine)
        engine.report(tmp_path / "run.html")
    page = tab.page
    page.emulate_media(color_scheme=scheme)
    page.context.set_offline(True)
    page.goto((tmp_path / "run.html").as_uri())
    texts = {
        "Overview": "Functions, by the time they took",
        "Timeline": "In this window",
        "Tasks": "Functions",
        "Graph": "Functions and what they need",
        "Workers": "Workers that died",
        "Profile": "No stack was taken",
    }
    navigation = page.get_by_role("navigation")
    assert navigation.get_by_role("link").all_inner_texts() == list(texts)
    for name, text in texts.items():
        navigation.get_by_role("link", name=name).click()
        expect(page.get_by_text(text).first).to_be_visible()
        tab.check_accessibility()
    assert page.get_by_role("button", name="Restart").count() == 0
    navigation.get_by_role("link", name="Tasks").click()
    page.get_by_label("Order of the tasks").select_option("oldest first")
    page.get_by_label("State").select_option("finished")
    page.get_by_role("searchbox").fill("shout")
    page.get_by_role("region", name="Tasks").last.get_by_role("row").filter(has_text="shout").get_by_role(
        "link"
    ).click()
    expect(page.get_by_role("complementary")).to_contain_text("Where its time went")


def test_a_report_that_is_opened_at_the_timeline_shows_the_bars(tab, tmp_path):
    with ls.Engine(workers=1) as engine:
        # Long after the run's first second, which is what is asked for before it is known where the run lies.
        engine.submit(outer, 1.5).result()
        engine.submit(outer, 0.5).result()
        engine.report(tmp_path / "run.html")
    page = tab.page
    page.goto((tmp_path / "run.html").as_uri() + "#/timeline")
    box = page.get_by_role("application").bounding_box()
    for across in (0.3, 0.95):
        page.mouse.move(box["x"] + across * box["width"], box["y"] + 40)
        expect(page.locator(".tip")).to_contain_text("outer")


def test_an_open_page_goes_on_when_its_engine_has_ended(tab):
    tab.outlives_its_server()
    with ls.Engine(workers=1) as engine:
        run_something(engine)
        page = tab.open(engine.dashboard_url, "timeline")
        row = page.get_by_role("row").filter(has_text="double").first
        expect(row).to_be_visible()
    expect(page.get_by_role("status").first).to_contain_text("the engine has ended")
    page.get_by_role("link", name="Overview").click()
    memory = ("memory, peak", "shared memory, peak")
    for name in ("mean throughput", "cores busy, mean", *memory, "worker processes, at most"):
        expect(page.get_by_text(name, exact=True)).to_be_visible()
    page.get_by_role("link", name="Tasks").click()
    expect(page.get_by_role("row").filter(has_text="double").first).to_be_visible()
    page.get_by_role("link", name="Timeline").click()
    expect(row).to_be_visible()
    page.get_by_role("button", name="Zoom in").click()
    expect(page.get_by_text("The server has not answered")).to_have_count(0)


def test_a_report_of_a_run_that_nobody_watched_has_a_profile(tab, tmp_path):
    program = """
import time
import lineshaft as ls
def compute(until):
    while time.thread_time() < until:
        sum(range(1000))
if __name__ == "__main__":
    ls.submit(compute, 1.0).result()
"""
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, "-m", "lineshaft", "run", "--no-dashboard", "--report", "run.html", "program.py"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60, capture_output=True)
    page = tab.page
    page.goto((tmp_path / "run.html").as_uri() + "#/profile")
    rows = page.get_by_role("region", name="By time in their own lines").last.get_by_role("row")
    expect(rows.filter(has_text="compute")).to_be_visible()
