"""The numbers in the text format of Prometheus."""

import os
import re
import signal
import time
from concurrent.futures import wait

import pytest
from tests.events import FileEvent, eventually

import lineshaft as ls

SAMPLE = re.compile(
    r'(?P<name>[a-z_]+)(\{(?P<label>[a-z]+)="(?P<of>(?:[^"\\]|\\.)*)"(,module="[a-z._]+")?\})? (?P<value>[0-9.e+-]+)'
)


def parse(text):
    """Return the values by name and label, and the kinds by name."""
    values, kinds = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in kinds, "a family is declared once"
            kinds[name] = kind
        elif not line.startswith("# HELP "):
            match = SAMPLE.fullmatch(line)
            assert match, line
            values[match["name"], match["of"]] = float(match["value"])
    assert {name for name, _ in values} <= kinds.keys()
    return values, kinds


@ls.task(retries=1)
def die_once(path):
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def fail():
    raise ValueError


def compute(seconds):
    while time.process_time() < seconds:
        pass
    return time.process_time()


def test_processor_time_of_workers_that_nobody_saw_counts():
    def cpu_s():
        values, _ = parse(ls.default_engine().metrics())
        return values["lineshaft_cpu_seconds_total", None]

    before_s = cpu_s()
    computed_s = 0.0
    for _ in range(8):
        # Once it is left, its worker has been reaped.
        with ls.ProcessPoolExecutor(1) as pool:
            computed_s += pool.submit(compute, 0.2).result()
    assert cpu_s() - before_s >= computed_s >= 1.6


def test_cores_that_sleeping_tasks_lend_are_not_there_twice():
    engine = ls.default_engine()
    cores = engine.workers
    with ls.ProcessPoolExecutor(cores) as one, ls.ProcessPoolExecutor(cores) as other:
        for executor in (one, other):
            list(executor.map(abs, range(cores)))
        sleeping = [executor.submit(time.sleep, 600) for executor in (one, other) for _ in range(cores)]
        eventually(lambda: sum(future.running() for future in sleeping) == 2 * cores, "all sleep")
        values, _ = parse(engine.metrics())
        assert values["lineshaft_cores_budget", None] == cores
        for executor in (one, other):
            for worker in executor._processes.values():
                worker.kill()


def test_the_budget_of_cores_grows_with_a_pool_that_has_calls(tmp_path):
    def budget():
        return parse(engine.metrics())[0]["lineshaft_cores_budget", None]

    engine = ls.default_engine()
    with ls.ProcessPoolExecutor(engine.workers + 3) as executor:
        event = FileEvent(tmp_path / "event")
        calls = [executor.submit(event.wait) for _ in range(2)]
        assert budget() == engine.workers + 3
        event.set()
        assert wait(calls).not_done == set()
        assert budget() == engine.workers


def wait_in_a_wide_pool(workers, event):
    with ls.ProcessPoolExecutor(workers) as executor:
        return all(executor.map(wait_for, [event] * workers))


def wait_for(event):
    return event.wait()


def test_the_budget_of_cores_does_not_grow_with_what_tasks_ask_for(tmp_path):
    event = FileEvent(tmp_path / "event")
    engine = ls.default_engine()
    workers = engine.workers + 3
    asks = engine.submit(wait_in_a_wide_pool, workers, event)
    values = {}

    def all_run():
        values.update(parse(engine.metrics())[0])
        return values["lineshaft_tasks", "running"] == workers

    # They sleep, and so lend their cores to each other.
    eventually(all_run, "all run")
    assert values["lineshaft_cores_budget", None] == engine.workers
    event.set()
    assert asks.result()


def test_numbers_are_those_of_what_ran(tmp_path):
    with ls.Engine(workers=2, memory="1GiB") as engine:
        assert list(engine.map(abs, range(3), threads=True)) == [0, 1, 2]
        engine.submit(die_once, tmp_path / "died").result()
        with pytest.raises(ValueError):  # noqa: PT011 - it has no message
            engine.submit(fail).result()
    values, kinds = parse(engine.metrics())
    assert values["lineshaft_store_budget_bytes", None] == 1 << 30
    assert values["lineshaft_worker_deaths_total", None] == 1
    assert values["lineshaft_attempts_retried_total", None] == 1
    assert values["lineshaft_tasks_ended_total", "failed"] == 1
    assert all(values["lineshaft_tasks", state] == 0 for state in ("waiting", "ready", "running", "ahead"))
    submitted = values["lineshaft_tasks_submitted_total", None]
    ended = sum(values["lineshaft_tasks_ended_total", outcome] for outcome in ("finished", "failed", "dropped"))
    assert submitted == ended >= 3
    finished = {of: value for (name, of), value in values.items() if name == "lineshaft_group_tasks_finished_total"}
    assert any(name.endswith("die_once") and value == 1 for name, value in finished.items())
    assert kinds["lineshaft_tasks"] == "gauge"
    assert all(kind == "counter" for name, kind in kinds.items() if name.endswith("_total"))


