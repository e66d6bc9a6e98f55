"""`wait` and `as_completed` of `concurrent.futures` know our futures, beside anybody's; so does our `as_completed`."""

import concurrent.futures
import weakref
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION

import pytest

import lineshaft as ls

both = pytest.mark.parametrize("as_completed", [concurrent.futures.as_completed, ls.as_completed])


def fail() -> None:
    raise ValueError


def test_all(executor):
    futures = [executor.submit(pow, 2, 2), executor.submit(fail), executor.submit(pow, 2, 3)]
    assert concurrent.futures.wait(futures, timeout=30) == (set(futures), set())
    assert concurrent.futures.wait(futures, return_when=ALL_COMPLETED) == (set(futures), set())


def test_first_completed(executor, event):
    leave = event("leave")
    slow, quick = executor.submit(leave.wait), executor.submit(pow, 2, 2)
    assert concurrent.futures.wait([slow, quick], 30, FIRST_COMPLETED) == ({quick}, {slow})
    leave.set()


def test_first_exception(executor, event):
    leave = event("leave")
    slow, quick = executor.submit(leave.wait), executor.submit(pow, 2, 2)
    quick.result()
    failing = executor.submit(fail)
    assert concurrent.futures.wait([slow, quick, failing], 30, FIRST_EXCEPTION) == ({quick, failing}, {slow})
    leave.set()
    assert concurrent.futures.wait([slow, quick], 30, FIRST_EXCEPTION) == ({quick, slow}, set())


def test_timeout(executor, event):
    leave = event("leave")
    slow, quick = executor.submit(leave.wait), executor.submit(pow, 2, 2)
    quick.result()
    for timeout in (0, 0.01):
        assert concurrent.futures.wait([slow, quick], timeout) == ({quick}, {slow})
    leave.set()
    assert concurrent.futures.wait([slow, quick], 30) == ({quick, slow}, set())


def test_beside_other_futures(executor, event):
    leave = event("leave")
    by_hand: concurrent.futures.Future[int] = concurrent.futures.Future()
    with concurrent.futures.ThreadPoolExecutor(1) as other, ls.ThreadPoolExecutor(1) as third:
        slow, theirs, ours = executor.submit(leave.wait), other.submit(pow, 2, 2), third.submit(pow, 2, 3)
        everything = [by_hand, slow, theirs, ours]
        concurrent.futures.wait([theirs, ours], 30)
        assert concurrent.futures.wait(everything, 0) == ({theirs, ours}, {by_hand, slow})
        by_hand.set_result(1)
        assert concurrent.futures.wait([by_hand, slow], 30, FIRST_COMPLETED) == ({by_hand}, {slow})
        leave.set()
        assert concurrent.futures.wait(everything, 30) == (set(everything), set())
        assert set(concurrent.futures.as_completed(everything, 30)) == set(everything)
        assert set(ls.as_completed(everything, 30)) == set(everything)


@both
def test_as_completed_gives_each_once_as_it_ends(executor, event, as_completed):
    leave = event("leave")
    slow, quick = executor.submit(leave.wait), executor.submit(pow, 2, 2)
    seen = []
    for future in as_completed([slow, quick, slow, quick], timeout=30):
        seen.append(future)
        leave.set()
    assert seen == [quick, slow]


@both
def test_as_completed_times_out(executor, event, as_completed):
    leave = event("leave")
    slow, quick = executor.submit(leave.wait), executor.submit(pow, 2, 2)
    quick.result()
    seen = []
    with pytest.raises(TimeoutError, match=r"1 \(of 2\) futures unfinished"):  # noqa: PT012 - it raises at the second
        for future in as_completed([slow, quick], timeout=0.01):
            seen.append(future)  # noqa: PERF402 - it raises on the way
    assert seen == [quick]
    leave.set()


@both
def test_a_thousand_at_once(executor, as_completed):
    futures = [executor.submit(abs, -n) for n in range(1000)]
    assert sorted(future.result() for future in as_completed(futures, 60)) == list(range(1000))


@both
def test_as_completed_lets_go_of_what_it_has_given(executor, event, as_completed):
    leave = event("leave")
    ended = as_completed([executor.submit(abs, -1), executor.submit(leave.wait)], 30)
    given = weakref.ref(next(ended))
    assert given() is None
    leave.set()
    assert next(ended).result()


@both
def test_as_completed_gives_what_is_done_whatever_the_timeout(executor, as_completed):
    futures = [executor.submit(abs, -n) for n in range(5)]
    concurrent.futures.wait(futures, 30)
    assert set(as_completed(futures, timeout=0)) == set(futures)


@both
def test_as_completed_left_early_leaves_nothing_behind(executor, event, as_completed):
    leave = event("leave")
    slow = executor.submit(leave.wait)
    ended = as_completed([executor.submit(abs, -1), slow], 30)
    assert next(ended).result() == 1
    ended.close()
    assert slow._waiters == []
    leave.set()
