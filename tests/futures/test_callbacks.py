"""Callbacks: each once, in order, in this process; what they raise is logged."""

import logging
import os
import threading

import pytest

import lineshaft as ls


def fail() -> None:
    raise ValueError("in the call")


def test_in_order_with_the_future(executor, event):
    leave = event("leave")
    future = executor.submit(leave.wait)
    told = []
    ended = threading.Event()
    for number in range(5):
        future.add_done_callback(
            lambda ended, number=number: told.append((number, ended, ended.result(0), os.getpid()))
        )
    future.add_done_callback(lambda _: ended.set())
    assert told == []
    leave.set()
    assert ended.wait(30)
    assert told == [(number, future, True, os.getpid()) for number in range(5)]


def test_at_once_and_here_when_it_is_done(executor):
    future = executor.submit(pow, 2, 2)
    future.result()
    told = []
    future.add_done_callback(lambda ended: told.append((ended.result(), threading.get_ident())))
    assert told == [(4, threading.get_ident())]


def test_after_a_failure_too(executor):
    told = threading.Event()
    future = executor.submit(fail)
    future.add_done_callback(lambda ended: told.set() if isinstance(ended.exception(), ValueError) else None)
    assert told.wait(30)


def test_what_they_raise_is_logged(executor, event, caplog):
    leave, ended = event("leave"), threading.Event()
    future = executor.submit(leave.wait)
    future.add_done_callback(lambda _: 1 / 0)
    future.add_done_callback(lambda _: ended.set())
    with caplog.at_level(logging.ERROR, "concurrent.futures"):
        leave.set()
        assert ended.wait(30)  # the callbacks behind are called
    (record,) = [record for record in caplog.records if record.name == "concurrent.futures"]
    assert record.getMessage().startswith("exception calling callback for")
    assert record.exc_info[0] is ZeroDivisionError
    assert "future.add_done_callback(lambda _: 1 / 0)" in caplog.text  # the traceback leads there


def test_what_they_raise_is_logged_when_it_is_done(executor, caplog):
    future = executor.submit(pow, 2, 2)
    future.result()
    future.add_done_callback(lambda _: 1 / 0)
    assert "exception calling callback" in caplog.text
    assert "future.add_done_callback(lambda _: 1 / 0)" in caplog.text


def test_they_may_submit(executor):
    ended = threading.Event()
    results = []

    def more(future: "ls.Future[int]") -> None:
        results.append(future.result())
        if len(results) < 5:
            executor.submit(pow, 2, len(results)).add_done_callback(more)
        else:
            ended.set()

    executor.submit(pow, 2, 0).add_done_callback(more)
    assert ended.wait(30)
    assert results == [1, 2, 4, 8, 16]


def test_they_may_wait_for_others(executor):
    ended = threading.Event()
    results = []

    def more(future: "ls.Future[int]") -> None:
        results.append(executor.submit(pow, 2, future.result()).result(timeout=30))
        ended.set()

    executor.submit(pow, 2, 2).add_done_callback(more)
    assert ended.wait(60)
    assert results == [16]


@pytest.mark.parametrize("count", [1000])
def test_one_call_per_future(executor, count):
    told, ended = [], threading.Event()

    def tell(future: "ls.Future[int]") -> None:
        told.append(future.result())
        if len(told) == count:
            ended.set()

    for number in range(count):
        executor.submit(abs, -number).add_done_callback(tell)
    assert ended.wait(60)
    assert sorted(told) == list(range(count))
