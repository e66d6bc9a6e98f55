"""Graphs on threads: every shape, results, errors, and what is kept of them."""

import contextvars
import os
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import dask
import dask.array as da
import dask.bag as db
import numpy as np
import pytest
from dask._task_spec import Alias, DataNode, List, Task, TaskRef
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from tests.dask.nodes import Tracked, add, fail, inc, where
from tests.events import eventually

import lineshaft as ls
from lineshaft.dask import get, get_threads

LEGACY = {"x": 1, "y": (inc, "x"), "z": (add, "y", (inc, (inc, "x"))), "all": (sum, ["x", "y", "z"])}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [("z", 5), (["z"], (5,)), (["z", "x", "z"], (5, 1, 5)), ([["x", ["all"]], "y"], ((1, (8,)), 2)), ([], ())],
)
def test_results_come_back_in_the_shape_of_the_keys(keys, expected):
    assert get(LEGACY, keys) == expected


def test_graphs_of_every_kind_mean_the_same():
    nodes = {
        "x": DataNode("x", 1),
        "also x": Alias("also x", "x"),
        "y": Task("y", inc, TaskRef("also x")),
        "also y": Alias("also y", "y"),
        "again y": Alias("again y", "also y"),
        "sum": Task("sum", sum, List(TaskRef("y"), TaskRef("again y"), TaskRef("also x"), 5)),
    }
    layers = HighLevelGraph({"all": MaterializedLayer(nodes)}, {"all": set()})
    for graph in (nodes, layers, {**nodes, "sum": (sum, ["y", "again y", "also x", 5])}):
        assert get(graph, ["sum", "again y", "also x"]) == (10, 2, 1)


def test_keys_may_be_anything_hashable():
    graph = {("a", 0, 1): (inc, 1), 5: (inc, ("a", 0, 1)), 1.5: (add, 5, 5)}
    assert get(graph, [1.5, ("a", 0, 1)]) == (6, 2)


def test_a_value_that_looks_like_nothing_is_a_value():
    assert get({"x": None, "y": [1, 2], "z": (), "w": (list, ["x", "y"])}, ["x", "y", "z", "w"]) == (
        None,
        [1, 2],
        (),
        [None, [1, 2]],
    )


def test_only_what_is_needed_runs():
    ran = []
    graph = {"x": (ran.append, 1), "y": (ran.append, 2), "z": (inc, 1)}
    get(graph, ["x", "z"])
    assert ran == [1]


def test_each_task_runs_once_however_often_it_is_needed():
    ran = []
    graph = {"x": (ran.append, 1), **{("use", i): (where, "x") for i in range(50)}}
    get(graph, [("use", i) for i in range(50)])
    assert ran == [1]


def test_collections_through_the_name_of_the_scheduler():
    with dask.config.set(scheduler="lineshaft"):
        x = da.arange(100, chunks=7)
        assert int((x + x[::-1]).sum().compute()) == 9900
        total = dask.delayed(sum)([dask.delayed(inc)(i) for i in range(20)])
        array_sum, delayed_sum = dask.compute(x.sum(), total)
        assert (int(array_sum), delayed_sum) == (4950, 210)
        persisted = (x + 1).persist()
        assert int(persisted.sum().compute()) == 5050
        assert dask.compute({"a": [x.min(), 5]}) == ({"a": [0, 5]},)


def test_a_bag_and_an_array_together():
    bag, array = db.from_sequence(range(20), npartitions=4).map(inc), da.arange(10, chunks=5)
    items, total = dask.compute(bag, array.sum(), scheduler=get)
    assert (items, int(total)) == (list(range(1, 21)), 45)


# errors


def test_builtins_have_a_caller():
    assert get({"sum": (eval, "1 + 2")}, "sum") == 3


def test_an_exception_is_the_one_that_was_raised_with_its_traceback():
    with pytest.raises(ValueError, match="cannot work on 2") as caught:
        get({"x": (inc, 1), "y": (fail, "x"), "z": (inc, "y")}, "z")
    assert "in fail" in "".join(traceback.format_exception(caught.value))
    assert get(LEGACY, "z") == 5


