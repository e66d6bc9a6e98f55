"""What a future says about itself."""

import concurrent.futures
import copy
import os
import pickle
import re
import signal
import weakref
from multiprocessing import connection

import pytest
from tests.events import PATIENCE_S, enter_and_wait, eventually

import lineshaft as ls


def fail() -> None:
    raise ValueError("x")


def test_a_future_of_concurrent_futures(executor):
    future = executor.submit(pow, 2, 2)
    assert isinstance(future, concurrent.futures.Future)
    assert type(future) is ls.Future
    assert isinstance(executor, concurrent.futures.Executor)


def test_states(executor_class, event):
    entered, leave = event("entered"), event("leave")
    with executor_class(1) as executor:
        running = executor.submit(enter_and_wait, entered, leave)
        entered.wait()
        waiting, failing, cancelled = executor.submit(pow, 2, 2), executor.submit(fail), executor.submit(pow, 2, 2)
        cancelled.cancel()
        assert [f.running() for f in (running, waiting, cancelled)] == [True, False, False]
        assert [f.done() for f in (running, waiting, cancelled)] == [False, False, True]
        assert "state=running" in repr(running)
        assert "state=pending" in repr(waiting)
        assert "state=cancelled" in repr(cancelled)
        leave.set()
    assert [f.running() for f in (running, waiting, failing)] == [False] * 3
    assert [f.done() for f in (running, waiting, failing)] == [True] * 3
    assert repr(waiting).startswith("<Future at 0x")
    assert "state=finished returned int" in repr(waiting)
    assert "state=finished raised ValueError" in repr(failing)


def test_why_it_is_not_running(executor_class, event):
    entered, leave = event("entered"), event("leave")
    with executor_class(1) as executor:
        running = executor.submit(enter_and_wait, entered, leave)
        entered.wait()
        waiting = executor.submit(pow, 2, 2)
        dependent = ls.submit(abs, waiting)
        assert running.explain().startswith("it runs on ")
        assert re.search("busy|after what runs now", waiting.explain())
        assert dependent.explain().startswith("it waits for 1 other task: pow (task ")
        leave.set()
        assert dependent.result(60) == 4
    assert dependent.explain() == "it has ended"


def test_identity_and_weak_references(executor):
    future = executor.submit(pow, 2, 2)
    assert {future: 1}[future] == 1
    assert weakref.ref(future)() is future
    assert future != executor.submit(pow, 2, 2)
    future.note = "mine"
    assert future.note == "mine"


def test_a_future_cannot_be_copied_or_pickled(processes):
    future = processes.submit(pow, 2, 2)
    for act in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError):
            act(future)


def test_a_dropped_future_still_runs(executor_class, tmp_path):
    path = tmp_path / "trace"
    with executor_class(1) as executor:
        executor.submit(path.touch)
    assert path.exists()


def test_only_executors_make_futures():
    future = ls.Future()
    with pytest.raises(RuntimeError, match="submitting to an executor"):
        future.result(timeout=1)


def test_workers_as_programs_know_them(processes):
    pid = processes.submit(os.getpid).result()
    worker = processes._processes[pid]
    assert (worker.pid, worker.is_alive()) == (pid, True)
    worker.kill()
    eventually(lambda: not worker.is_alive() or pid not in processes._processes, "it still lives")
    assert processes.submit(pow, 2, 2).result() == 4


def test_who_holds_a_worker_waits_for_its_end(event):
    entered, leave = event("entered"), event("leave")
    with ls.ProcessPoolExecutor(1) as executor:
        future = executor.submit(enter_and_wait, entered, leave)
        entered.wait()
        [worker] = executor._processes.values()
        worker.join(timeout=0)
        assert (worker.is_alive(), worker.exitcode) == (True, None)
        assert not connection.wait([worker.sentinel], 0)
        with pytest.raises(ValueError, match="still running"):
            worker.close()
        worker.terminate()
        assert connection.wait([worker.sentinel], PATIENCE_S) == [worker.sentinel]
        worker.join()
        assert (worker.is_alive(), worker.exitcode) == (False, -signal.SIGTERM)
        with pytest.raises(concurrent.futures.BrokenExecutor):
            future.result()


def test_a_worker_that_has_ended():
    with ls.ProcessPoolExecutor(1) as executor:
        executor.submit(pow, 2, 2).result()
        [looked_at] = executor._processes.values()
        [not_looked_at] = executor._processes.values()
        assert looked_at.is_alive()
    for worker in (looked_at, not_looked_at):
        worker.kill()
        worker.join()
        assert (worker.is_alive(), worker.exitcode) == (False, 255)
        assert connection.wait([worker.sentinel], PATIENCE_S) == [worker.sentinel]
        for _ in range(2):
            worker.close()
        with pytest.raises(ValueError, match="closed"):
            worker.join()


def test_unfinished_calls_as_programs_know_them(processes, event):
    leave = event("leave")
    assert len(processes._pending_work_items) == 0
    futures = [processes.submit(leave.wait) for _ in range(5)]
    assert len(processes._pending_work_items) == 5
    leave.set()
    concurrent.futures.wait(futures)
    eventually(lambda: not processes._pending_work_items, "none is left")


def test_threads_as_programs_know_them(threads, event):
    leave = event("leave")
    futures = [threads.submit(leave.wait) for _ in range(5)]
    eventually(lambda: len(threads._threads) == 2, "two threads run")
    assert threads._work_queue.qsize() == 3
    leave.set()
    concurrent.futures.wait(futures)
    assert threads._work_queue.empty()


@pytest.mark.parametrize(
    ("method", "arguments"),
    [("set_result", [3]), ("set_exception", [ValueError()]), ("set_running_or_notify_cancel", [])],
)
def test_only_its_engine_completes_a_future(executor, event, method, arguments):
    """An executor calls these methods. This one is written in Rust: whoever else does so is told."""
    leave = event("leave")
    future = executor.submit(leave.wait)
    with pytest.raises(TypeError, match="belongs to an engine"):
        getattr(future, method)(*arguments)
    leave.set()
    assert future.result() is True
    # As any future that is done.
    error = RuntimeError if method == "set_running_or_notify_cancel" else concurrent.futures.InvalidStateError
    with pytest.raises(error):
        getattr(future, method)(*arguments)


def test_a_future_without_a_call_says_how_futures_are_made():
    with pytest.raises(RuntimeError, match="made by submitting"):
        ls.Future().result()
