"""Dask's diagnostics see what they see with Dask's own schedulers."""

import io

import dask
import dask.array as da
import pytest
from dask._task_spec import Task, TaskRef
from dask.cache import Cache
from dask.callbacks import Callback
from dask.diagnostics import CacheProfiler, Profiler, ProgressBar, ResourceProfiler
from tests.dask.nodes import add, fail, inc
from tests.events import eventually

from lineshaft.dask import get, get_processes, get_threads

GRAPH = {"x": 1, "y": (inc, "x"), "z": (add, "y", "y"), "w": (add, "z", "y")}


@pytest.mark.parametrize("scheduler", [get_threads, get_processes])
def test_a_callback_sees_each_task_begin_and_end(scheduler):
    seen = []
    callback = Callback(
        start=lambda dsk: seen.append(("start", len(dsk))),
        start_state=lambda dsk, state: seen.append(("state", len(state["ready"]))),
        pretask=lambda key, dsk, state: seen.append(("pre", key)),
        posttask=lambda key, result, dsk, state, worker: seen.append(("post", key, result)),
        finish=lambda dsk, state, errored: seen.append(("finish", errored)),
    )
    with callback:
        assert scheduler(GRAPH, "w") == 6
    assert seen == [
        ("start", 4),
        ("state", 1),
        *[("pre", "y"), ("post", "y", 2)],
        *[("pre", "z"), ("post", "z", 4)],
        *[("pre", "w"), ("post", "w", 6)],
        ("finish", False),
    ]


def test_a_callback_is_told_of_an_error():
    finished = []
    callback = Callback(finish=lambda dsk, state, errored: finished.append(errored))
    with callback, pytest.raises(ValueError, match="1"):
        get({"x": (fail, 1)}, "x")
    assert finished == [True]


def test_callbacks_are_for_the_outermost_graph():
    keys = []
    inner = dask.delayed(inc)(1, dask_key_name="inner")
    with Callback(pretask=lambda key, *_: keys.append(key)):
        get({"outer": (lambda: inner.compute(scheduler=get),)}, "outer")
    assert keys == ["outer"]


@pytest.mark.parametrize("scheduler", [get, get_processes])
def test_a_progress_bar(scheduler):
    out = io.StringIO()
    with ProgressBar(out=out):
        assert scheduler(GRAPH, "w") == 6
    assert "100% Completed" in out.getvalue()
    with ProgressBar(out=(failed := io.StringIO())), pytest.raises(ValueError, match="1"):
        scheduler({"x": (fail, 1)}, "x")
    assert "100%" not in failed.getvalue()


def test_a_progress_bar_counts_the_tasks_that_have_ended():
    bar, counts = ProgressBar(out=io.StringIO()), []

    def look(_):
        eventually(lambda: bar._state is not None, "the bar was not told of the graph")
        counts.append((len(bar._state["finished"]), len(bar._state["running"])))

    with bar:
        get({"x": (inc, 1), "y": (look, "x"), "not needed": (inc, 1)}, ["y"])
    assert counts == [(1, 2)]  # the look itself, and the end of the graph


def test_profilers():
    x = da.ones(100, chunks=10)
    with Profiler() as tasks, ResourceProfiler(dt=0.01) as resources, CacheProfiler() as cache:
        (x + 1).sum().compute(scheduler=get)
    assert len(tasks.results) >= 10
    assert len(cache.results) == len(tasks.results)
    assert resources.results is not None


def test_an_opportunistic_cache():
    ran = []

    def slow(x):
        ran.append(x)
        return x

    pytest.importorskip("cachey")
    cache = Cache(1_000_000)
    with cache:
        assert get({"x": (slow, 5)}, "x") == get({"x": (slow, 5)}, "x") == 5
    assert ran == [5]


def test_a_cache_of_results():
    assert get({"z": Task("z", add, TaskRef("y"), 1)}, "z", cache={"y": 10}) == 11