def test_tracebacks_are_shown_without_frames_of_schedulers():
    shortened = [frames for frames in dask.config.get("admin.traceback.shorten") if "lineshaft" not in frames]
    # As `dask.config.refresh` leaves it.
    with dask.config.set({"admin.traceback.shorten": shortened}), ThreadPoolExecutor(1) as pool:
        for options in ({}, {"pool": pool}):
            with pytest.raises(ValueError, match="cannot work on 1") as raised:
                dask.delayed(fail)(1).compute(scheduler=get, **options)
            assert {entry.name for entry in raised.traceback[1:]} == {"compute", "fail"}


def test_an_exception_is_raised_while_others_run_and_nothing_new_begins(event):
    release, ran = event("release"), []

    def hold(i):
        ran.append(i)
        release.wait()

    graph = {"bad": (fail, 1), **{("hold", i): (hold, i) for i in range(100)}}
    with pytest.raises(ValueError, match="1"):
        get_threads(graph, list(graph), num_workers=2)
    release.set()
    ls.default_engine()._pool("threads", 2).wait_idle()
    assert len(ran) < 10


def test_missing_keys_and_circles_are_told():
    with pytest.raises(KeyError, match="nothing"):
        get(LEGACY, "nothing")
    with pytest.raises(KeyError) as caught:
        get(LEGACY, [("a", 1)])
    assert caught.value.args == (("a", 1),)
    with pytest.raises(ValueError, match="Missing dependency b"):
        get({"a": Task("a", inc, TaskRef("b"))}, "a")
    for alias in ({"a": Alias("a", "b")}, {"a": Task("a", inc, TaskRef("c")), "c": Alias("c", "b")}):
        with pytest.raises(ValueError, match=r"Missing dependency b for dependents \{'[ac]'\}"):
            get(alias, "a")
    with pytest.raises(RuntimeError, match="Cycle detected"):
        get({"a": (inc, "b"), "b": (inc, "c"), "c": (inc, "a")}, "a")
    with pytest.raises(RuntimeError, match="Cycle detected"):
        get({"a": Alias("a", "b"), "b": Alias("b", "a")}, "a")
    # If both are wrong, Dask tells of the circle, whichever comes first.
    for graph in ({"a": (sum, [TaskRef("b"), "a"])}, {"a": (sum, ["a", TaskRef("b")])}, {0: 0, "a": (max, 0, "a")}):
        with pytest.raises(RuntimeError, match="Cycle detected"):
            get(graph, "a")


def test_rerun_exceptions_locally_calls_the_task_once_more_here():
    threads = []

    def note_and_fail(x):
        threads.append((threading.get_ident(), x))
        raise ValueError(x)

    graph = {"x": 1, "also x": Alias("also x", "x"), "y": (inc, "also x"), "z": (note_and_fail, "y")}
    with pytest.raises(ValueError, match="2"):
        get(graph, "z", rerun_exceptions_locally=True)
    (there, _), (here, x) = threads
    assert (here, x) == (threading.get_ident(), 2)
    assert there != here


# how tasks run


def test_tasks_see_the_context_of_the_caller_and_not_each_others():
    variable = contextvars.ContextVar("variable", default="none")

    def read_and_set(i):
        before = variable.get()
        variable.set(i)
        return before

    variable.set("caller")
    found = get({("x", i): (read_and_set, i) for i in range(20)}, [("x", i) for i in range(20)])
    assert set(found) == {"caller"}
    assert variable.get() == "caller"


@pytest.mark.parametrize("depth", [1, 4])
def test_compute_inside_of_tasks(depth):
    def tree(depth):
        if depth == 0:
            return 1
        return sum(dask.compute(*[dask.delayed(tree, pure=False)(depth - 1) for _ in range(3)], scheduler=get))

    assert get({"x": (tree, depth)}, "x") == 3**depth


