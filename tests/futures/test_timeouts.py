"""Timeouts are those of the standard library: negative ones have passed, and nan is not a number of seconds."""

import pytest

import lineshaft as ls
from lineshaft._native import wait_any


@pytest.mark.parametrize("seconds", [0, -1, -1e300, float("-inf")])
def test_a_timeout_that_has_passed(executor, event, seconds):
    leave = event("leave")
    future = executor.submit(leave.wait)
    with pytest.raises(TimeoutError):
        future.result(seconds)
    assert not wait_any([future], seconds)
    assert not executor._pool.wait_idle(seconds)
    leave.set()
    assert future.result(30)


def test_not_a_number(executor, event):
    leave = event("leave")
    future = executor.submit(leave.wait)
    for wait in (future.result, future.exception, executor._pool.wait_idle):
        with pytest.raises(ValueError, match="nan"):
            wait(float("nan"))
    with pytest.raises(ValueError, match="nan"):
        wait_any([future], float("nan"))
    leave.set()


def test_more_than_any_clock_counts(executor):
    future = executor.submit(pow, 2, 2)
    assert future.result(float("inf")) == 4
    assert executor.submit(pow, 2, 2).result(1e300) == 4
    assert executor._pool.wait_idle(float("inf"))


def test_of_a_nested_call(processes, event):
    leave = event("leave")

    def inner() -> bool:
        call = ls.submit(leave.wait)
        with pytest.raises(ValueError, match="nan"):
            call.result(float("nan"))
        leave.set()
        return call.result(30)

    assert processes.submit(inner).result(30)
