"""Where tasks of this program raised: the page of each has its traceback, as of those in worker processes."""

import re
from pathlib import Path

import dask
import pytest
from tests.answers import get

import lineshaft as ls
import lineshaft.dask
import lineshaft.joblib
import lineshaft.pool
from joblib import Parallel, delayed, parallel_config

#: Where our own files are.
PACKAGE = str(Path(ls.__file__).parent)


def tracebacks_of(state="failed"):
    """Return the tracebacks of the last task that ended so."""
    (row, *_) = get(ls.default_engine(), f"/api/tasks?state={state}")["rows"]
    return [row["text"] for row in get(ls.default_engine(), f"/api/tasks/{row['task']}")["tracebacks"]]


def divide(number):
    try:
        return 1 / number
    except ZeroDivisionError as error:
        raise KeyError("no such share") from error


def halve(number):
    return divide(number) / 2


async def halve_in_turn(number):
    return halve(number)


def on_a_thread():
    ls.task(halve, threads=True).submit(0).result()


def in_an_executor():
    with ls.ThreadPoolExecutor(1) as executor:
        executor.submit(halve, 0).result()


def in_a_thread_pool():
    with lineshaft.pool.ThreadPool(1) as pool:
        pool.apply(halve, (0,))


def in_a_chunk_of_a_thread_pool():
    with lineshaft.pool.ThreadPool(1) as pool:
        pool.map(halve, [0, 1], chunksize=2)


def in_a_coroutine():
    ls.task(halve_in_turn).submit(0).result()


def in_a_coroutine_in_a_worker_process():
    ls.task(halve_in_turn, processes=True).submit(0).result()


def in_a_batch_of_joblib():
    with parallel_config("lineshaft", require="sharedmem"):
        Parallel(2)(delayed(halve)(number) for number in (0, 1))


def in_a_task_of_dask():
    dask.delayed(halve)(0).compute(scheduler=lineshaft.dask.get_threads)


def in_a_worker_process():
    ls.submit(halve, 0).result()


@pytest.mark.parametrize(
    "fail",
    [
        on_a_thread,
        in_an_executor,
        in_a_thread_pool,
        in_a_chunk_of_a_thread_pool,
        in_a_coroutine,
        in_a_coroutine_in_a_worker_process,
        in_a_batch_of_joblib,
        in_a_task_of_dask,
        in_a_worker_process,
    ],
)
def test_what_a_task_raised_is_kept_with_its_causes_from_the_users_first_frame_on(fail):
    with pytest.raises(KeyError, match="no such share"):
        fail()
    (text,) = tracebacks_of()
    assert text.startswith("Traceback (most recent call last):\n")
    cause, raised = text.split("\nThe above exception was the direct cause of the following exception:\n")
    assert cause.rstrip().endswith("ZeroDivisionError: division by zero")
    assert raised.rstrip().endswith("KeyError: 'no such share'")
    files = re.findall(r'File "(.*)", line \d+, in (.*)\n', raised)
    assert not any(file.startswith(PACKAGE) or "/asyncio/" in file for file, _ in files)
    # joblib's own batches make the calls of those that run on threads.
    names = [name for file, name in files if file == __file__]
    assert names == (["halve_in_turn"] if fail.__name__.startswith("in_a_coroutine") else []) + ["halve", "divide"]


@pytest.mark.parametrize("function", [halve, halve_in_turn])
def test_each_attempt_has_its_own(function):
    with pytest.raises(KeyError):
        ls.task(function, threads=function is halve, retries=2).submit(0).result()
    assert len(tracebacks_of()) == 3


def raise_something_long():
    raise ValueError(f"the beginning {'x' * 100_000} the end")


def test_of_a_long_one_both_ends_are_kept():
    with pytest.raises(ValueError, match="the beginning"):
        ls.task(raise_something_long, threads=True).submit().result()
    (text,) = tracebacks_of()
    assert re.search(r"\nValueError: the beginning x+\n\[\.\.\. \d+ bytes are left out", text)
    assert text.endswith("x the end\n")


class UnrulyError(Exception):
    def __str__(self):
        raise RuntimeError


def test_what_cannot_be_shown_is_named():
    def fail():
        raise UnrulyError

    with pytest.raises(UnrulyError):
        ls.task(fail, threads=True).submit().result()
    (text,) = tracebacks_of()
    assert "UnrulyError" in text


def test_what_did_not_raise_has_none():
    assert ls.task(halve, threads=True).submit(1).result() == 0.5
    assert tracebacks_of("finished") == []
