"""Workers in a browser: what they run, how they died, and that they can be told to end."""

import multiprocessing
import os
import re

from playwright.sync_api import expect
from tests.dashboard.jobs import crash, wait_inside

import lineshaft as ls
from lineshaft.errors import WorkerDied


def workers(page):
    return page.get_by_role("region", name="Workers", exact=True).last.get_by_role("row")


def test_a_worker_that_died_is_there_with_what_is_known(tab):
    with ls.Engine(workers=1) as engine:
        assert isinstance(engine.submit(crash).exception(), WorkerDied)
        page = tab.open(engine.dashboard_url, "workers")
        death = page.get_by_role("group").filter(has_text="killed by SIGKILL")
        expect(death).to_contain_text("crash")
        death.locator("summary").click()
        expect(death).to_contain_text("It left no Python stack")
        tab.check_accessibility()


def test_who_replaces_a_worker_that_died_says_so_and_its_report_is_a_click_away(tab):
    with ls.Engine(workers=1) as engine:
        first = engine.submit(os.getpid).result()
        page = tab.open(engine.dashboard_url, "workers")
        expect(workers(page).filter(has_text=str(first))).to_be_visible()
        expect(page.get_by_text("of place")).to_have_count(0)
        expect(page.get_by_role("region", name="Restarts by pool")).to_have_count(0)
        assert isinstance(engine.submit(crash).exception(), WorkerDied)
        second = engine.submit(os.getpid).result()
        row = workers(page).filter(has_text=str(second))
        expect(row).to_contain_text("attempt 2 of place 1")
        death = page.get_by_role("group").filter(has_text="killed by SIGKILL")
        expect(death.get_by_text("It left no Python stack")).to_be_hidden()
        row.get_by_role("button", name="which died").click()
        expect(death.get_by_text("It left no Python stack")).to_be_visible()
        tab.check_accessibility()
        page.get_by_role("button", name=re.compile("Retire")).click()
        third = engine.submit(os.getpid).result()
        row = workers(page).filter(has_text=str(third))
        expect(row).to_contain_text(re.compile(r"attempt 3 of place 1after worker \d+, which retired"))
        gone = page.get_by_role("region", name="Workers that are gone").last
        expect(gone.get_by_role("row").filter(has_text=str(first))).to_contain_text("it died")
        pool = page.get_by_role("region", name="Restarts by pool").last.get_by_role("row").last
        # Workers, started, restarts, died, ended, retired.
        expect(pool.get_by_role("cell")).to_have_text(["1 most 1", "3", "2", "1", "", "1"])
    (restarts,) = re.findall(r"lineshaft_worker_restarts_total\{.*\} (\d+)", engine.metrics())
    assert restarts == "2"


def test_restarts_are_counted_for_each_pool(tab):
    spawn = multiprocessing.get_context("spawn")
    with (
        ls.Engine(workers=1) as engine,
        ls.ProcessPoolExecutor(1, spawn, max_tasks_per_child=1, _engine=engine) as executor,
    ):
        engine.submit(abs, -1).result()
        assert [executor.submit(abs, -1).result() for _ in range(3)] == [1, 1, 1]
        page = tab.open(engine.dashboard_url, "workers")
        rows = page.get_by_role("region", name="Restarts by pool").last.get_by_role("row")
        expect(rows).to_have_count(3)
        cells = rows.filter(has_text="ProcessPoolExecutor").get_by_role("cell")
        # No worker is there, three were, two of them in the stead of another one, and all retired.
        expect(cells).to_have_text(["0 most 1", "3", "2", "", "", "3"])
        expect(rows.filter(has_text="lineshaft").get_by_role("cell").nth(2)).to_have_text("0")


def test_the_stack_of_what_runs_is_shown_when_wanted(tab, event):
    go_on = event("go on")
    with ls.Engine(workers=1) as engine:
        running = engine.submit(wait_inside, go_on)
        page = tab.open(engine.dashboard_url, "workers")
        row = workers(page).filter(has_text="wait_inside")
        expect(row).to_be_visible()
        expect(row.locator("pre")).to_have_count(0)
        page.get_by_label("Python stacks of what runs").check()
        expect(row.locator("pre")).to_contain_text(re.compile(r"line \d+ in wait_inside"))
        expect(row.locator("pre")).not_to_contain_text("_worker.py")
        tab.check_accessibility()
        go_on.set()
        assert running.result()
        expect(row).to_have_count(0)


