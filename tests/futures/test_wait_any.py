"""Waiting for one of several futures, and stopping calls that run."""

import threading

import pytest

import lineshaft as ls
from lineshaft._native import cancel_running, wait_any, when_done


def test_one_of_many_is_enough(processes, event):
    gate = event("gate")
    held = [processes.submit(gate.wait)]
    quick = processes.submit(abs, -1)
    assert wait_any([*held, quick])
    assert quick.done()
    assert not held[0].done()
    assert not wait_any(held, 0.01)
    gate.set()
    assert wait_any(held)
    assert held[0].done()


def test_on_threads():
    gate = threading.Event()
    with ls.ThreadPoolExecutor(2) as threads:
        held, quick = threads.submit(gate.wait), threads.submit(abs, -1)
        assert wait_any([held, quick])
        assert quick.done()
        assert not held.done()
        gate.set()


def test_nothing_to_wait_for():
    with pytest.raises(ValueError, match="nothing"):
        wait_any([])


def wait_inside(count):
    """Wait for nested calls one by one, as each ends."""
    waiting, results = [ls.submit(abs, -n) for n in range(count)], []
    while waiting:
        assert wait_any(waiting)
        results += [future.result() for future in waiting if future.done()]
        waiting = [future for future in waiting if not future.done()]
        if waiting:
            wait_any(waiting, 0)
    return sorted(results)


def test_inside_a_task():
    assert ls.submit(wait_inside, 20).result() == list(range(20))


def test_a_running_call_is_stopped_and_no_other(processes, event):
    begun, gate, never = event("begun"), event("gate"), event("never")

    running = processes.submit(set_and_wait, begun, never)
    other = processes.submit(gate.wait)
    begun.wait()
    cancel_running([running])
    assert wait_any([running])
    assert running.cancelled()
    gate.set()
    other.result()


def set_and_wait(first, second):
    """Tell that it runs, and wait for what never comes."""
    first.set()
    second.wait()


def told_of_nested_calls():
    """Be told of each of several nested calls; return their results."""
    told = []
    futures = [ls.submit(abs, n) for n in range(10)]
    for future in futures:
        when_done(future, told.append)
    while len(told) < 10:
        wait_any([future for future in futures if not future.done()] or futures)
    return sorted(future.result() for future in told)


def test_a_task_is_told():
    assert ls.submit(told_of_nested_calls).result() == list(range(10))
    told = threading.Event()
    when_done(ls.submit(abs, -1), lambda future: told.set())
    assert told.wait(30)


def keep_the_core(entered, leave, other):
    """Have a callback on a nested call that cannot run, and hold the only core."""
    future = ls.submit(other.set)
    when_done(future, lambda future: None)
    entered.set()
    leave.wait()
    return other.is_set()


def test_a_task_that_is_only_told_keeps_its_core(event):
    entered, leave, other = event("entered"), event("leave"), event("other")
    with ls.Engine(workers=1) as engine:
        task = engine.submit(keep_the_core, entered, leave, other)
        entered.wait()
        assert not other.is_set()
        leave.set()
        assert task.result() is False
