"""Arguments of tasks that took long or failed, as the page of a task shows them."""

import time

import numpy as np
import pytest
from tests.answers import get

import lineshaft as ls
import lineshaft._chunks
import lineshaft.dask
from lineshaft._arguments import show


def told(engine, future):
    """Return what the engine tells of a task's arguments, and the last task."""
    future.exception()
    (row, *_) = get(engine, "/api/tasks")["rows"]
    return arguments_of(engine, row)


def arguments_of(engine, row):
    return [text["text"] for text in get(engine, f"/api/tasks/{row['task']}")["arguments"]]


def divide(*_):
    return 1 / 0


def compute(*_, raises=False, seconds=0.0, **__):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
    if raises:
        raise ValueError


async def compute_in_turn(*args, **kwargs):
    compute(*args, **kwargs)


@pytest.mark.parametrize("how", [{}, {"threads": True}])
@pytest.mark.parametrize("function", [compute, compute_in_turn])
def test_what_failed_or_took_long_has_them_and_nothing_else(function, how):
    with ls.Engine(workers=1) as engine:
        task = ls.task(function, engine=engine, **how)
        assert told(engine, task.submit(1, "two", raises=True)) == ["1, 'two', raises=True"]
        assert told(engine, task.submit(np.zeros((2, 3)), seconds=0.02)) == [
            "ndarray(float64, shape=(2, 3)), seconds=0.02"
        ]
        assert told(engine, task.submit(raises=True)) == ["raises=True"]
        looked = time.perf_counter()
        short = task.submit("short")
        short.result()
        if time.perf_counter() - looked < 0.01:  # it cannot have taken longer than this
            assert told(engine, short) == []


def test_each_attempt_has_its_own():
    with ls.Engine(workers=1) as engine:
        future = ls.task(compute, engine=engine, retries=1).submit(7, raises=True)
        assert told(engine, future) == ["7, raises=True"] * 2


def test_of_a_batch_it_is_the_item_that_raised_or_the_first():
    def reciprocal(number):
        return 1 / number

    def wait(number):
        compute(seconds=0.02)
        return number

    with ls.Engine(workers=1) as engine:
        pool = ls.task(reciprocal, engine=engine)._pool()
        assert told(engine, pool.submit_each(reciprocal, [(2,), (0,), (1,)])) == ["0"]
        assert told(engine, pool.submit_each(wait, [(2,), (0,), (1,)])) == ["2, the first of 3 items"]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ((divide, "table", "number", "two"), "ndarray(float64, shape=(2, 3)), 7, 'two'"),
        # What has calls or lists among its arguments has what it needs of other tasks.
        ((divide, [["number"]]), "{'number': 7}"),
    ],
)
def test_of_tasks_of_dask_on_threads_they_are_what_the_graph_names(call, expected):
    graph = {"table": (np.zeros, (2, 3)), "number": (abs, -7), "divided": call}
    with pytest.raises(ZeroDivisionError):
        lineshaft.dask.get_threads(graph, "divided")
    rows = get(ls.default_engine(), "/api/tasks")["rows"]
    assert arguments_of(ls.default_engine(), next(row for row in rows if row["name"] == "divided")) == [expected]


def not_seven(number, by_name=None):
    if number == 7:
        raise IndexError


def not_seven_of_two(first, second):
    not_seven(first)


class NotSeven:
    def __call__(self, number):
        not_seven(number)


def by_pool(numbers):
    with ls.Pool(1) as pool:
        pool.map(not_seven, numbers, chunksize=5)


def by_pool_of_something_with_a_state(numbers):
    with ls.Pool(1) as pool:
        pool.map(NotSeven(), numbers, chunksize=5)


def by_pool_with_several(numbers):
    with ls.Pool(1) as pool:
        pool.starmap(not_seven_of_two, [(number, "two") for number in numbers], chunksize=5)


def by_threads(numbers):
    with ls.ThreadPool(1) as pool:
        pool.map(not_seven, numbers, chunksize=5)


def by_executor(numbers):
    with ls.ProcessPoolExecutor(1) as executor:
        list(executor.map(not_seven, numbers, chunksize=5))


def by_joblib(numbers, functions=(not_seven, not_seven), **how):
    joblib = pytest.importorskip("joblib")
    pytest.importorskip("lineshaft.joblib")
    calls = [(functions[number % 2], (number,), {"by_name": "two"}) for number in numbers]
    with joblib.parallel_config("lineshaft", n_jobs=2):
        joblib.Parallel(batch_size=5, pre_dispatch="all", **how)(calls)


def other_than_seven(number, by_name):
    not_seven(number)


def by_joblib_with_several_functions(numbers):
    by_joblib(numbers, (not_seven, other_than_seven))


def by_joblib_on_threads(numbers):
    by_joblib(numbers, require="sharedmem")


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (by_pool, "7"),
        (by_pool_of_something_with_a_state, "7"),
        (by_pool_with_several, "7, 'two'"),
        (by_threads, "7"),
        (by_executor, "7"),
        (by_joblib, "7, by_name='two'"),
        (by_joblib_with_several_functions, "7, by_name='two'"),
        # There joblib's own loop calls it.
        (by_joblib_on_threads, "5, by_name='two', the first of 5 calls"),
    ],
)
def test_of_a_chunk_they_are_those_of_the_call_that_raised(call, expected):
    ls.default_engine().shutdown(wait=False)
    engine = ls.default_engine()
    with pytest.raises(IndexError):
        call(range(10))
    (row,) = get(engine, "/api/tasks?state=failed")["rows"]
    told = get(engine, f"/api/tasks/{row['task']}")["arguments"]
    assert [text["text"] for text in told] == [expected]


def test_of_a_task_that_runs_a_chunk_itself_they_are_its_own():
    def run_chunk_inside(name):
        lineshaft._chunks.over_chunk(not_seven)([6, 7, 8])

    with ls.Engine(workers=1) as engine:
        assert told(engine, engine.submit(run_chunk_inside, "mine")) == ["'mine'"]


class Unruly:
    def __repr__(self):
        raise RuntimeError


def test_they_are_short_whatever_they_are():
    huge = [np.zeros(10), dict.fromkeys(range(1000), "x" * 1000), list(range(10**6)), 10**10_000, "y" * 10**7]
    text = show((huge,), dict.fromkeys("abcdef", huge))
    assert len(text) <= 200
    assert text.startswith("[ndarray(float64, shape=(10,)), {0: 'xxx")
    assert show((Unruly(),)) == "<Unruly, repr() of which raises RuntimeError>"
    assert show(()) == "none"
    itself = []
    itself.append(itself)
    assert show((itself, 10**10_000)) == "[[[[...]]]], <int of 33220 bits>"
