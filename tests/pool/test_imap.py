"""`imap` and `imap_unordered`: order, laziness, errors of the input, and who reads it."""

import itertools
import multiprocessing
import queue
import threading
import time
from concurrent.futures import CancelledError

import pytest
from tests.events import eventually

from lineshaft.pool.feed import WINDOW_ITEMS_MAX

from .test_contract import SaidWhenError, fail_on_odd, items_until, square

INPUTS = [pytest.param(list, id="container"), pytest.param(iter, id="iterator")]
CHUNKS = [1, 3, 100]


@pytest.fixture(params=["imap", "imap_unordered"])
def imap(request, pool):
    """Return each of the two methods of a pool."""
    return getattr(pool, request.param)


@pytest.mark.parametrize("make", INPUTS)
@pytest.mark.parametrize("chunksize", CHUNKS)
def test_all_results_arrive(imap, make, chunksize):
    assert sorted(imap(square, make(range(50)), chunksize)) == [x * x for x in range(50)]
    empty = imap(square, make([]), chunksize)
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(empty)


@pytest.mark.parametrize("make", INPUTS)
@pytest.mark.parametrize("chunksize", CHUNKS)
def test_imap_is_ordered(pool, make, chunksize):
    assert list(pool.imap(square, make(range(1000)), chunksize)) == [x * x for x in range(1000)]


def test_imap_unordered_gives_what_is_done_first(thread_pool_class):
    release = threading.Event()
    with thread_pool_class(2) as pool:
        calls = [lambda: release.wait(10), lambda: "quick"]
        results = pool.imap_unordered(lambda call: call(), calls)
        assert next(results) == "quick"
        release.set()
        assert next(results) is True
    pool.join()


@pytest.mark.parametrize("value", [0, -1])
def test_wrong_chunksize(imap, value):
    with pytest.raises(ValueError, match="Chunksize must be 1"):
        imap(square, [1], value)


