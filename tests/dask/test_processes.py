"""Graphs in worker processes, and graphs in both."""

import importlib
import os
import signal
import sys
import threading
import traceback
import types
from pathlib import Path

import dask
import dask.bag as db
import numpy as np
import pytest
from dask._task_spec import List, Task, TaskRef
from tests.dask.nodes import add, fail, inc, place, where
from tests.events import eventually

import lineshaft as ls
import lineshaft.dask._raised
import lineshaft.errors
from lineshaft import _process
from lineshaft.dask import get, get_processes


def test_results():
    graph = {"x": 1, "y": (inc, "x"), "z": (add, "y", (inc, (inc, "x"))), "all": (sum, ["x", "y", "z"])}
    assert get_processes(graph, ["z", ["all", "x"], "y"]) == (5, (8, 1), 2)


def test_functions_of_the_program_and_nested_containers():
    graph = {
        "x": Task("x", lambda: 2),
        "y": Task("y", lambda pair, *, more: (pair, more), List(TaskRef("x"), 5), more=TaskRef("x")),
    }
    assert get_processes(graph, "y") == ([2, 5], 2)


def test_workers_of_another_number_than_the_engines_go_with_their_graph():
    with ls.Engine(workers=1) as engine:
        for num_workers in (4, 3, 2):
            graph = {("x", n): (inc, n) for n in range(8)}
            assert get_processes(graph, list(graph), num_workers=num_workers, engine=engine) == tuple(range(1, 9))
        eventually(lambda: not engine._native.stats()["workers"], "workers are still there")


def test_workers_are_where_the_program_is(tmp_path, monkeypatch):
    graph = {("place", n): (place, n) for n in range(8)}
    seen = [set(get_processes(graph, list(graph)))]
    for name in ("first", "second", "second", "first"):
        (tmp_path / name).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / name)
        monkeypatch.setenv("LINESHAFT_TEST_PLACE", name)
        seen.append(set(get_processes(graph, list(graph))))
    monkeypatch.undo()
    seen.append(set(get_processes(graph, list(graph))))
    start, first, second = {(Path.cwd(), None)}, {(tmp_path / "first", "first")}, {(tmp_path / "second", "second")}
    assert seen == [start, first, second, second, first, start]


def test_a_program_that_has_moved_has_the_same_workers_for_all_its_graphs(tmp_path, monkeypatch):
    def pids(engine):
        return {get_processes({"x": (os.getpid,)}, "x", engine=engine) for _ in range(3)}

    with ls.Engine(workers=1) as engine:
        monkeypatch.setenv("LINESHAFT_TEST_PLACE", "here")
        before = pids(engine)
        monkeypatch.chdir(tmp_path)
        moved = pids(engine)
        assert len(before) == len(moved) == 1
        assert before != moved
        assert engine.submit(os.getpid).result() in before
        monkeypatch.setenv("LINESHAFT_TEST_PLACE", "there")
        assert not pids(engine) & (before | moved)
        eventually(lambda: len(engine._native.stats()["workers"]) == 2, "workers of where the program was have ended")


def test_bags_run_in_workers_and_arrays_here():
    (pid, _), *_ = db.from_sequence(range(4), npartitions=2).map(where).compute(scheduler=get)
    assert pid != os.getpid()
    pid, _ = dask.delayed(where)().compute(scheduler=get)
    assert pid == os.getpid()


def test_a_bag():
    bag = db.from_sequence(range(1000), npartitions=7)
    even = bag.filter(lambda x: x % 2 == 0)
    with dask.config.set(scheduler="lineshaft"):
        assert even.map(lambda x: x * x).sum().compute() == sum(x * x for x in range(0, 1000, 2))
        assert even.frequencies().count().compute() == 500
        assert dict(bag.foldby(lambda x: x % 3, add, 0).compute()) == {k: sum(range(k, 1000, 3)) for k in range(3)}
        assert sorted(map(len, dict(bag.groupby(lambda x: x % 3).compute()).values())) == [333, 333, 334]


