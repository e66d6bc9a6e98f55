"""Coroutines are shown as what they are: calls of an event loop, of which one runs and the others wait."""

import asyncio
import threading

from tests.answers import get
from tests.events import eventually

import lineshaft as ls


def event_loop(engine):
    """Return what the page of workers has about the only event loop."""
    workers = get(engine, "/api/workers")["workers"]
    (found,) = [worker for worker in workers if worker["kind"] == "event-loop"]
    return found


class Gate:
    """Lets coroutines go on that wait for it."""

    def __init__(self):
        self.waiting = []
        self.begun = 0

    async def wait(self):
        loop, event = asyncio.get_running_loop(), asyncio.Event()
        self.waiting.append((loop, event))
        self.begun += 1
        await event.wait()

    def open(self):
        for loop, event in self.waiting:
            loop.call_soon_threadsafe(event.set)


def test_calls_that_await_wait():
    gate = Gate()
    with ls.Engine(workers=1) as engine:
        waiting = ls.task(gate.wait, engine=engine)
        futures = [waiting.submit() for _ in range(30)]
        eventually(lambda: gate.begun == 30, "all have begun")
        found = event_loop(engine)
        assert len(found["running"]) + found["running_more"] == 30
        assert found["running_more"] > 0, "not all are listed"
        assert all(call["waits"] and call["turn_s"] is None for call in found["running"])
        lanes = get(engine, "/api/timeline?from_s=0&to_s=3600&columns=100")["lanes"]
        labels = {f"event loop {found['worker']}, call {number}" for number in range(1, 31)}
        assert labels <= {lane["label"] for lane in lanes}
        workers = get(engine, "/api/overview")["workers"]
        assert (workers["event_loops"], workers["thread_pools"], workers["processes"]) == (1, 0, 0)
        gate.open()
        assert [future.result() for future in futures] == [None] * 30
        found = event_loop(engine)
        assert (found["running"], found["running_more"], found["attempts"]) == ([], 0, 30)


def test_a_call_that_does_not_await_has_the_loop_for_itself():
    gate, go_on, begun = Gate(), threading.Event(), threading.Event()

    async def hog():
        await asyncio.sleep(0)
        begun.set()
        go_on.wait()

    with ls.Engine(workers=1) as engine:
        waits = ls.task(gate.wait, engine=engine).submit()
        eventually(lambda: gate.begun == 1, "the first waits")
        hogs = ls.task(hog, engine=engine).submit()
        assert begun.wait(30)
        calls = {call["name"].rpartition(".")[2]: call for call in event_loop(engine)["running"]}
        assert calls["wait"]["waits"]
        assert calls["wait"]["turn_s"] is None
        assert not calls["hog"]["waits"]
        first_s = calls["hog"]["turn_s"]
        eventually(
            lambda: event_loop(engine)["running"][0]["turn_s"] > first_s, "it is the first of the list, and goes on"
        )
        go_on.set()
        hogs.result()
        eventually(lambda: all(call["waits"] for call in event_loop(engine)["running"]), "the loop has nothing to do")
        gate.open()
        waits.result()


def test_a_task_that_waits_for_tasks_of_its_own_waits(event):
    go_on, begun = event("go on"), event("begun")

    def inner():
        begun.set()
        go_on.wait()

    def outer():
        ls.submit(inner).result()

    with ls.Engine(workers=1) as engine:
        future = engine.submit(outer)
        assert begun.wait()

        def states():
            workers = get(engine, "/api/workers")["workers"]
            return {call["name"].rpartition(".")[2]: call["waits"] for each in workers for call in each["running"]}

        eventually(lambda: states() == {"outer": True, "inner": False}, "only the outer one waits")
        go_on.set()
        future.result()


def test_what_is_awaited_goes_through():
    """A coroutine returns, raises, is thrown into and closed as if nothing stood around it."""
    seen = []

    async def value():
        for number in range(3):
            await asyncio.sleep(0)
            seen.append(number)
        return StopIteration("as a value")

    async def catch():
        try:
            async with asyncio.timeout(0.001):
                await asyncio.sleep(30)
        except TimeoutError as error:
            raise LookupError("thrown and caught") from error

    class Awaitable:
        def __await__(self):
            yield from asyncio.sleep(0).__await__()
            return "not a coroutine"

    async def awaits():
        return await Awaitable()

    with ls.Engine(workers=1) as engine:
        run = [ls.task(function, engine=engine).submit() for function in (value, catch, awaits)]
        assert run[0].result().value == "as a value"
        assert seen == [0, 1, 2]
        error = run[1].exception()
        assert isinstance(error, LookupError)
        assert isinstance(error.__cause__, TimeoutError)
        assert run[2].result() == "not a coroutine"
        assert event_loop(engine)["running"] == []


def test_coroutines_that_are_cancelled_or_run_out_of_time_have_not_failed():
    gate = Gate()
    with ls.Engine(workers=1) as engine:
        late = ls.task(gate.wait, timeout=0.05, engine=engine).submit()
        assert isinstance(late.exception(), ls.errors.TaskTimeout)
        unwanted = ls.task(gate.wait, engine=engine).submit()
        eventually(lambda: gate.begun == 2, "it has begun")
        assert unwanted.cancel()
        rows = get(engine, "/api/tasks?sort=oldest")["rows"]
        assert [row["state"] for row in rows] == ["timed-out", "cancelled"]
        tasks = get(engine, "/api/overview")["tasks"]
        assert (tasks["failed"], tasks["dropped"], tasks["retried"]) == (1, 1, 0)
        # It was stopped from outside: there is no frame of the program to show.
        assert get(engine, f"/api/tasks/{rows[0]['task']}")["tracebacks"] == []


def test_a_coroutine_that_passes_on_that_another_task_ran_out_of_time_has_failed():
    gate = Gate()
    with ls.Engine(workers=1) as engine:
        inner = ls.task(gate.wait, timeout=0.05, engine=engine)

        async def outer():
            await inner.submit()

        future = ls.task(outer, timeout=30, engine=engine).submit()
        assert isinstance(future.exception(), ls.errors.TaskTimeout)
        states = {row["name"].rpartition(".")[2]: row["state"] for row in get(engine, "/api/tasks")["rows"]}
        assert states == {"wait": "timed-out", "outer": "failed"}
