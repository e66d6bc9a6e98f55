"""The contract of `multiprocessing.pool.Pool`, one promise per test."""

import functools
import itertools
import multiprocessing.pool
import multiprocessing.util
import operator
import os
import pickle
import sys
import threading
import time
from concurrent.futures import CancelledError

import psutil
import pytest
from tests.events import eventually

import lineshaft as ls
from lineshaft import pool as front
from lineshaft.pool import chunks


def square(x, wait=0.0):
    time.sleep(wait)
    return x * x


def square_at(event, x):
    """Return the square of `x` once told to."""
    event.wait()
    return x * x


def enter_and_stay(entered):
    entered.set()
    time.sleep(300)


def fail_on_odd(x):
    if x % 2:
        raise ValueError(f"odd: {x}")
    return x


def raise_key_error():
    raise KeyError("key")


class SaidWhenError(ValueError):
    pass


def items_until(total, when):
    for i in range(total):
        if i == when:
            raise SaidWhenError(i)
        yield i


class Unpicklable:
    def __reduce__(self):
        raise RuntimeError("cannot pickle")


# apply


def test_apply_passes_arguments(pool):
    assert pool.apply(square, (5,)) == 25
    assert pool.apply(square, (), {"x": 3}) == 9
    assert pool.apply_async(square, (7, 0.05)).get() == 49


def test_apply_raises_what_the_call_raised(pool):
    with pytest.raises(KeyError, match="key"):
        pool.apply(raise_key_error)


def test_remote_traceback_is_the_cause(process_pool_class):
    with process_pool_class(1) as pool, pytest.raises(KeyError) as info:
        pool.apply(raise_key_error)
    assert 'raise KeyError("key")' in str(info.value.__cause__)
    pool.join()


def test_result_is_ready_only_when_done(pool, event):
    go = event("go")
    result = pool.apply_async(square_at, (go, 3))
    assert not result.ready()
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    with pytest.raises(multiprocessing.TimeoutError):
        result.get(timeout=0.01)
    result.wait(0.01)
    assert not result.ready()
    go.set()
    result.wait()
    assert result.ready()
    assert result.successful()
    assert result.get(0) == 9


def test_attributes_that_programs_read(pool):
    result, failed = pool.apply_async(square, (2,)), pool.apply_async(raise_key_error)
    for one in (result, failed):
        one.wait(60)
    assert (result._success, result._value) == (True, 4)
    assert (failed._success, type(failed._value)) == (False, KeyError)
    assert pool.map_async(square, [1, 2]).get() == [1, 4]


def test_processes_that_programs_read():
    with front.Pool(2) as pool:
        pid = pool.apply(os.getpid)
        assert len(pool._pool) == 2
        assert pid in [process.pid for process in pool._pool if process.is_alive()]
    pool.join()


def test_failed_result_is_ready_and_unsuccessful(pool):
    result = pool.apply_async(raise_key_error)
    result.wait()
    assert result.ready()
    assert not result.successful()
    for _ in range(2):
        with pytest.raises(KeyError):
            result.get()


def test_a_timeout_of_the_task_is_not_a_timeout_of_get(pool):
    with pytest.raises(TimeoutError, match="mine") as info:
        pool.apply_async(_raise_timeout).get(5)
    assert not isinstance(info.value, multiprocessing.TimeoutError)


def _raise_timeout():
    raise TimeoutError("mine")


def test_types_are_those_of_the_standard_library(pool):
    assert isinstance(pool, multiprocessing.pool.Pool)
    assert isinstance(pool.apply_async(abs, (1,)), multiprocessing.pool.AsyncResult)
    assert isinstance(pool.map_async(abs, [1]), multiprocessing.pool.MapResult)
    assert isinstance(pool.imap(abs, [1]), multiprocessing.pool.IMapIterator)


def test_unpicklable_argument_fails_its_result_only(process_pool_class):
    with process_pool_class(1) as pool:
        result = pool.apply_async(square, (Unpicklable(),))
        with pytest.raises(RuntimeError, match="cannot pickle"):
            result.get(10)
        with pytest.raises(RuntimeError, match="cannot pickle"):
            pool.map(square, [Unpicklable()] * 10)
        with pytest.raises(RuntimeError, match="cannot pickle"):
            next(pool.imap(square, [Unpicklable()]))
        assert pool.apply(square, (2,)) == 4
    pool.join()


def test_an_unpicklable_item_is_named():
    with front.Pool(1) as pool:
        with pytest.raises(TypeError, match=r"item <unlocked _thread.lock.* of square\(\).*: x is a _thread.lock"):
            pool.map(square, [1, 2, threading.Lock(), 4])
        with pytest.raises(TypeError, match=r"item \(1, <unlocked.* of square\(\).*: wait is a _thread.lock"):
            pool.starmap(square, [(1, 2), (1, threading.Lock())])
    pool.join()


def make_unpicklable(_):
    return threading.Lock()