def test_workers_are_forked_from_the_program_if_dasks_configuration_says_so(monkeypatch):
    def is_there(name):
        return name in sys.modules

    for name in ("made_at_run_time", "made_later"):  # each graph sees the program as it is then
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        with dask.config.set({"multiprocessing.context": "fork"}):
            assert get_processes({"x": (is_there, name), "y": (where, "x")}, ["x", "y"])[0]
            assert dask.delayed(is_there)(name).compute(scheduler="lineshaft")
            assert db.from_sequence([name]).map(is_there).compute(scheduler="lineshaft") == [True]
        assert not get_processes({"x": (is_there, name)}, "x")


def test_each_task_may_choose_where_it_runs():
    with dask.annotate(lineshaft="processes"):
        there = dask.delayed(where)()
    here = dask.delayed(where)(there)
    with dask.annotate(lineshaft="processes"):
        there_again = dask.delayed(where)(here)
    both = dask.delayed(list)([there, here, there_again])
    pids = [pid == os.getpid() for pid, _ in both.compute(scheduler=get, optimize_graph=False)]
    assert pids == [False, True, False]
    with dask.annotate(lineshaft="elsewhere"), pytest.raises(ValueError, match="elsewhere"):
        dask.delayed(where)().compute(scheduler=get)


def test_arrays_go_between_threads_and_processes():
    make = Task("make", np.arange, 1 << 17)
    double = Task("double", np.multiply, TaskRef("make"), 2)
    total = Task("total", np.sum, TaskRef("double"))
    with dask.annotate(lineshaft="processes"):
        lazy = dask.delayed(np.multiply)(dask.delayed(np.arange)(1 << 17), 2)
    expected = (1 << 17) * ((1 << 17) - 1)
    assert dask.delayed(np.sum)(lazy).compute(scheduler=get) == expected
    assert get_processes({"make": make, "double": double, "total": total}, "total") == expected


class OnlyThere:
    """Can be loaded in worker processes only."""

    n = 5

    def __reduce__(self):
        return _load_in_worker, ()


def _load_in_worker():
    assert _process.session is not None, "an intermediate result was loaded in the parent"
    return OnlyThere()


def test_only_what_is_wanted_comes_back():
    graph = {"x": Task("x", _load_in_worker), "y": Task("y", lambda value: value.n, TaskRef("x"))}
    assert get_processes(graph, "y") == 5
    with pytest.raises(lineshaft.errors.SerializationError, match="loaded in the parent"):
        get_processes(graph, "x")


def fails_twice(x):
    try:
        fail(x)
    except ValueError as error:
        raise KeyError("twice") from error


def fails_again(x):
    try:
        fail(x)
    except ValueError:
        raise KeyError("again")  # noqa: B904 - the first is its context


def nested_failure(x):
    ls.submit(fails_twice, x).result()


def _raised(task):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the tests say which
        get_processes({"x": (inc, 1), "y": (task, "x"), "z": (inc, "y")}, "z")
    return caught.value


def _functions(error):
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


@pytest.mark.parametrize("task", [fails_twice, nested_failure])
def test_an_exception_has_its_own_traceback_and_cause(task):
    pytest.importorskip("tblib")
    error = _raised(task)
    assert task.__name__ in _functions(error)
    assert isinstance(error, KeyError)
    assert isinstance(error.__cause__, ValueError)
    assert (error.__cause__.__cause__, error.__context__) == (None, error.__cause__)
    if task is fails_twice:
        assert _functions(error)[-1] == "fails_twice"
        assert _functions(error.__cause__) == ["fails_twice", "fail"]


def test_an_exception_has_its_own_context():
    pytest.importorskip("tblib")
    error = _raised(fails_again)
    assert (error.__cause__, error.__suppress_context__) == (None, False)
    assert _functions(error.__context__) == ["fails_again", "fail"]


