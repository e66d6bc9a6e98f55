"""Recipes that programs carry along, which reach into `multiprocessing.pool` as it is."""

import itertools
import multiprocessing.pool as stdlib
import threading
from concurrent.futures import CancelledError

import pytest
from tests.events import PATIENCE_S, enter_and_wait, eventually

from lineshaft.pool.feed import WINDOW_ITEMS_MAX

from .test_contract import SaidWhenError, fail_on_odd, items_until


def istarmap(pool, func, iterable, chunksize=1, kind=stdlib.IMapIterator):
    """Do as `starmap` does, lazily: the recipe that bars for `starmap` are made with."""
    pool._check_running()
    batches = type(pool)._get_tasks(func, iterable, chunksize)
    result = kind(pool)
    tasks = pool._guarded_task_generation(result._job, stdlib.starmapstar, batches)
    pool._taskqueue.put((tasks, result._set_length))
    return (item for chunk in result for item in chunk)


def pairs_until(total, when):
    return ((i,) for i in items_until(total, when))


@pytest.mark.parametrize("chunksize", [1, 7])
@pytest.mark.parametrize("total", [0, 1, 500])
def test_starmap_in_order(pool, total, chunksize):
    assert list(istarmap(pool, pow, ((i, 2) for i in range(total)), chunksize)) == [i * i for i in range(total)]
    eventually(lambda: not pool._cache, "results that are complete are forgotten")


def test_starmap_in_order_of_completion(thread_pool_class):
    release = threading.Event()
    with thread_pool_class(2) as pool:
        calls = [(release.wait, (10,)), (abs, (-1,))]
        results = istarmap(pool, lambda call, args: call(*args), calls, kind=stdlib.IMapUnorderedIterator)
        assert next(results) == 1
        release.set()
        assert list(results) == [True]
    pool.join()


def test_what_calls_and_the_input_raise(pool):
    with pytest.raises(ValueError, match="odd: 1"):
        list(istarmap(pool, fail_on_odd, [(0,), (1,)]))
    results = istarmap(pool, abs, pairs_until(10, 3))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(SaidWhenError):
        next(results)


def test_what_cannot_be_sent_fails_by_itself(process_pool_class):
    with process_pool_class(1) as pool:
        result = stdlib.IMapIterator(pool)
        tasks = [(result._job, 0, abs, (-1,), {}), (result._job, 1, id, (threading.Lock(),), {})]
        pool._taskqueue.put((tasks, result._set_length))
        assert next(result) == 1
        with pytest.raises(Exception, match="cannot"):
            next(result)
        with pytest.raises(StopIteration):
            next(result)
    pool.join()


def test_a_map_with_a_callback_for_all(pool):
    heard = []
    result = stdlib.MapResult(pool, 2, 5, heard.append, error_callback=None)
    batches = type(pool)._get_tasks(abs, range(0, -5, -1), 2)
    pool._taskqueue.put((pool._guarded_task_generation(result._job, stdlib.mapstar, batches), None))
    assert result.get(PATIENCE_S) == [0, 1, 2, 3, 4]
    assert heard == [[0, 1, 2, 3, 4]]


def test_join_waits_for_all_tasks(thread_pool_class):
    done = []
    pool = thread_pool_class(2)
    results = istarmap(pool, done.append, ((i,) for i in range(3000)))
    pool.close()
    pool.join()
    assert sorted(done) == list(range(3000))
    assert list(results) == [None] * 3000


def test_an_endless_input_waits_for_workers_and_ends_with_the_pool(thread_pool_class):
    release = threading.Event()
    read = itertools.count()
    with thread_pool_class(1) as pool:
        results = istarmap(pool, lambda i: release.wait() and i, ((i,) for i in read))
        [feed] = pool._feeds
        eventually(lambda: feed._room._value == 0, "the window is full")
        pool.terminate()
        release.set()
        with pytest.raises(CancelledError, match="terminated"):
            list(results)
    pool.join()
    assert next(read) <= WINDOW_ITEMS_MAX + 2


def test_programs_wait_until_nothing_is_left(pool, event):
    entered, leave = event("entered"), event("leave")
    heard = []
    pool.apply_async(enter_and_wait, (entered, leave), callback=heard.append)
    entered.wait()
    assert len(pool._cache) == 1
    leave.set()
    eventually(lambda: not pool._cache, "nothing is left")
    assert heard == ["left"]
    results = pool.imap(abs, iter(range(3)))
    assert list(results) == [0, 1, 2]
    assert results._length == 3
    eventually(lambda: not pool._cache, "nothing is left")
