"""What has not begun can be cancelled; what runs or has ended cannot."""

import concurrent.futures
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.events import FileEvent, enter_and_wait

import lineshaft as ls

Held = tuple[ls.ProcessPoolExecutor | ls.ThreadPoolExecutor, ls.Future[str], FileEvent]


@pytest.fixture
def held(executor_class, event: Callable[[str], FileEvent]):
    """One worker, busy until its event is set."""
    entered, leave = event("entered"), event("leave")
    with executor_class(1) as executor:
        running = executor.submit(enter_and_wait, entered, leave)
        entered.wait()
        yield executor, running, leave
        leave.set()


def test_a_waiting_call_never_runs(held: Held, tmp_path: Path):
    executor, running, leave = held
    trace = tmp_path / "trace"
    first = executor.submit(trace.touch)
    others = [executor.submit(pow, 2, n) for n in range(5)]
    assert first.cancel()
    assert first.cancel()
    assert first.cancelled()
    assert first.done()
    assert not first.running()
    assert others[2].cancel()
    leave.set()
    assert running.result() == "left"
    assert [future.result() for n, future in enumerate(others) if n != 2] == [1, 2, 8, 16]
    assert not trace.exists()


def test_results_of_cancelled_calls(held: Held):
    future = held[0].submit(pow, 2, 2)
    assert future.cancel()
    for ask in (future.result, future.exception):
        with pytest.raises(CancelledError):
            ask(timeout=30)


def test_running_and_finished_calls_stay(held: Held):
    _, running, leave = held
    assert running.running()
    assert not running.cancel()
    assert not running.cancelled()
    leave.set()
    assert running.result() == "left"
    assert not running.cancel()
    assert not running.cancelled()
    assert not running.running()


def test_waiters_and_callbacks_hear_of_it(held: Held):
    future = held[0].submit(pow, 2, 2)
    told: list[bool] = []
    future.add_done_callback(lambda ended: told.append(ended.cancelled()))
    future.cancel()
    assert told == [True]
    done, pending = concurrent.futures.wait([future, held[1]], return_when="FIRST_COMPLETED", timeout=30)
    assert done == {future}
    assert pending == {held[1]}
    assert list(concurrent.futures.as_completed([future], timeout=30)) == [future]


def test_engines_futures_are_not_completed_by_hand(held: Held):
    future = held[0].submit(pow, 2, 2)
    for act in (lambda: future.set_result(1), lambda: future.set_exception(ValueError())):
        with pytest.raises((TypeError, concurrent.futures.InvalidStateError)):
            act()
    held[2].set()
    assert future.result() == 4


def test_dependents_of_a_cancelled_call_are_cancelled(event):
    entered, leave = event("entered"), event("leave")
    with ls.ProcessPoolExecutor(1) as executor:
        executor.submit(enter_and_wait, entered, leave)
        entered.wait()
        first = executor.submit(pow, 2, 2)
        second = executor.submit(abs, first)
        assert first.cancel()
        with pytest.raises(CancelledError):
            second.result(timeout=30)
        leave.set()


def interrupt(*_: object) -> None:
    """Do what a signal handler may do at any point."""
    raise KeyboardInterrupt


def is_free(condition: threading.Condition) -> bool:
    """Whether another thread can lock it."""
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        return executor.submit(lambda: condition.acquire(blocking=False) and condition.release() is None).result()


class InterruptedWaiter:
    add_cancelled = interrupt


@pytest.fixture
def busy(held: Held, executor_class, event: Callable[[str], FileEvent]):
    """Keep the thread busy that tells waiters: who cancels does so instead.

    It is let go before anybody waits for the end of the calls that are held.
    """
    begun, leave, may_end = threading.Event(), threading.Event(), event("may end")
    with executor_class(1) as executor:
        waiter = SimpleNamespace(add_result=lambda _: (begun.set(), leave.wait()))
        future = executor.submit(may_end.wait)
        with future._condition:
            future._waiters.append(waiter)
        may_end.set()
        assert begun.wait(30)
        yield
        leave.set()


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize("where", ["callback", "waiter", "condition"])
def test_who_is_interrupted_while_telling_others_hears_of_it_when_all_have_been_told(held: Held, where: str):
    future, told = held[0].submit(pow, 2, 2), []
    if where == "callback":
        future.add_done_callback(interrupt)
    elif where == "waiter":
        future._waiters.append(InterruptedWaiter())
        assert future._condition is not None
    else:
        future._condition.notify_all = interrupt
    future.add_done_callback(told.append)
    with pytest.raises(KeyboardInterrupt):
        future.cancel()
    # Once only: the thread that is busy will tell as well.
    vars(future._condition).pop("notify_all", None)
    assert told == [future]
    assert is_free(future._condition)


def test_what_a_late_callback_raises(executor):
    future = executor.submit(pow, 2, 2)
    assert future.result() == 4
    with pytest.raises(KeyboardInterrupt):
        future.add_done_callback(interrupt)
