"""`ls.map`: ordered, lazy, one outcome per item; on processes, threads and event loops."""

import asyncio
import itertools
import os
import threading
import time

import pytest
from tests.events import enter_and_wait

import lineshaft as ls
from lineshaft._map import AHEAD, BATCH_MAX

PLACES = [{}, {"threads": True}, {"threads": 8}]
#: Items that may be read ahead of what is consumed, at the start: few batches of one item per worker.
AHEAD_MAX = 200


@pytest.fixture(params=PLACES, ids=str)
def place(request):
    """Where the function runs."""
    return request.param


def double(x: int) -> int:
    return 2 * x


def fail_at(bad: int, x: int) -> int:
    if x == bad:
        raise ValueError(f"at {x}")
    return x


def uneven(x: int) -> int:
    time.sleep(0.02 if x % 10 == 0 else 0)
    return x


async def double_later(x: int) -> int:
    await asyncio.sleep(0)
    return 2 * x


def test_in_order(place):
    assert list(ls.map(double, range(1000), **place)) == list(range(0, 2000, 2))
    assert list(ls.map(uneven, range(50), **place)) == list(range(50))


def test_several_iterables(place):
    assert list(ls.map(pow, [2, 3, 4], itertools.count(1), **place)) == [2, 9, 64]
    assert list(ls.map(pow, range(5), [2] * 3, **place)) == [0, 1, 4]


def test_nothing(place):
    assert list(ls.map(double, [], **place)) == []
    assert list(ls.map(double, iter(()), **place)) == []
    with pytest.raises(TypeError, match="at least one iterable"):
        ls.map(double, **place)


def test_endless_input_is_read_a_bounded_amount_ahead(place):
    taken = itertools.count()
    last = -1

    def numbers():
        nonlocal last
        for number in taken:
            last = number
            yield number

    results = ls.map(double, numbers(), **place)
    assert last < AHEAD_MAX
    # Batches grow with what the items turn out to cost, but stay bounded too.
    for number in range(3000):
        assert next(results) == 2 * number
    assert last < 3000 + (AHEAD * os.cpu_count() + 1) * BATCH_MAX
    results.close()


def test_nothing_more_is_read_while_nobody_asks(place):
    taken = []

    def numbers():
        for number in itertools.count():
            taken.append(number)
            yield number

    results = ls.map(double, numbers(), **place)
    before = len(taken)
    assert 0 < before < AHEAD_MAX
    ls.submit(pow, 2, 2).result()
    assert len(taken) == before
    results.close()


def test_an_exception_comes_in_its_place(place):
    results = ls.map(fail_at, itertools.repeat(5), range(100), **place)
    assert list(itertools.islice(results, 5)) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="at 5"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_an_input_that_fails_at_once(place):
    def numbers():
        raise LookupError("no input")
        yield 1

    with pytest.raises(LookupError, match="no input"):
        list(ls.map(double, numbers(), **place))


