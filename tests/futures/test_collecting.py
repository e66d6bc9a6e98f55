"""Programs that collect results by callbacks: who sees that a call has ended can rely on those of calls before it.

In `concurrent.futures` the thread that ends futures calls the callbacks of one before it ends the next.
"""

import concurrent.futures
import threading

import pytest
from tests.events import PATIENCE_S, eventually

import lineshaft as ls

COUNT = 200


class Collected(list["ls.Future[int]"]):
    """Futures whose callbacks have been called, each of which takes a while."""

    def add(self, future: "ls.Future[int]") -> None:
        assert sum(range(5_000)) > 0
        self.append(future)


def submit_all(executor: ls.ProcessPoolExecutor | ls.ThreadPoolExecutor) -> tuple[list["ls.Future[int]"], Collected]:
    collected = Collected()
    futures = []
    for n in range(COUNT):
        future = executor.submit(abs, n)
        future.add_done_callback(collected.add)
        futures.append(future)
    return futures, collected


@pytest.mark.parametrize("ask", ["result", "exception"])
def test_whoever_has_all_results(executor, ask):
    futures, collected = submit_all(executor)
    for future in futures:
        getattr(future, ask)()
    assert len(collected) >= COUNT - 1


def test_whoever_has_the_last_result(executor_class):
    with executor_class(1) as executor:
        futures, collected = submit_all(executor)
        futures[-1].result()
        assert collected[: COUNT - 1] == futures[:-1]


def test_whoever_has_waited(executor):
    futures, collected = submit_all(executor)
    done, _ = concurrent.futures.wait(futures)
    assert len(done) == COUNT
    assert len(collected) >= COUNT - 1


def test_whoever_waits_when_all_have_ended(executor):
    futures, collected = submit_all(executor)
    while not all(future.done() for future in futures):
        pass
    assert len(concurrent.futures.wait(futures).done) == COUNT
    assert len(collected) >= COUNT - 1


def test_whoever_takes_them_as_they_end(executor):
    futures, collected = submit_all(executor)
    for number, _ in enumerate(concurrent.futures.as_completed(futures)):
        assert len(collected) >= number


@pytest.fixture
def held_up(processes):
    """Return an executor that is in a callback until the test is over."""
    entered, leave = threading.Event(), threading.Event()
    processes.submit(abs, -1).add_done_callback(lambda _: (entered.set(), leave.wait(PATIENCE_S)))
    assert entered.wait(PATIENCE_S)
    yield processes
    leave.set()


def test_a_callback_that_takes_long_is_waited_for_within_the_time_limit(held_up):
    future = held_up.submit(abs, -2)
    assert concurrent.futures.wait([future], timeout=0.1).not_done == {future}
    assert eventually(future.done, "the call ends")
    assert future.result(timeout=0) == 2, "what is there is not refused"
    assert future.exception(timeout=0) is None


def test_a_cancelled_call_waits_for_no_callback(held_up, event):
    for _ in range(2):
        held_up.submit(event("leave").wait)
    future = held_up.submit(abs, -2)
    assert future.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        future.result(timeout=5)
    assert future in concurrent.futures.wait([future], timeout=5).done
    event("leave").set()


def test_a_callback_may_wait_for_later_calls(executor):
    ended: list[bool] = []
    called = threading.Event()

    def wait_for_others(_: object) -> None:
        futures = [executor.submit(abs, n) for n in range(5)]
        ended.append(concurrent.futures.wait(futures, timeout=PATIENCE_S / 2).not_done == set())
        ended.append(len(list(concurrent.futures.as_completed(futures, timeout=PATIENCE_S / 2))) == 5)
        called.set()

    executor.submit(abs, -1).add_done_callback(wait_for_others)
    assert called.wait(PATIENCE_S)
    assert ended == [True, True]


def test_a_condition_without_callbacks_holds_up_nobody(processes):
    first = processes.submit(abs, -1)
    with first._condition:
        assert eventually(first.done, "the call ends")
        assert processes.submit(abs, -2).result(5) == 2


def test_one_that_blocks_on_a_thread_holds_up_no_other_thread():
    entered, leave = threading.Event(), threading.Event()
    with ls.ThreadPoolExecutor(2) as executor:
        first = executor.submit(abs, -1)
        first.add_done_callback(lambda _: (entered.set(), leave.wait()))
        assert entered.wait(30)
        second = executor.submit(abs, -2)
        assert second.result(30) == 2
        assert concurrent.futures.wait([second], timeout=30).done == {second}
        leave.set()