def burn(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
    raise ValueError(seconds)


@pytest.mark.parametrize("threads", [False, True])
def test_what_raises_has_run_and_failed(threads):
    with ls.Engine(workers=1) as engine:
        engine.submit(ls.task(threads=threads)(burn), 0.05).exception()
    values, _ = parse(engine.metrics())
    (name,) = [of for name, of in values if name == "lineshaft_group_failures_total" and of.endswith("burn")]
    assert values["lineshaft_group_failures_total", name] == 1
    assert 0.05 <= values["lineshaft_group_run_seconds_total", name] < 30


def test_results_that_workers_write_to_disk_are_spilled():
    size = 3 * 2**20
    with ls.Engine(workers=1, memory="4MiB") as engine:
        # Each waits for the one before, so there is no moment at which two see the same room.
        results = [engine.submit(bytearray, size)]
        while len(results) < 4:
            assert results[-1].exception() is None
            results.append(engine.submit(bytearray, size))
        assert results[-1].exception() is None
        values, _ = parse(engine.metrics())
    assert values["lineshaft_store_objects", None] == 4
    assert values["lineshaft_store_spilled_bytes", None] >= 3 * size
    assert values["lineshaft_store_spills_total", None] == 3
    written = {of: value for (name, of), value in values.items() if name == "lineshaft_worker_disk_bytes"}
    (worker,) = written
    assert worker.isdecimal()
    assert written[worker] == values["lineshaft_store_spilled_bytes", None]


def length_later(event, data):
    event.wait()
    return len(data)


def test_what_the_program_has_on_disk_is_its_own(event):
    size = 3 * 2**20
    with ls.Engine(workers=1, memory="4MiB") as engine:
        go_on = event("go on")
        lengths = [engine.submit(length_later, go_on, bytearray(size)) for _ in range(4)]
        eventually(lambda: parse(engine.metrics())[0]["lineshaft_store_spills_total", None] > 0, "some are on disk")
        go_on.set()
        assert [length.result() for length in lengths] == 4 * [size]
        values, _ = parse(engine.metrics())
    spilled = {of: value for (name, of), value in values.items() if name == "lineshaft_worker_spilled_bytes_total"}
    assert spilled.keys() == {"program"}
    assert spilled["program"] >= size


@pytest.mark.parametrize("threads", [False, True])
def test_what_a_call_waits_for_another_is_no_part_of_how_long_it_ran(threads, event):
    go_on = event("go on")

    def outer():
        return ls.submit(go_on.wait).result()

    begun = time.monotonic()
    with ls.Engine(workers=2) as engine:
        waits = engine.submit(ls.task(threads=threads)(outer))
        eventually(lambda: parse(engine.metrics())[0]["lineshaft_tasks", "blocked"] > 0, "it waits")
        blocked = time.monotonic()
        time.sleep(0.2)
        waited_s = time.monotonic() - blocked
        go_on.set()
        assert waits.result()
        took_s = time.monotonic() - begun
        values, _ = parse(engine.metrics())
        (group,) = [group for group in engine._native.stats()["groups"] if group["name"].endswith("outer")]
    (name,) = [of for name, of in values if name == "lineshaft_group_wait_seconds_total" and of.endswith("outer")]
    assert waited_s <= values["lineshaft_group_wait_seconds_total", name] <= took_s
    assert values["lineshaft_group_run_seconds_total", name] <= took_s - waited_s
    # As the summary of `lineshaft run` has it.
    assert group["waited_s"] >= waited_s
    assert group["max_s"] <= group["total_s"] <= took_s - waited_s


def double(number):
    return 2 * number


def test_items_of_a_nested_map_are_named_after_their_function():
    def outer():
        return list(ls.map(double, range(3)))

    with ls.Engine(workers=2) as engine:
        assert engine.submit(outer).result() == [0, 2, 4]
        values, _ = parse(engine.metrics())
    names = {of.rpartition(".")[2] for name, of in values if name == "lineshaft_group_tasks_finished_total"}
    assert names == {"outer", "double"}


def test_tasks_that_never_ran_are_in_the_numbers_of_their_function(event):
    go_on = event("go on")

    def wait():
        return go_on.wait()

    def never(_result):
        raise AssertionError

    with ls.Engine(workers=1) as engine:
        first = engine.submit(wait)
        cancelled = [engine.submit(never, first) for _ in range(5)]
        assert all(future.cancel() for future in cancelled)
        needs_failed = engine.submit(never, engine.submit(fail))
        go_on.set()
        assert first.result()
        assert isinstance(needs_failed.exception(), ValueError)
    values, _ = parse(engine.metrics())
    of_never = {name: value for (name, of), value in values.items() if of and of.endswith("never")}
    assert of_never["lineshaft_group_tasks_dropped_total"] == 6
    assert of_never["lineshaft_group_failures_total"] == of_never["lineshaft_group_tasks_finished_total"] == 0
    of_fail = {name: value for (name, of), value in values.items() if of and of.endswith("fail")}
    assert (of_fail["lineshaft_group_tasks_dropped_total"], of_fail["lineshaft_group_failures_total"]) == (0, 1)


def test_a_worker_has_no_engine_of_its_own():
    def ask():
        with ls.Engine(workers=1) as engine:
            return engine.metrics()

    with ls.Engine(workers=1) as engine, pytest.raises(RuntimeError, match="no engine of its own"):
        engine.submit(ask).result()