@pytest.mark.parametrize(
    ("task", "names"),
    [(fail, ["ValueError"]), (fails_twice, ["KeyError", "ValueError"]), (fails_again, ["KeyError", "ValueError"])],
)
def test_without_tblib_the_traceback_is_the_last_cause(task, names, monkeypatch):
    monkeypatch.setattr(lineshaft.dask._raised, "_traceback_class", lambda: None)
    error, found = _raised(task), []
    while not isinstance(error, lineshaft.errors.RemoteTraceback):
        found.append(type(error).__name__)
        error = error.__cause__ or error.__context__
    assert found == names
    assert "in fail" in error.text


def test_a_dead_worker_is_named_and_the_engine_goes_on():
    with pytest.raises(lineshaft.errors.WorkerDied):
        get_processes({"x": (inc, 1), "y": (os.kill, (os.getpid,), signal.SIGKILL), "z": (add, "x", "y")}, "z")
    assert get_processes({"x": (inc, 1)}, "x") == 2


def test_what_cannot_be_sent_is_told():
    with pytest.raises(lineshaft.errors.SerializationError, match="lock"):
        get_processes({"x": Task("x", inc, threading.Lock())}, "x")


def test_rerun_exceptions_locally():
    def fail_there(x):
        raise ValueError(os.getpid(), x)

    with pytest.raises(ValueError, match="2") as caught:
        get_processes({"x": (inc, 1), "y": (fail_there, "x")}, "y", rerun_exceptions_locally=True)
    assert caught.value.args == (os.getpid(), 2)


def test_an_initializer_has_workers_of_its_own():
    with dask.config.set({"multiprocessing.initializer": _note}):
        assert get_processes({"x": (_noted,)}, "x") == "noted"
    assert get_processes({"x": (_noted,)}, "x") is None


def _note():
    os.environ["LINESHAFT_TEST_NOTE"] = "noted"


def _noted():
    return os.environ.get("LINESHAFT_TEST_NOTE")


def test_compute_inside_of_a_worker():
    def inner(n):
        return dask.delayed(sum)([dask.delayed(inc)(i) for i in range(n)]).compute(scheduler=get)

    bag = db.from_sequence([3, 4, 5], npartitions=3)
    assert bag.map(inner).compute(scheduler=get) == [6, 10, 15]


def test_a_worker_knows_the_scheduler_by_its_name(tmp_path, monkeypatch):
    # In a module of its own, because this one imports what makes the name known.
    (tmp_path / "named_scheduler.py").write_text(
        "import dask\ndef inner(n):\n    return dask.delayed(sum)(range(n)).compute(scheduler='lineshaft')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    inner = importlib.import_module("named_scheduler").inner
    with ls.Engine(workers=1) as engine:
        assert engine.submit(inner, 4).result() == 6


def test_equal_objects_have_equal_hashes_in_all_workers():
    graph = {("hash", i): (hash, f"text {i % 2}") for i in range(40)}
    with ls.Engine(workers=3) as engine:
        assert len(set(get_processes(graph, list(graph), engine=engine))) == 2


def test_what_tasks_change_other_tasks_and_graphs_do_not_see():
    """As with Dask, which pickles functions and what they look up for each task."""
    main = vars(importlib.import_module("__main__"))
    captured: list[int] = []

    def gather(n):
        captured.append(n)
        return list(captured)

    exec("shared = []\ndef look_up(n): shared.append(n); return list(shared)", main)
    try:
        for first in (5, 6):
            main["shared"][:] = [first]
            graph = {("x", n): (main["look_up"], n) for n in range(4)} | {("y", n): (gather, n) for n in range(4)}
            results = get_processes(graph, [list(graph)])[0]
            assert results == tuple([[first, n] for n in range(4)] + [[n] for n in range(4)])
    finally:
        del main["shared"], main["look_up"]


limits = {"most": 3}


def test_local_functions_find_the_globals_of_their_module_as_they_are(monkeypatch):
    def check(x):
        assert x < limits["most"], "too big"  # pytest has made this look up a global of its own
        return x

    assert get_processes({"x": Task("x", check, 2)}, "x") == 2
    with pytest.raises(AssertionError, match="too big"):
        get_processes({"x": Task("x", check, 3)}, "x")
    monkeypatch.setitem(limits, "most", 10)
    assert get_processes({"x": Task("x", check, 3)}, "x") == 3