@pytest.mark.parametrize("count", [0, 2, 500])
def test_what_the_input_raises_comes_behind_the_results_of_what_it_gave(place, count):
    def numbers():
        yield from range(count)
        raise LookupError("no more")

    results = ls.map(double, numbers(), **place)
    assert list(itertools.islice(results, count)) == list(range(0, 2 * count, 2))
    with pytest.raises(LookupError, match="no more"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_closing_cancels(place, event, tmp_path):
    entered, leave = event("entered"), event("leave")

    def work(number: int) -> int:
        if number == 0:
            return 0
        (tmp_path / str(number)).touch()
        enter_and_wait(entered, leave)
        return number

    results = ls.map(work, itertools.count(), **place)
    assert next(results) == 0
    entered.wait()
    results.close()
    leave.set()
    with pytest.raises(StopIteration):
        next(results)
    begun = len([path for path in tmp_path.iterdir() if path.name.isdigit()])
    assert begun <= 8  # no more than there are workers or threads


def test_forgetting_cancels(place):
    closed = []

    def numbers():
        try:
            yield from itertools.count()
        finally:
            closed.append(True)

    results = ls.map(double, numbers(), **place)
    next(results)
    del results
    assert closed == [True]


def test_many_more_threads_than_cores(event):
    entered, leave = [event(f"entered-{n}") for n in range(64)], event("leave")

    def release() -> None:
        for each in entered:
            each.wait()
        leave.set()

    releasing = threading.Thread(target=release)
    releasing.start()
    assert list(ls.map(enter_and_wait, entered, [leave] * 64, threads=64)) == ["left"] * 64
    releasing.join(30)


def test_coroutine_functions():
    assert list(ls.map(double_later, range(100))) == list(range(0, 200, 2))


def test_coroutines_run_at_the_same_time():
    meeting: dict[str, object] = {"arrived": 0}

    async def meet(count: int) -> int:
        everyone = meeting.setdefault("everyone", asyncio.Event())
        meeting["arrived"] += 1
        if meeting["arrived"] == count:
            everyone.set()
        await asyncio.wait_for(everyone.wait(), 30)
        return threading.get_ident()

    assert len(set(ls.map(meet, [100] * 100))) == 1


def test_a_coroutine_that_fails():
    async def fail(x: int) -> int:
        if x == 3:
            raise ValueError("at 3")
        return x

    results = ls.map(fail, range(10))
    assert list(itertools.islice(results, 3)) == [0, 1, 2]
    with pytest.raises(ValueError, match="at 3"):
        next(results)


def test_each_item_has_its_own_retries(tmp_path, place):
    def work(number: int) -> int:
        path = tmp_path / str(number)
        if number % 7 == 3 and not path.exists():
            path.touch()
            raise ConnectionError(number)
        return number

    assert list(ls.map(work, range(100), retries=1, **place)) == list(range(100))
    results = ls.map(work, range(1000, 1010), **place)
    with pytest.raises(ConnectionError, match="1004"):
        list(results)


def test_retries_wait_as_long_as_they_should(tmp_path, place):
    def work(number: int) -> int:
        path = tmp_path / str(number)
        with path.open("a") as file:
            file.write(f"{time.monotonic()}\n")
        if len(path.read_text().splitlines()) < 3:
            raise ConnectionError(number)
        return number

    assert list(ls.map(work, range(3), retries=2, backoff=0.1, **place)) == [0, 1, 2]
    for number in range(3):
        times = [float(line) for line in (tmp_path / str(number)).read_text().splitlines()]
        waits = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert [wait >= floor for wait, floor in zip(waits, [0.1, 0.2], strict=True)] == [True] * 2


@pytest.mark.parametrize("of_task", [False, True], ids=["map", "task"])
def test_greater_priority_first(event, tmp_path, of_task):
    entered, leave, order = event("entered"), event("leave"), tmp_path / "order"

    def note(name: str) -> None:
        with order.open("a") as file:
            file.write(f"{name}\n")

    with ls.Engine(workers=1) as engine:
        held = engine.submit(enter_and_wait, entered, leave)
        entered.wait()
        low = [engine.submit(note, "low") for _ in range(200)]
        if of_task:
            high = ls.task(note, engine=engine, priority=10).map(["high"])
        else:
            high = engine.map(note, ["high"], priority=10)
        leave.set()
        assert list(high) == [None]
        for future in [held, *low]:
            future.result(30)
    # Some of what waited longer was handed to the worker ahead of time.
    assert order.read_text().splitlines().index("high") < 100


def test_a_worker_that_dies_costs_its_item_only(tmp_path):
    def work(number: int) -> int:
        path = tmp_path / str(number)
        if number in (17, 203) and not path.exists():
            path.touch()
            os.kill(os.getpid(), 9)
        return number

    assert list(ls.map(work, range(500), retries=1)) == list(range(500))


def test_each_item_has_its_own_time_limit(place, event):
    never = event("never")

    def work(number: int) -> int:
        if number == 3:
            never.wait()
        return number

    results = ls.map(work, range(6), timeout=0.5, **place)
    assert list(itertools.islice(results, 3)) == [0, 1, 2]
    with pytest.raises(ls.errors.TaskTimeout):
        next(results)
    never.set()  # a thread goes on after the limit


def test_two_maps_at_once(place):
    left, right = ls.map(double, itertools.count(), **place), ls.map(abs, itertools.count(), **place)
    pairs = list(itertools.islice(zip(left, right, strict=False), 500))
    assert pairs == [(2 * n, n) for n in range(500)]


def test_futures_among_the_items(place):
    futures = [ls.submit(pow, 2, n) for n in range(10)]
    assert list(ls.map(double, futures, **place)) == [2 * 2**n for n in range(10)]
    assert list(ls.map(sum, [[future, 1] for future in futures], **place)) == [2**n + 1 for n in range(10)]


def test_a_map_over_a_map():
    assert list(ls.map(double, ls.map(double, range(200)))) == list(range(0, 800, 4))


def test_an_engine_of_ones_own():
    with ls.Engine(workers=1) as engine:
        assert list(engine.map(double, range(20))) == list(range(0, 40, 2))
    with pytest.raises(ls.errors.EngineClosed):
        list(engine.map(double, range(20)))
