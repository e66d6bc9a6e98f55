"""Coroutine functions run on an event loop of this process, each in a context of its own."""

import asyncio
import concurrent.futures
import contextvars
import os
import threading
from pathlib import Path

import pytest
from tests.events import eventually

import lineshaft as ls

who = contextvars.ContextVar("who", default="nobody")


async def add(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


async def fail() -> None:
    raise LookupError("in the coroutine")


def test_submit():
    assert ls.submit(add, 1, 2).result(30) == 3
    assert ls.submit(add, ls.submit(pow, 2, 2), b=ls.submit(add, 1, 1)).result(30) == 6


def test_exceptions_have_the_frames():
    error = ls.submit(fail).exception(30)
    assert isinstance(error, LookupError)
    frames = []
    traceback = error.__traceback__
    while traceback is not None:
        frames.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert frames[-1] == "fail"


def test_each_has_a_context_of_its_own():
    async def name_oneself(name: str) -> tuple[str, str]:
        before = who.get()
        who.set(name)
        await asyncio.sleep(0.001)
        return before, who.get()

    names = [f"name-{n}" for n in range(50)]
    assert list(ls.map(name_oneself, names)) == [("nobody", name) for name in names]
    assert who.get() == "nobody"


def test_they_can_await_tasks():
    async def fan_out(count: int) -> int:
        return sum([await ls.submit(pow, 2, n) for n in range(count)])

    assert ls.submit(fan_out, 8).result(30) == 255


def test_they_share_a_loop_and_a_thread():
    async def where() -> tuple[int, int]:
        return threading.get_ident(), id(asyncio.get_running_loop())

    first, second = ls.submit(where).result(30), ls.submit(where).result(30)
    assert first == second
    assert first[0] != threading.get_ident()


def test_in_a_process_if_asked():
    async def where(x: int) -> tuple[int, int]:
        return x, await asyncio.to_thread(os.getpid)

    for x, pid in [ls.task(where, processes=True).submit(3).result(30), *ls.map(where, [3, 3], processes=True)]:
        assert x == 3
        assert pid != os.getpid()
    assert list(ls.map(add, [1, 2], [3, 4], processes=True)) == [4, 6]
    with pytest.raises(LookupError, match="in the coroutine"):
        ls.task(fail, processes=True).submit().result(30)
    with pytest.raises(ls.errors.SerializationError, match="argument 'a' of add"):
        ls.task(add, processes=True).submit(threading.Lock(), 1).result(30)


def test_a_time_limit_in_a_process(event):
    cleaned_up = event("cleaned up")

    async def wait_long() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cleaned_up.set()

    with pytest.raises(ls.errors.TaskTimeout):
        ls.task(wait_long, processes=True, timeout=0.1).submit().result(30)
    cleaned_up.wait()


class Adder:
    async def __call__(self, x: int) -> int:
        return await add(x, 1)


def test_callable_objects():
    assert ls.submit(Adder(), 3).result(30) == 4
    assert list(ls.map(Adder(), [1, 2])) == [2, 3]
    assert ls.task(Adder(), processes=True).submit(3).result(30) == 4


def test_a_time_limit():
    async def wait_long() -> None:
        await asyncio.sleep(60)

    with pytest.raises(ls.errors.TaskTimeout):
        ls.task(wait_long, timeout=0.1).submit().result(30)


def test_retries():
    attempts = []

    async def fail_twice() -> int:
        attempts.append(1)
        if len(attempts) < 3:
            raise ConnectionError
        return len(attempts)

    assert ls.task(fail_twice, retries=2).submit().result(30) == 3


def test_awaiting_from_another_loop():
    async def main() -> list[int]:
        return await asyncio.gather(*(asyncio.wrap_future(ls.submit(add, n, 1)) for n in range(20)))

    assert asyncio.run(main()) == list(range(1, 21))


class Stays:
    """A coroutine function that stays until it is cancelled, and notes what becomes of its calls."""

    def __init__(self) -> None:
        self.began: list[int] = []
        self.cancelled: list[int] = []

    async def __call__(self, number: int) -> None:
        self.began.append(number)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)  # cleaning up takes a while
            self.cancelled.append(number)
            raise


def test_cancelling():
    """`CancelledError` is raised in what has begun; what has not does not begin."""
    stays = Stays()
    with ls.Engine(workers=1) as engine:
        task = ls.task(stays, threads=1, engine=engine)
        running, waiting = task.submit(1), task.submit(2)
        eventually(lambda: stays.began, "the first runs")
        assert running.running()
        assert waiting.cancel()
        assert running.cancel()
        assert (running.cancelled(), running.done(), running.running()) == (True, True, False)
        with pytest.raises(concurrent.futures.CancelledError):
            running.result()
        eventually(lambda: stays.cancelled, "the first is cancelled")
        assert engine.submit(add, 1, 2).result(30) == 3
    assert (stays.began, stays.cancelled) == ([1], [1])


def test_an_engine_that_ends_waits_for_cleaning_up():
    stays = Stays()
    with ls.Engine(workers=1) as engine:
        future = engine.submit(stays, 1)
        eventually(lambda: stays.began, "it runs")
        assert future.cancel()
    assert stays.cancelled == [1]


def test_whoever_awaits_cancels():
    stays = Stays()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ls.submit(stays, 1), 0.05)

    asyncio.run(main())
    eventually(lambda: stays.cancelled == stays.began, "what has begun is cancelled")


