"""Tasks that the front ends make for themselves are nobody's: they run, and are shown nowhere."""

import pytest
from tests.answers import get
from tests.events import eventually

import lineshaft as ls


def named_everywhere(engine):
    """Return the names of functions that any page, summary or metric has, and how many tasks are counted."""
    overview = get(engine, "/api/overview")
    tasks = get(engine, "/api/tasks")
    timeline = get(engine, "/api/timeline?from_s=0&to_s=3600&columns=500")
    stats = ls.default_engine_stats()
    names = [
        {group["name"] for group in overview["groups"]},
        {group["name"] for group in get(engine, "/api/groups")["rows"]},
        {task["name"] for task in tasks["rows"]},
        {group["name"] for group in timeline["groups"]},
        {group["name"] for group in stats["groups"]},
        {
            line.split('"')[1]
            for line in engine.metrics().splitlines()
            if line.startswith("lineshaft_group_tasks_finished_total")
        },
    ]
    counts = {overview["tasks"]["submitted"], tasks["found"], stats["tasks"]}
    assert len(counts) == 1
    assert overview["beyond"] == dict.fromkeys(overview["beyond"], 0), "nothing is said to be missing"
    return names, counts.pop()


def double(x):
    return 2 * x


def plus(x, y):
    return x + y


@pytest.mark.parametrize("processes", [False, True])
def test_the_end_of_a_dask_graph(engine, event, processes):
    dask = pytest.importorskip("lineshaft.dask")
    pytest.importorskip("dask")
    leave = event("leave")
    from threading import Thread

    results = []
    compute = dask.get_processes if processes else dask.get
    graph = {"double": (double, 4), "wait": (leave.wait,), "plus": (plus, "double", 3)}
    caller = Thread(target=lambda: results.append(compute(graph, ["plus", "wait"])))
    caller.start()

    def only_one_is_left():
        tasks = get(engine, "/api/overview")["tasks"]
        return tasks["submitted"] == 3 and tasks["finished"] == 2

    eventually(only_one_is_left, "all but the one that waits have ended")
    tasks = get(engine, "/api/overview")["tasks"]
    assert [tasks[state] for state in ("waiting", "ready", "backoff", "ahead", "running")] == [0, 0, 0, 0, 1]
    assert engine._native.stats()["unfinished"] == 1
    leave.set()
    caller.join()
    assert results == [(11, True)]
    names, count = named_everywhere(engine)
    assert all(each == {"double", "plus", "wait"} for each in names)
    assert count == 3
    graph = get(engine, "/api/graph")
    assert (graph["edges"], [link["count"] for link in graph["links"]]) == (1, [1]), "plus needs double"
    assert graph["edges_unlinked"] == 0


def test_a_dask_graph_that_fails_has_one_task_that_did(engine):
    dask = pytest.importorskip("lineshaft.dask")
    pytest.importorskip("dask")
    with pytest.raises(ZeroDivisionError):
        dask.get({"bad": (divmod, 1, 0), "double": (double, "bad")}, "double")
    tasks = get(engine, "/api/overview")["tasks"]
    assert [tasks[state] for state in ("submitted", "finished", "failed", "dropped")] == [2, 0, 1, 1]


@pytest.mark.parametrize("processes", [False, True])
def test_where_a_dask_graph_ends(engine, processes):
    dask = pytest.importorskip("lineshaft.dask")
    pytest.importorskip("dask")

    compute = dask.get_processes if processes else dask.get
    assert compute({"double": (double, 4), "plus": (plus, "double", 3)}, "plus") == 11
    with ls.ProcessPoolExecutor(1) as executor:
        assert executor.submit(double, 1).result() == 2
        shown = get(engine, "/api/workers")
    kinds = [worker["kind"] for worker in shown["workers"]]
    assert kinds.count("threads") == (not processes)
    assert get(engine, "/api/overview")["workers"]["thread_pools"] == (not processes)
    # Nothing is missing in the numbers either.
    for numbers in ({worker["worker"] for worker in shown["workers"]}, {pool["number"] for pool in shown["pools"]}):
        assert numbers == set(range(1, len(numbers) + 1))


def outer(threads):
    from joblib import Parallel, delayed

    return sum(Parallel(2, require="sharedmem" if threads else None)(delayed(double)(x) for x in range(50)))


@pytest.mark.parametrize("threads", [False, True])
def test_probes_of_nested_calls_of_joblib(engine, threads):
    joblib = pytest.importorskip("joblib")
    pytest.importorskip("lineshaft.joblib")
    with joblib.parallel_config("lineshaft", n_jobs=2):
        assert joblib.Parallel()(joblib.delayed(outer)(threads) for _ in range(4)) == [2450] * 4
    names, _ = named_everywhere(engine)
    assert all("outer" in each and each <= {"outer", "double"} for each in names)
    tasks = get(engine, "/api/overview")["tasks"]
    assert tasks["failed"] == tasks["waiting"] == tasks["ready"] == 0