def test_objects_that_a_worker_holds_are_counted(tab, event):
    go_on = event("go on")
    with ls.Engine(workers=1) as engine:
        large = engine.submit(bytes, 2**22)
        running = engine.submit(lambda *_: go_on.wait(), large, bytearray(2**23))
        page = tab.open(engine.dashboard_url, "workers")
        expect(workers(page).filter(has_text="lambda")).to_contain_text("2, 12.0 MiB")
        tab.check_accessibility()
        go_on.set()
        assert running.result()
        expect(workers(page).filter(has_text="nothing")).not_to_contain_text("12.0 MiB")


def test_what_a_worker_spilled_is_its_own_and_stays_known_when_it_is_gone(tab, event):
    go_on = event("go on")
    with ls.Engine(workers=1, memory=2**22) as engine:
        spilled = engine.submit(bytearray, 2**23)
        assert spilled.exception() is None
        reader = engine.submit(lambda *_: go_on.wait(), spilled)
        page = tab.open(engine.dashboard_url, "workers")
        row = workers(page).filter(has_text="lambda")
        # What it reads, what it wrote, and what of that went to disk.
        row_text = re.compile(r"1, 8\.00 MiB8\.00 MiB from disk.*1, 8\.00 MiB8\.00 MiB on disk8\.00 MiB")
        expect(row).to_contain_text(row_text)
        tab.check_accessibility()
        go_on.set()
        assert reader.result()
        del spilled, reader
        row = workers(page).filter(has_text="nothing")
        expect(row).not_to_contain_text("on disk")
        expect(row).to_contain_text("8.00 MiB")
        page.get_by_role("button", name=re.compile("Retire")).click()
        expect(page.get_by_role("region", name="Workers that are gone").last).to_contain_text("8.00 MiB")
    expect(page.get_by_role("region", name="Workers that are gone").last).to_contain_text("8.00 MiB")


def test_a_retired_worker_ends_what_it_runs(tab, event):
    go_on, begun = event("go on"), event("begun")
    with ls.Engine(workers=1) as engine:
        first = engine.submit(os.getpid).result()
        running = engine.submit(lambda: (begun.set(), go_on.wait(), os.getpid())[-1])
        begun.wait()
        page = tab.open(engine.dashboard_url, "workers")
        page.get_by_role("button", name=re.compile("Retire")).click()
        expect(page.get_by_text("ends after what it runs")).to_be_visible()
        go_on.set()
        assert running.result() == first
        assert engine.submit(os.getpid).result() != first
        expect(page.get_by_role("region", name="Workers that are gone").last).to_contain_text(str(first))


def test_an_idle_worker_is_retired_at_once(tab):
    with ls.Engine(workers=1) as engine:
        first = engine.submit(os.getpid).result()
        page = tab.open(engine.dashboard_url, "workers")
        page.get_by_role("button", name=re.compile("Retire")).click()
        expect(page.get_by_role("region", name="Workers that are gone").last).to_contain_text(str(first))
        assert engine.submit(os.getpid).result() != first
        expect(page.get_by_role("heading", name="Workers that died")).to_have_count(0)


def test_a_restarted_worker_is_replaced_and_its_task_runs_again(tab, event):
    go_on, begun = event("go on"), event("begun")

    def once():
        begun.set()
        go_on.wait()
        return os.getpid()

    with ls.Engine(workers=1) as engine:
        first = engine.submit(os.getpid).result()
        running = ls.task(retries=1)(once)
        future = engine.submit(running)
        begun.wait()
        page = tab.open(engine.dashboard_url, "workers")
        page.get_by_role("button", name=re.compile("Restart")).click()
        expect(page.get_by_text("is being ended")).to_be_visible()
        expect(page.get_by_role("region", name="Workers that are gone").last).to_contain_text(str(first))
        go_on.set()
        assert future.result() != first
        # It was asked to.
        expect(page.get_by_role("heading", name="Workers that died")).to_have_count(0)
    assert "lineshaft_worker_deaths_total 0" in engine.metrics().splitlines()