def test_num_workers_bounds_what_runs_at_the_same_time():
    running, most, lock = set(), [0], threading.Lock()

    def run(i):
        with lock:
            running.add(i)
            most[0] = max(most[0], len(running))
        os.sched_yield()
        with lock:
            running.remove(i)

    get({("x", i): (run, i) for i in range(200)}, [("x", i) for i in range(200)], num_workers=1)
    assert most == [1]


def test_graphs_of_several_threads_at_once():
    results = {}

    def compute(i):
        results[i] = get({"x": i, **{(j,): (add, "x", j) for j in range(50)}}, [(j,) for j in range(50)])

    threads = [threading.Thread(target=compute, args=[i]) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {i: tuple(range(i, i + 50)) for i in range(8)}


def test_priority_decides_among_tasks_that_could_run():
    order = []
    with dask.annotate(priority=lambda key: int(key.startswith("urgent"))):
        later = [dask.delayed(order.append)(i, dask_key_name=f"later-{i}") for i in range(5)]
        urgent = dask.delayed(order.append)(9, dask_key_name="urgent-9")
    dask.compute(*later, urgent, scheduler=get, num_workers=1)
    assert order == [9, 0, 1, 2, 3, 4]


@pytest.mark.parametrize("priority", [10**30, float("inf"), -float("inf"), 1.5, np.int64(3)])
def test_every_number_is_a_priority(priority):
    with dask.annotate(priority=priority):
        lazy = dask.delayed(inc)(1)
    assert lazy.compute(scheduler=get) == 2


@pytest.mark.parametrize(("name", "value"), [("priority", float("nan")), ("retries", -1), ("retries", 1.5)])
def test_annotations_that_make_no_sense(name, value):
    with dask.annotate(**{name: value}):
        lazy = dask.delayed(inc)(1)
    with pytest.raises(ValueError, match=f"the annotation {name} must be .*{value}"):
        lazy.compute(scheduler=get)


@pytest.mark.parametrize(
    ("options", "kind"),
    [({"num_workers": -1}, ValueError), ({"num_workers": 1.7}, ValueError), ({"engine": 5}, TypeError)],
)
def test_options_that_make_no_sense(options, kind):
    ((name, value),) = options.items()
    with pytest.raises(kind, match=f"{name} must be .*{value}"):
        dask.delayed(inc)(1).compute(scheduler=get, **options)


def test_retries_run_a_task_again():
    attempts = []

    def fail_twice():
        attempts.append(1)
        if len(attempts) < 3:
            raise ValueError("not yet")
        return len(attempts)

    with dask.annotate(retries=2):
        lazy = dask.delayed(fail_twice)()
    assert lazy.compute(scheduler=get) == 3


def test_an_engine_of_ones_own():
    with ls.Engine(workers=1) as engine:
        assert get(LEGACY, "z", engine=engine) == 5


# memory


def test_results_go_when_the_last_task_that_needs_them_has_run():
    def make():
        # Longer than the work that a thread is handed ahead of time.
        deadline = time.perf_counter() + 0.004
        while time.perf_counter() < deadline:
            pass
        return Tracked()

    graph = {("make", i): (make,) for i in range(50)}
    graph |= {("use", i): (id, ("make", i)) for i in range(50)}
    Tracked.most = 0
    get({**graph, "end": (len, [("use", i) for i in range(50)])}, "end", num_workers=2)
    eventually(lambda: Tracked.now == 0, "no result is left")
    assert Tracked.most < 10


def test_nothing_of_a_graph_stays_after_it():
    before = Tracked.now
    kept = get({"x": (Tracked,), "y": (Tracked, "x"), "z": (Tracked, "y")}, "y")
    eventually(lambda: Tracked.now == before + 1, "what was asked for is left")
    with pytest.raises(ValueError, match="Tracked"):
        get({"x": (Tracked,), "y": (fail, "x")}, "y")
    del kept
    eventually(lambda: Tracked.now == before, "nothing is left")


def test_a_long_chain():
    graph = {("x", 0): 0, **{("x", i): (inc, ("x", i - 1)) for i in range(1, 50_000)}}
    assert get(graph, ("x", 49_999)) == 49_999