def test_a_map_that_is_closed():
    stays = Stays()

    async def first_returns(number: int) -> int:
        if number:
            await stays(number)
        return number

    results = ls.map(first_returns, range(5))
    assert next(results) == 0
    eventually(lambda: len(stays.began) == 4, "all run")
    results.close()
    eventually(lambda: sorted(stays.cancelled) == [1, 2, 3, 4], "the others are cancelled")


def test_a_map_that_fails():
    stays = Stays()

    async def first_fails(number: int) -> None:
        if number:
            await stays(number)
        await asyncio.to_thread(eventually, lambda: len(stays.began) == 4, "all run")
        raise LookupError

    with pytest.raises(LookupError):
        list(ls.map(first_fails, range(5)))
    eventually(lambda: sorted(stays.cancelled) == [1, 2, 3, 4], "the others are cancelled")


def test_a_time_limit_cancels_before_the_next_run():
    events = []

    @ls.task(timeout=0.05, retries=2)
    async def pay() -> None:
        events.append("begins")
        try:
            await asyncio.sleep(60)
            events.append("pays")
        finally:
            await asyncio.sleep(0.05)
            events.append("ends")

    with pytest.raises(ls.errors.TaskTimeout):
        pay.submit().result(30)
    assert events == ["begins", "ends"] * 3


def test_a_timeout_of_its_own():
    @ls.task(timeout=60)
    async def fail_in_time() -> None:
        async with asyncio.timeout(0):
            await asyncio.sleep(60)

    error = fail_in_time.submit().exception(30)
    assert type(error) is TimeoutError


async def leaf(x: int) -> int:
    await asyncio.sleep(0.001)
    return x


def test_waiting_for_other_coroutines():
    """Such a coroutine blocks its event loop; what it waits for runs on another."""

    async def by_result(x: int) -> int:
        return ls.submit(leaf, x).result()

    async def by_map(count: int) -> list[int]:
        await asyncio.sleep(0)
        return list(ls.map(leaf, range(count)))

    async def as_they_come(count: int) -> set[int]:
        return {future.result() for future in ls.as_completed([ls.submit(leaf, n) for n in range(count)])}

    async def as_the_standard_library_waits(count: int) -> int:
        futures = [ls.submit(leaf, n) for n in range(count)]
        done, _ = concurrent.futures.wait(futures)
        again = [ls.submit(leaf, n) for n in range(count)]
        return sum(future.result() for future in [*done, *concurrent.futures.as_completed(again)])

    async def between_awaits(count: int) -> list[int]:
        results = []
        for future in ls.as_completed([ls.task(leaf, threads=1).submit(n) for n in range(count)]):
            await asyncio.sleep(0)
            results.append(future.result())
        return sorted(results)

    async def through_a_thread(x: int) -> int:
        return ls.task(lambda: ls.submit(leaf, x).result(), threads=True).submit().result()

    assert ls.submit(by_result, 1).result(30) == 1
    assert ls.submit(by_map, 5).result(30) == [0, 1, 2, 3, 4]
    assert ls.submit(as_they_come, 5).result(30) == {0, 1, 2, 3, 4}
    assert ls.submit(as_the_standard_library_waits, 3).result(30) == 6
    assert ls.submit(between_awaits, 3).result(30) == [0, 1, 2]
    assert ls.submit(through_a_thread, 1).result(30) == 1
    assert list(ls.map(by_result, range(50))) == list(range(50))


def test_nested_deeply():
    async def tree(depth: int) -> int:
        return 1 + sum(ls.map(tree, [depth - 1] * 2)) if depth else 1

    assert ls.submit(tree, 4).result(30) == 31


@pytest.mark.parametrize("waits", [False, True], ids=["awaiting", "waiting"])
def test_whoever_waits_takes_no_place(waits):
    async def outer(x: int) -> int:
        inner = ls.task(leaf, threads=1).submit(x)
        return inner.result() if waits else await inner

    assert ls.task(outer, threads=1).submit(1).result(30) == 1
    assert list(ls.task(outer, threads=1).map(range(4))) == [0, 1, 2, 3]


def test_waiting_for_a_coroutine_of_the_same_loop():
    """It has begun there, and can go on nowhere else."""
    leave = threading.Event()

    async def inner(began: asyncio.Event) -> int:
        began.set()
        await asyncio.to_thread(leave.wait, 30)
        return 3

    async def outer() -> int:
        began = asyncio.Event()
        future = ls.submit(inner, began)
        await began.wait()
        with pytest.raises(TimeoutError):
            future.result(0)
        with pytest.raises(RuntimeError, match="await it instead"):
            future.result()
        with pytest.raises(RuntimeError, match="await it instead"):
            next(ls.as_completed([future]))
        leave.set()
        return await future

    assert ls.submit(outer).result(30) == 3


def test_an_ended_engine_keeps_no_loop():
    def held() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    ls.submit(add, 1, 2).result(30)
    before = held()
    for _ in range(3):
        with ls.Engine(workers=1) as engine:
            assert engine.submit(add, 1, 2).result(30) == 3
    del engine
    eventually(lambda: held() <= before, "loops are closed and their threads gone", 10)


def test_a_coroutine_that_is_left_behind_is_cancelled():
    began, cleaned_up = threading.Event(), threading.Event()

    async def wait_long() -> None:
        try:
            began.set()
            await asyncio.sleep(3600)
        finally:
            cleaned_up.set()

    engine = ls.Engine(workers=1)
    engine.submit(wait_long)
    assert began.wait(30)
    engine.shutdown(wait=False)
    assert cleaned_up.wait(30)