def test_an_unpicklable_result_is_the_error_of_the_standard_library():
    with front.Pool(1) as pool:
        for wait in (
            pool.apply_async(make_unpicklable, (1,)).get,
            pool.map_async(make_unpicklable, [1]).get,
            pool.imap(make_unpicklable, [1]).next,
        ):
            with pytest.raises(multiprocessing.pool.MaybeEncodingError, match="thread") as caught:
                wait(60)
            assert "cannot pickle '_thread.lock' object" in caught.value.exc
            assert "<unlocked _thread.lock object" in caught.value.value
    pool.join()


# map


@pytest.mark.parametrize("chunksize", [None, 1, 3, 1000])
def test_map_keeps_order(pool, chunksize):
    assert pool.map(square, range(100), chunksize=chunksize) == [x * x for x in range(100)]
    assert pool.map(square, (x for x in range(10)), chunksize=chunksize) == [x * x for x in range(10)]
    assert pool.map(square, [], chunksize=chunksize) == []


def test_starmap(pool):
    pairs = list(zip(range(50), range(50, 0, -1), strict=True))
    expected = list(itertools.starmap(operator.mul, pairs))
    assert pool.starmap(operator.mul, pairs) == expected
    assert pool.starmap_async(operator.mul, iter(pairs), 7).get(10) == expected


def test_chunks_are_shown_under_the_name_of_the_function():
    assert chunks.over_chunk(square).__qualname__ == "square"
    assert chunks.over_star_chunk(operator.mul).__name__ == "mul"
    assert chunks.over_chunk(functools.partial(square, wait=0.1)).__qualname__ == "square"


def test_map_raises_the_first_failure_in_input_order_after_all_ran(pool):
    result = pool.map_async(fail_on_odd, [0, 3, 2, 1], chunksize=1)
    with pytest.raises(ValueError, match="odd: 3"):
        result.get(10)
    assert result.ready()
    assert not result.successful()


def _next(items):
    return next(iter(items))


def test_a_call_that_raises_stop_iteration_loses_no_items(thread_pool_class):
    with thread_pool_class(1) as pool:
        with pytest.raises(RuntimeError, match=r"the call for \[\] raised StopIteration"):
            pool.map(_next, [[1], [], [3]])
        assert pool.map(_next, [[1], [3]]) == [1, 3]
    pool.join()


def test_map_of_a_raising_iterable(pool):
    with pytest.raises(SaidWhenError):
        pool.map(square, items_until(10, 3), 1)

    class Sized:
        def __len__(self):
            return 10

        def __iter__(self):
            return items_until(10, 3)

    with pytest.raises(SaidWhenError):
        pool.map(square, Sized(), 1)


def test_map_result_timeout_counts_for_the_whole(pool):
    # Each call is over within the limit, all of them take four times as long.
    result = pool.map_async(_sleep, [0.1] * 16, chunksize=1)
    with pytest.raises(multiprocessing.TimeoutError):
        result.get(0.2)
    assert result._number_left > 0
    result.wait()
    assert result._number_left == 0


def _sleep(seconds):
    time.sleep(seconds)
    return seconds


def test_default_chunks_are_four_per_worker(pool_class):
    with pool_class(3) as pool:
        assert len(pool.map_async(abs, range(24))._futures) == 12
        assert len(pool.map_async(abs, range(25))._futures) == 9
        assert len(pool.map_async(abs, range(5))._futures) == 5
    pool.join()


# life cycle


def test_wrong_arguments(pool_class):
    for processes in (0, -1):
        with pytest.raises(ValueError, match="Number of processes must be at least 1"):
            pool_class(processes)
    with pytest.raises(TypeError, match="initializer must be a callable"):
        pool_class(1, "no")


@pytest.mark.parametrize("value", [0, -1, 0.5, "12"])
def test_wrong_maxtasksperchild(process_pool_class, value):
    with pytest.raises(ValueError, match="maxtasksperchild must be a positive int or None"):
        process_pool_class(1, maxtasksperchild=value)


def test_closed_pool_takes_no_calls_and_finishes_those_taken(pool_class):
    pool = pool_class(2)
    with pytest.raises(ValueError, match="Pool is still running"):
        pool.join()
    results = [pool.apply_async(square, (i, 0.02)) for i in range(6)]
    pool.close()
    calls = [
        lambda: pool.apply(abs, (1,)),
        lambda: pool.apply_async(abs, (1,)),
        lambda: pool.map(abs, [1]),
        lambda: pool.map_async(abs, [1]),
        lambda: pool.starmap(abs, [(1,)]),
        lambda: pool.imap(abs, [1]),
        lambda: pool.imap_unordered(abs, [1]),
        pool.__enter__,
    ]
    for call in calls:
        with pytest.raises(ValueError, match="Pool not running"):
            call()
    pool.close()
    pool.join()
    assert [r.get(0) for r in results] == [i * i for i in range(6)]
    pool.join()


def nest_when_told(entered, leave):
    entered.set()
    leave.wait()
    return ls.submit(pow, 2, 3).result()


def nest_for_ever(entered):
    entered.set()
    while True:
        ls.submit(abs, -1).result()


def test_calls_of_a_closed_pool_make_calls(event):
    entered, leave = event("entered"), event("leave")
    pool = ls.Pool(1)
    result = pool.apply_async(nest_when_told, (entered, leave))
    entered.wait()
    pool.close()
    leave.set()
    pool.join()
    assert result.get(0) == 8


