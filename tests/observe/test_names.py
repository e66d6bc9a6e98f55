"""Functions of one name in different modules are told apart, and shown with their modules if there are several."""

import functools
import importlib
import subprocess
import sys

import pytest
from tests.answers import get

import lineshaft as ls

MODULE = """
import lineshaft as ls

def work(x):
    return x + ADDED

class Worker:
    def work(self, x):
        return x + ADDED

def around(x):
    return ls.submit(work, x).result()
"""


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """Return two modules that have the same functions."""
    folder = tmp_path_factory.mktemp("modules")
    for name, added in (("north", 1), ("south", 2)):
        (folder / f"{name}.py").write_text(f"ADDED = {added}\n{MODULE}")
    sys.path.insert(0, str(folder))
    try:
        yield [importlib.import_module(name) for name in ("north", "south")]
    finally:
        sys.path.remove(str(folder))


def tasks(engine):
    """Return how many tasks each function had, by what it is called on the dashboard."""
    rows = get(engine, "/api/groups")["rows"]
    shown = {row["name"]: row["submitted"] for row in rows}
    assert shown == {group["name"]: group["tasks"] for group in ls.default_engine_stats()["groups"]}
    return shown


def on_threads(function, x):
    return ls.task(threads=True)(function).submit(x).result()


def with_a_future(function, x):
    return ls.task(threads=True)(function).submit(ls.submit(abs, x)).result()


def in_processes(function, x):
    return ls.submit(function, x).result()


def mapped(function, x):
    return next(iter(ls.map(function, [x])))


def by_executor(function, x):
    with ls.ProcessPoolExecutor(1) as executor:
        return next(executor.map(function, [x], chunksize=2))


def by_thread_executor(function, x):
    with ls.ThreadPoolExecutor(1) as executor:
        return executor.submit(function, x).result()


def by_pool(function, x):
    with ls.Pool(1) as pool:
        return pool.map(function, [x], chunksize=2)[0]


def by_joblib(function, x):
    joblib = pytest.importorskip("joblib")
    pytest.importorskip("lineshaft.joblib")
    with joblib.parallel_config("lineshaft", n_jobs=2):
        return joblib.Parallel()([joblib.delayed(function)(x)])[0]


def by_joblib_on_threads(function, x):
    joblib = pytest.importorskip("joblib")
    pytest.importorskip("lineshaft.joblib")
    with joblib.parallel_config("lineshaft", n_jobs=2):
        return joblib.Parallel(require="sharedmem")([joblib.delayed(function)(x)])[0]


def by_dask(function, x, scheduler="threads"):
    dask = pytest.importorskip("lineshaft.dask")
    delayed = pytest.importorskip("dask").delayed
    return delayed(function)(x).compute(scheduler=dask.get if scheduler == "threads" else dask.get_processes)


def by_dask_in_processes(function, x):
    return by_dask(function, x, "processes")


WAYS = [
    on_threads,
    with_a_future,
    in_processes,
    mapped,
    by_executor,
    by_thread_executor,
    by_pool,
    by_joblib,
    by_joblib_on_threads,
    by_dask,
    by_dask_in_processes,
]


@pytest.mark.parametrize("call", WAYS, ids=lambda way: way.__name__)
def test_functions_of_one_name_are_told_apart(modules, engine, call):
    north, south = modules
    assert call(north.work, 1) == 2
    shown = tasks(engine)
    shown.pop("abs", None)
    assert shown == {"work": 1}, "as long as there is but one"
    assert call(south.work, 1) == 3
    shown = tasks(engine)
    shown.pop("abs", None)
    assert shown == {"north.work": 1, "south.work": 1}


@pytest.mark.parametrize("call", [on_threads, in_processes, mapped], ids=lambda way: way.__name__)
def test_methods_and_partial_calls_are_those_of_their_modules(modules, engine, call):
    for module in modules:
        call(module.Worker().work, 1)
        call(functools.partial(module.work), 1)
    expected = {f"{module}.{name}": 1 for module in ("north", "south") for name in ("Worker.work", "work")}
    assert tasks(engine) == expected


def test_nested_calls_are_those_of_their_modules(modules, engine):
    north, south = modules
    assert [ls.submit(module.around, 1).result() for module in (north, south)] == [2, 3]
    assert ls.submit(north.work, 1).result() == 2
    assert tasks(engine) == {"north.around": 1, "south.around": 1, "north.work": 2, "south.work": 1}


def test_metrics_keep_their_labels(modules, engine):
    def finished():
        name = "lineshaft_group_tasks_finished_total"
        return {line for line in engine.metrics().splitlines() if line.startswith(name + "{")}

    north, south = modules
    in_processes(north.work, 1)
    before = finished()
    assert before == {'lineshaft_group_tasks_finished_total{group="work",module="north"} 1'}
    in_processes(south.work, 1)
    assert finished() - before == {'lineshaft_group_tasks_finished_total{group="work",module="south"} 1'}
    assert before <= finished()


PROGRAM = """
import lineshaft as ls

def work(x):
    return -x

def call(x):
    return work(x)

if __name__ == "__main__":
    # What a function needs goes to workers under its name too, and is counted nowhere.
    ls.submit(call, 1).result()
    ls.submit(work, 1).result()
    # By this name `multiprocessing` imports the main module.
    work.__module__ = "__mp_main__"
    ls.task(threads=True)(work).submit(1).result()
    work.__module__ = "__main__"
    ls.task(threads=True)(work).submit(1).result()
    print(sorted((group["name"], group["tasks"]) for group in ls.default_engine_stats()["groups"]))
"""


def test_the_main_module_has_one_name(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "[('call', 1), ('work', 3)]\n"
