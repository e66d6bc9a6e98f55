"""`Executor.map`: eager, in order, with a time limit; closing it cancels the rest."""

import itertools
import time

import pytest
from tests.events import enter_and_wait

import lineshaft as ls


def fail_at(bad: int, number: int) -> int:
    if number == bad:
        raise ValueError(number)
    return number


def wait_at(bad: int, leave, number: int) -> int:
    if number == bad:
        leave.wait()
    return number


def test_in_order(executor):
    assert list(executor.map(pow, range(100), itertools.repeat(2))) == [n * n for n in range(100)]
    assert list(executor.map(abs, [])) == []
    assert list(executor.map(pow, [2, 3, 4], [1, 2])) == [2, 9]
    assert not isinstance(executor.map(abs, [1]), list)


def test_eager(executor):
    taken = []

    def numbers():
        for number in range(5):
            taken.append(number)
            yield number

    results = executor.map(abs, numbers())
    assert taken == [0, 1, 2, 3, 4]
    assert list(results) == taken


def test_an_exception_comes_in_its_place(executor):
    results = executor.map(fail_at, [3] * 10, range(10))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="3"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_an_input_that_fails(executor):
    def numbers():
        yield 1
        raise LookupError

    with pytest.raises(LookupError):
        executor.map(abs, numbers())


@pytest.mark.parametrize("chunksize", [1, 3])
def test_the_time_limit_counts_from_the_call(executor, event, chunksize):
    leave = event("leave")
    assert list(executor.map(wait_at, [4] * 4, [leave] * 4, range(4))) == [0, 1, 2, 3]  # workers are up
    began_s = time.monotonic()
    results = executor.map(wait_at, [4] * 6, [leave] * 6, range(6), timeout=1, chunksize=chunksize)
    seen = []
    with pytest.raises(TimeoutError):  # noqa: PT012 - it raises on the way
        for number in results:
            seen.append(number)  # noqa: PERF402
    assert 0.9 < time.monotonic() - began_s < 20
    assert seen == [0, 1, 2, 3][: 4 if chunksize == 1 or isinstance(executor, ls.ThreadPoolExecutor) else 3]
    leave.set()


def test_no_time_limit_by_default(executor):
    assert list(executor.map(abs, [-1], timeout=None)) == [1]


@pytest.mark.parametrize("chunksize", [1, 6, 50, 40, 1000])
def test_chunks(processes, chunksize):
    assert list(processes.map(pow, range(40), range(40), chunksize=chunksize)) == [n**n for n in range(40)]


@pytest.mark.parametrize("chunksize", [0, -1])
def test_chunks_must_hold_something(processes, chunksize):
    with pytest.raises(ValueError, match="chunksize must be >= 1"):
        processes.map(abs, [1], chunksize=chunksize)


def test_an_exception_in_a_chunk(processes):
    results = processes.map(fail_at, [5] * 10, range(10), chunksize=3)
    assert list(itertools.islice(results, 3)) == [0, 1, 2]
    with pytest.raises(ValueError, match="5"):
        next(results)


def touch_after(told, path) -> None:
    told.wait()
    path.touch()


def test_closing_cancels_the_rest(executor_class, event, tmp_path):
    entered, leave, closed = event("entered"), event("leave"), event("closed")
    with executor_class(1) as executor:
        running = executor.submit(enter_and_wait, entered, leave)
        entered.wait()
        paths = [tmp_path / str(number) for number in range(20)]
        results = executor.map(touch_after, [leave] + [closed] * 19, paths)
        executor.submit(abs, 1)
        with pytest.raises(TimeoutError):
            next(executor.map(abs, [1], timeout=0))
        # A generator that has not begun has nothing to clean up; this one has.
        started = executor.map(touch_after, [closed] * 20, paths, timeout=0)
        with pytest.raises(TimeoutError):
            next(started)
        leave.set()
        assert running.result(30) == "left"
        assert next(results) is None
        results.close()
        closed.set()
    assert [path.name for path in paths[3:] if path.exists()] == []