def test_calls_of_a_terminated_pool_make_none(event):
    entered = event("entered")
    pool = ls.Pool(2)
    result = pool.apply_async(nest_for_ever, (entered,))
    entered.wait()
    pool.terminate()
    pool.join()
    with pytest.raises(CancelledError):
        result.get(0)


def test_with_block_terminates(pool_class):
    with pool_class(2) as pool:
        assert pool.map(square, [1, 2]) == [1, 4]
    pool.join()
    with pytest.raises(ValueError, match="Pool not running"), pool:
        pass


def test_terminate_kills_running_calls(process_pool_class, event):
    pool = process_pool_class(2)
    entered = event("entered")
    result = pool.map_async(enter_and_stay, [entered] * 1000, chunksize=1)
    entered.wait()
    start = time.monotonic()
    pool.terminate()
    pool.terminate()
    pool.join()
    assert time.monotonic() - start < 10
    with pytest.raises(Exception):  # noqa: B017, PT011 - which one is the executor's choice
        result.get(5)


def test_results_cut_off_by_terminate_raise_and_call_nothing(thread_pool_class):
    release = threading.Event()
    pool = thread_pool_class(1)
    seen = []
    pool.apply_async(release.wait)
    waiting = pool.apply_async(square, (2,), callback=seen.append, error_callback=seen.append)
    pool.terminate()
    with pytest.raises(CancelledError, match="terminated"):
        waiting.get(5)
    assert waiting.ready()
    assert not waiting.successful()
    assert seen == []
    release.set()
    pool.join()


def test_initializer_runs_in_each_worker(thread_pool_class):
    seen = []
    both = threading.Barrier(2)
    with thread_pool_class(2, seen.append, ("here",)) as pool:
        pool.map(lambda _: both.wait(30), range(2), 1)
    pool.join()
    assert seen == ["here"] * 2


def leave_a_file_at_the_end(folder):
    multiprocessing.util.Finalize(None, lambda: (folder / str(os.getpid())).touch(), exitpriority=0)


def test_what_workers_do_at_their_end_is_done_after_join(tmp_path):
    pool = ls.Pool(2, leave_a_file_at_the_end, (tmp_path,))
    pids = set(pool.map(lambda _: os.getpid(), range(8), chunksize=1))
    pool.close()
    pool.join()
    assert {file.name for file in tmp_path.iterdir()} >= {str(pid) for pid in pids}
    assert pids.isdisjoint(psutil.pids())


def test_workers_are_replaced_after_maxtasksperchild(process_pool_class):
    pool = process_pool_class(1, maxtasksperchild=2)
    pids = [pool.apply(os.getpid) for _ in range(6)]
    pool.close()
    pool.join()
    assert len(set(pids)) == 3


def test_a_pool_cannot_be_pickled(pool):
    with pytest.raises(NotImplementedError, match="pool objects cannot be passed between processes or pickled"):
        pickle.dumps(pool)


def test_repr_and_size(pool):
    assert "state=RUN pool_size=2>" in repr(pool)
    assert pool._processes == len(pool._pool) == 2


def test_dropping_an_open_pool_warns(pool_class):
    pool = pool_class(1)
    with pytest.warns(ResourceWarning, match="unclosed running multiprocessing pool"):
        del pool
    pool = pool_class(1)
    pool.close()
    pool.join()
    del pool


def test_a_result_keeps_its_pool(pool_class, recwarn):
    import gc

    assert pool_class(1).map_async(square, [1, 2]).get(10) == [1, 4]
    assert list(pool_class(1).imap(square, (x for x in range(5)))) == [0, 1, 4, 9, 16]
    gc.collect()
    assert {w.category for w in recwarn} == {ResourceWarning}


def test_nothing_of_a_call_outlives_it(thread_pool_class):
    import gc
    import weakref

    class Thing:
        pass

    with thread_pool_class(2) as pool:
        things = [Thing() for _ in range(10)]
        refs = [weakref.ref(thing) for thing in things]
        pool.map(_identity, things)
        list(pool.imap(_identity, things))
        pool.map_async(_identity, things, callback=len).wait()
        pool.apply(_identity, (things[0],))
        del things
        eventually(lambda: gc.collect() >= 0 and not any(ref() for ref in refs), "all are gone")
    pool.join()


def _identity(x):
    return x


def loaded_modules(_):
    return list(sys.modules)


def test_chunks_need_no_module_that_workers_do_not_have():
    """Such modules, imported by each worker, are what a pool of many workers would wait for."""
    with front.Pool(1) as pool:
        before = pool.apply(loaded_modules, (0,))
        (after,) = pool.map(loaded_modules, [0])
        assert set(after) == set(before)
        (after,) = pool.starmap(loaded_modules, [(0,)])
        assert set(after) == set(before)
    with ls.ProcessPoolExecutor(1) as executor:
        (after,) = executor.map(loaded_modules, [0], chunksize=2)
        assert set(after) == set(before)
    pool.join()