def test_a_failed_item_raises_in_its_place_and_the_rest_follows(pool):
    results = pool.imap(fail_on_odd, range(4))
    assert next(results) == 0
    with pytest.raises(ValueError, match="odd: 1"):
        next(results)
    assert next(results) == 2
    with pytest.raises(ValueError, match="odd: 3"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_a_failed_chunk_raises_once(pool):
    results = pool.imap(fail_on_odd, [0, 2, 4, 1, 6, 8], chunksize=2)
    assert [next(results), next(results)] == [0, 2]
    with pytest.raises(ValueError, match="odd: 1"):
        next(results)
    assert list(results) == [6, 8]


@pytest.mark.parametrize(("total", "when", "chunksize", "before"), [(1, 0, 1, 0), (10, 3, 1, 3), (20, 7, 2, 6)])
def test_errors_of_the_input_reach_the_consumer(pool, total, when, chunksize, before):
    results = pool.imap(square, items_until(total, when), chunksize)
    assert list(itertools.islice(results, before)) == [x * x for x in range(before)]
    with pytest.raises(SaidWhenError):
        next(results)
    with pytest.raises(StopIteration):
        next(results)
    unordered = pool.imap_unordered(square, items_until(total, when), chunksize)
    with pytest.raises(SaidWhenError):
        list(unordered)


@pytest.mark.parametrize("chunksize", [1, 2])
def test_an_error_of_the_input_comes_after_all_results(thread_pool_class, chunksize):
    release = threading.Event()
    with thread_pool_class(2) as pool:
        results = pool.imap_unordered(lambda _: release.wait(10), items_until(10, 4), chunksize)
        eventually(lambda: results._feed.exhausted, "the input has ended")
        release.set()
        assert list(itertools.islice(results, 4)) == [True] * 4
        with pytest.raises(SaidWhenError):
            next(results)
        with pytest.raises(StopIteration):
            next(results)
        results._feed.check_invariants()
    pool.join()


def test_consumers_share_results_and_an_error_of_the_input(thread_pool_class):
    values, errors = [], []

    def consume(results):
        try:
            values.extend(results)
        except SaidWhenError as error:
            errors.append(error)

    with thread_pool_class(2) as pool:
        results = pool.imap_unordered(abs, items_until(3000, 2000))
        consumers = [threading.Thread(target=consume, args=(results,)) for _ in range(4)]
        for consumer in consumers:
            consumer.start()
        for consumer in consumers:
            consumer.join(30)
    pool.join()
    assert (len(errors), sorted(values)) == (1, list(range(2000)))


def test_next_with_timeout_loses_nothing(thread_pool_class):
    release = threading.Event()
    with thread_pool_class(2) as pool:
        for method in (pool.imap, pool.imap_unordered):
            release.clear()
            results = method(lambda _: release.wait(10), range(2))
            for _ in range(3):
                with pytest.raises(multiprocessing.TimeoutError):
                    results.next(timeout=0.01)
            release.set()
            assert [results.next(timeout=5), next(results)] == [True, True]
            with pytest.raises(StopIteration):
                results.next(timeout=5)
    pool.join()


def test_an_endless_input_is_read_a_bounded_window_ahead(imap):
    read = []

    def endless():
        for i in itertools.count():
            read.append(i)
            yield i

    results = imap(abs, endless())
    assert len(list(itertools.islice(results, 100))) == 100
    deadline_s = time.monotonic() + 30
    before = -1
    while len(read) > before:
        assert time.monotonic() < deadline_s, "it stops reading"
        before = len(read)
        time.sleep(0.1)
    assert len(read) <= 100 + WINDOW_ITEMS_MAX


def test_a_list_is_not_submitted_at_once(thread_pool_class):
    with thread_pool_class(1) as pool:
        results = pool.imap(abs, list(range(100_000)))
        assert results._feed._submitted < 10_000
        results._feed.check_invariants()
        assert sum(results) == sum(range(100_000))
        results._feed.check_invariants()
    pool.join()


def test_the_input_may_wait_for_results(imap):
    # As in a crawl: what to do next is known only from earlier results.
    todo = queue.Queue()
    todo.put(0)
    seen = []
    for x in imap(abs, iter(todo.get, None)):
        seen.append(x)
        todo.put(x + 1 if x < 20 else None)
    assert seen == list(range(21))


def consume_by_four(results):
    """Have four threads take the results; return what they got."""
    values = []
    consumers = [threading.Thread(target=lambda: values.extend(results)) for _ in range(4)]
    for consumer in consumers:
        consumer.start()
    for consumer in consumers:
        consumer.join(30)
    return values


def test_one_thread_at_a_time_reads_the_input(thread_pool_class):
    inside = threading.Lock()
    threads = set()

    def watched():
        for i in range(2000):
            assert inside.acquire(blocking=False)
            threads.add(threading.get_ident())
            inside.release()
            yield i

    with thread_pool_class(2) as pool:
        results = pool.imap_unordered(abs, watched())
        values = consume_by_four(results)
    pool.join()
    assert sorted(values) == list(range(2000))
    assert len(threads) == 1


def test_consumers_share_a_list(thread_pool_class):
    with thread_pool_class(2) as pool:
        results = pool.imap(abs, list(range(5000)))
        values = consume_by_four(results)
    pool.join()
    assert sorted(values) == list(range(5000))


@pytest.mark.parametrize("make", INPUTS)
def test_join_runs_what_nobody_asked_for(thread_pool_class, make):
    done = []
    pool = thread_pool_class(2)
    pool.imap_unordered(done.append, make(range(3000)))
    kept = pool.imap(abs, make(range(3000)))
    pool.close()
    pool.join()
    assert sorted(done) == list(range(3000))
    assert list(kept) == list(range(3000))


@pytest.mark.parametrize("make", [itertools.count, lambda: list(range(100_000))])
def test_terminate_ends_the_iteration_with_an_error(thread_pool_class, make):
    pool = thread_pool_class(2)
    results = pool.imap(abs, make())
    assert next(results) == 0
    pool.terminate()
    with pytest.raises(CancelledError, match="terminated"):
        list(results)
    pool.join()


def test_terminate_releases_a_waiting_consumer(thread_pool_class):
    pool = thread_pool_class(1)
    never = queue.Queue()
    results = pool.imap(abs, iter(never.get, None))
    timer = threading.Timer(0.1, pool.terminate)
    timer.start()
    with pytest.raises(CancelledError, match="terminated"):
        next(results)
    timer.join()
    pool.join()
    never.put(None)


def test_breaking_off_an_endless_input_leaves_no_thread(thread_pool_class):
    with thread_pool_class(2) as pool:
        for x in pool.imap(abs, itertools.count()):
            if x == 10:
                break
    pool.join()
