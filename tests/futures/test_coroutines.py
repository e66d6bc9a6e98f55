"""Coroutine functions run on an event loop of this process, each in a context of its own."""

import asyncio
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


def test_cancelling_a_coroutine_that_waits():
    """As a thread's call, what has begun goes on; what has not does not begin."""
    began = []

    async def begin(event: threading.Event) -> None:
        began.append(1)
        await asyncio.to_thread(event.wait, 30)

    leave = threading.Event()
    with ls.Engine(workers=1) as engine:
        task = ls.task(begin, threads=1)
        task._engine = engine
        running, waiting = task.submit(leave), task.submit(leave)
        assert waiting.cancel()
        leave.set()
        running.result(30)
    assert began == [1]


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
