"""A task's time limit: an exception inside the task, then the end of its worker, and of nothing else."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections import deque
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING

import pytest
from tests.faults.conftest import Mailbox, worker_pids

import lineshaft as ls
from lineshaft.errors import TaskTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT_S = 0.2


def spin_forever() -> None:
    while True:
        pass


def sleep_forever() -> None:
    time.sleep(1e6)


def wait_forever() -> None:
    import threading

    threading.Event().wait()


@pytest.mark.parametrize("function", [spin_forever, sleep_forever, wait_forever])
def test_exception_is_raised_inside_the_task(engine: ls.Engine, function: Callable[[], None]) -> None:
    pid = engine.submit(os.getpid).result()
    with pytest.raises(TaskTimeout) as raised:
        ls.task(function, engine=engine, timeout=LIMIT_S).submit().result()
    # It names the line that was running, as any exception does.
    assert function.__name__ in str(raised.value.__cause__)
    del raised
    assert pid in worker_pids(engine)
    assert engine._native.stats()["worker_deaths"] == 0


def test_task_can_tidy_up_and_even_return(engine: ls.Engine) -> None:
    def give_up_in_time() -> str:
        try:
            time.sleep(1e6)
        except TaskTimeout:
            return "partial"
        raise AssertionError("the limit never came")

    assert ls.task(give_up_in_time, engine=engine, timeout=LIMIT_S).submit().result() == "partial"


def test_task_that_ignores_the_exception_is_killed_with_its_stack(engine: ls.Engine) -> None:
    def stubborn() -> None:
        while True:
            with contextlib.suppress(TaskTimeout):
                time.sleep(1e6)

    with pytest.raises(TaskTimeout) as raised:
        ls.task(stubborn, engine=engine, timeout=LIMIT_S).submit().result()
    assert "stubborn" in str(raised.value)
    assert "test_time_limits.py" in str(raised.value)
    del raised
    assert engine._native.stats()["worker_deaths"] == 1


def test_task_stuck_with_the_interpreter_lock_is_killed_with_its_stack(
    engine: ls.Engine, mailbox: Callable[[], Mailbox]
) -> None:
    began, leave = mailbox(), mailbox()

    def stuck(began: Mailbox) -> None:
        began.send(os.getpid())
        # One call into C that neither returns, nor looks for signals, nor lets another thread run.
        deque(itertools.repeat(0), maxlen=0)

    def other(leave: Mailbox) -> str:
        return leave.receive()

    neighbour = engine.submit(other, leave)
    future = ls.task(stuck, engine=engine, timeout=LIMIT_S).submit(began)
    pid = began.receive_int()
    # Tasks that were sent to the stuck worker already go to others.
    behind = [engine.submit(pow, n, 2) for n in range(20)]
    with pytest.raises(TaskTimeout) as raised:
        future.result()
    assert "stuck" in str(raised.value)
    assert "test_time_limits.py" in str(raised.value)
    del raised
    assert pid not in worker_pids(engine)
    assert [future.result() for future in behind] == [n * n for n in range(20)]
    leave.send("never disturbed")
    assert neighbour.result() == "never disturbed"


def test_next_tasks_of_the_same_worker_are_not_hit(make_engine: Callable[..., ls.Engine]) -> None:
    engine = make_engine(workers=1)
    limited = ls.task(time.sleep, engine=engine, timeout=0.05)
    late = limited.submit(1e6)
    after = [engine.submit(pow, n, 2) for n in range(100)]
    with pytest.raises(TaskTimeout):
        late.result()
    assert [future.result() for future in after] == [n * n for n in range(100)]
    assert engine._native.stats()["worker_deaths"] == 0


def test_limit_counts_from_the_start_of_the_task_not_from_its_submission(
    make_engine: Callable[..., ls.Engine], mailbox: Callable[[], Mailbox]
) -> None:
    engine = make_engine(workers=1)
    leave = mailbox()
    blocker = engine.submit(leave.receive)
    limited = ls.task(pow, engine=engine, timeout=LIMIT_S).submit(2, 10)
    time.sleep(2 * LIMIT_S)  # the limit would be over
    assert not limited.done()
    leave.send()
    assert limited.result() == 1024
    blocker.result()


def test_retry_on_the_same_worker_has_its_full_time(
    make_engine: Callable[..., ls.Engine], mailbox: Callable[[], Mailbox]
) -> None:
    engine = make_engine(workers=1)
    attempts = mailbox()

    def slow(attempts: Mailbox) -> str:
        if attempts.receive() == "stay":
            time.sleep(1e6)
        # Longer than the grace that follows the first attempt's exception, shorter than the limit.
        time.sleep(1.5)
        return "done"

    attempts.send("stay")
    attempts.send("go")
    assert ls.task(slow, engine=engine, timeout=2.0, retries=1).submit(attempts).result() == "done"
    assert engine._native.stats()["worker_deaths"] == 0


def test_limit_ends_every_attempt(make_engine: Callable[..., ls.Engine]) -> None:
    engine = make_engine(workers=1)
    with pytest.raises(TaskTimeout):
        ls.task(time.sleep, engine=engine, timeout=0.05, retries=3).submit(1e6).result()
    groups = {group["name"]: group for group in engine._native.stats()["groups"]}
    assert (groups["sleep"]["failed"], groups["sleep"]["retried"]) == (4, 3)


def test_killed_task_is_retried(engine: ls.Engine, mailbox: Callable[[], Mailbox]) -> None:
    attempts = mailbox()

    def stuck_once(attempts: Mailbox) -> str:
        if attempts.receive() == "stay":
            deque(itertools.repeat(0), maxlen=0)
        return "done"

    attempts.send("stay")
    attempts.send("go")
    assert ls.task(stuck_once, engine=engine, timeout=LIMIT_S, retries=1).submit(attempts).result() == "done"
    assert engine._native.stats()["worker_deaths"] == 1


def test_many_limits_at_the_edge(engine: ls.Engine) -> None:
    # The exception comes at every point of a task's life, also between its end and its report.
    def nap(duration_s: float) -> float:
        time.sleep(duration_s)
        return duration_s

    limited = ls.task(nap, engine=engine, timeout=0.01)
    durations_s = [0.0095 + 0.000_01 * n for n in range(100)]
    futures = [limited.submit(duration_s) for duration_s in durations_s]
    ends = []
    for future, duration_s in zip(futures, durations_s, strict=True):
        try:
            assert future.result() == duration_s
            ends.append("in time")
        except TaskTimeout:
            ends.append("late")
    assert len(ends) == 100
    assert engine._native.stats()["worker_deaths"] == 0


def test_cancelling_with_force_kills_the_running_task_only(engine: ls.Engine, mailbox: Callable[[], Mailbox]) -> None:
    began = mailbox()

    def stay(began: Mailbox) -> None:
        began.send(os.getpid())
        time.sleep(1e6)

    with ls.ProcessPoolExecutor(2, _engine=engine) as executor:
        future = executor.submit(stay, began)
        pid = began.receive_int()
        executor.terminate_workers()
        with pytest.raises(CancelledError):
            future.result()
    assert pid not in worker_pids(engine)
    assert engine.submit(pow, 2, 10).result() == 1024
