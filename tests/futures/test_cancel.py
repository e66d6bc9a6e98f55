"""What has not begun can be cancelled; what runs or has ended cannot."""

import concurrent.futures
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path

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
