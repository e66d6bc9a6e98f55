"""No lock of the engine is held while Python runs, for any allocation may give up the interpreter's lock."""

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import lineshaft as ls


class Garbage:
    """What the garbage collector finds only once everything else has come to a stop."""

    def __init__(self, found: threading.Event, go_on: threading.Event) -> None:
        self.myself = self
        self.found, self.go_on = found, go_on

    def __del__(self) -> None:
        self.found.set()
        self.go_on.wait(10)  # without the interpreter's lock


@contextmanager
def collecting_at_each_allocation() -> Iterator[None]:
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    gc.enable()
    try:
        yield
    finally:
        gc.disable()
        gc.set_threshold(*threshold)


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.usefixtures("no_collection")
def test_a_collection_while_waiters_are_made(processes, event):
    leave = event("leave")
    future = processes.submit(leave.wait)
    found, looked = threading.Event(), threading.Event()
    states = []

    def look() -> None:
        found.wait(30)
        states.append(future._state)  # needs the lock of what is being changed
        looked.set()

    looker = threading.Thread(target=look)
    looker.start()
    kept = [[] for _ in range(300)]  # a list anew has to be allocated
    Garbage(found, looked)
    with collecting_at_each_allocation():
        waiters = future._waiters
    assert looked.is_set(), "somebody held the lock while the collector ran"
    looker.join(30)
    assert states in (["PENDING"], ["RUNNING"])
    assert waiters == []
    del kept
    leave.set()
    assert future.result(30)


def test_a_coroutine_function_may_take_its_time():
    from lineshaft._native import EventLoopCall

    began, go_on = threading.Event(), threading.Event()
    calls: list[EventLoopCall] = []
    outcomes: list[object] = []
    with ls.Engine(workers=1) as engine:
        pool = engine._local().loop_pool(name="held", workers=1, start=calls.append, cancel=calls.remove)

        def hold() -> str:
            began.set()
            go_on.wait(10)
            return "a coroutine, by and by"

        future = pool.submit(hold, ())
        while not calls:
            engine._local().wait_idle(0.01)
        (call,) = calls
        making = threading.Thread(target=lambda: outcomes.append(call.coroutine(None)))
        making.start()
        assert began.wait(30)
        call.fail(KeyError("cancelled meanwhile"), 0.0)  # needs the lock of the call
        assert not outcomes, "the call was locked until its function returned"
        go_on.set()
        making.join(30)
        assert outcomes == ["a coroutine, by and by"]
        with pytest.raises(KeyError):
            future.result(30)
