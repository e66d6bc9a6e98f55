"""Initializers that raise, exit or kill: the pool is broken, clearly and soon; the engine is not."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import BrokenExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any

import pytest
from tests.events import eventually
from tests.faults.conftest import is_alive, worker_pids
from tests.faults.tasks import Mailbox, exit_at_once, kill_self, raise_lookup_error, raise_system_exit, read_null

import lineshaft as ls
from lineshaft.errors import SerializationError

if TYPE_CHECKING:
    from collections.abc import Callable


def broken(executor: ls.ProcessPoolExecutor) -> BaseException:
    """Check that every call of the executor fails because it is broken; return why the first one did."""
    futures = [executor.submit(pow, 2, 2)]
    with contextlib.suppress(BrokenProcessPool):  # it may be known by now
        futures += [executor.submit(pow, n, 2) for n in range(10)]
    errors = [future.exception() for future in futures]
    assert {type(error) for error in errors} == {BrokenProcessPool}
    with pytest.raises(BrokenProcessPool):
        executor.submit(pow, 2, 2).result()
    assert errors[0] is not None
    return errors[0]


@pytest.mark.parametrize(
    ("initializer", "initargs", "words"),
    [
        (exit_at_once, (3,), "exited with status 3"),
        (kill_self, (), "killed by signal 9"),
        (read_null, (), "killed by signal 11"),
    ],
)
def test_initializer_that_ends_its_worker(
    engine: ls.Engine, initializer: Callable[..., None], initargs: tuple[Any, ...], words: str
) -> None:
    healthy = engine.submit(os.getpid).result()
    began_s = time.monotonic()
    with ls.ProcessPoolExecutor(2, initializer=initializer, initargs=initargs, _engine=engine) as executor:
        assert words in str(broken(executor))
    assert time.monotonic() - began_s < 20
    # Other pools of the engine are as they were.
    assert engine.submit(os.getpid).result() in worker_pids(engine)
    assert healthy in worker_pids(engine)


@pytest.mark.parametrize(("initializer", "error"), [(raise_lookup_error, LookupError), (raise_system_exit, SystemExit)])
def test_initializer_that_raises(
    engine: ls.Engine, initializer: Callable[[], None], error: type[BaseException]
) -> None:
    with ls.ProcessPoolExecutor(2, initializer=initializer, _engine=engine) as executor:
        raised = broken(executor)
        assert error.__name__ in str(raised)
        assert isinstance(raised.__cause__, error)
        assert initializer.__name__ in str(raised.__cause__.__cause__)
        del raised
    assert engine.submit(pow, 2, 10).result() == 1024


def test_a_busy_pool_does_not_keep_a_broken_one_alive(engine: ls.Engine, mailbox: Callable[[], Mailbox]) -> None:
    stop = threading.Event()

    def keep_busy() -> None:
        while not stop.is_set():
            engine.submit(pow, 2, 2).result()

    busy = threading.Thread(target=keep_busy)
    busy.start()
    try:
        with ls.ProcessPoolExecutor(1, initializer=kill_self, _engine=engine) as executor:
            broken(executor)
    finally:
        stop.set()
        busy.join()


def test_initializer_that_fails_once(engine: ls.Engine, mailbox: Callable[[], Mailbox]) -> None:
    fates = mailbox()

    def maybe(fates: Mailbox) -> None:
        if fates.receive() == "die":
            os._exit(1)

    for fate in ["die", "live", "live", "live"]:
        fates.send(fate)
    # A worker that ends before its first task is replaced; one such end is not the pool's.
    with ls.ProcessPoolExecutor(2, initializer=maybe, initargs=(fates,), _engine=engine) as executor:
        assert [executor.submit(pow, n, 2).result() for n in range(10)] == [n * n for n in range(10)]


def test_initializer_of_a_replaced_worker_raises(engine: ls.Engine, mailbox: Callable[[], Mailbox]) -> None:
    fates = mailbox()

    def maybe(fates: Mailbox) -> None:
        if fates.receive() == "raise":
            raise LookupError("the second time")

    fates.send("go")
    with ls.ProcessPoolExecutor(1, initializer=maybe, initargs=(fates,), _engine=engine) as executor:
        pid = executor.submit(os.getpid).result()
        fates.send("raise")
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(BrokenProcessPool, match="the second time"):
            executor.submit(os.getpid).result()


def test_unpicklable_initializer(engine: ls.Engine) -> None:
    lock = threading.Lock()

    def locks() -> None:
        lock.acquire()

    spawn = multiprocessing.get_context("spawn")
    with pytest.raises(SerializationError, match="lock"):
        ls.ProcessPoolExecutor(1, spawn, initializer=locks, _engine=engine)
    with pytest.raises(SerializationError, match="lock"):
        ls.ProcessPoolExecutor(1, spawn, initializer=raise_lookup_error, initargs=(lock,), _engine=engine)
    assert engine.submit(pow, 2, 10).result() == 1024


def test_initializer_that_never_returns(engine: ls.Engine, mailbox: Callable[[], Mailbox]) -> None:
    began = mailbox()

    def stay(began: Mailbox) -> None:
        began.send(os.getpid())
        time.sleep(1e6)

    executor = ls.ProcessPoolExecutor(1, initializer=stay, initargs=(began,), _engine=engine)
    future = executor.submit(pow, 2, 2)
    pid = began.receive_int()
    # The engine does not wait for it, either.
    began_s = time.monotonic()
    engine.shutdown(wait=False)
    assert time.monotonic() - began_s < 10
    assert future.cancelled()
    eventually(lambda: not is_alive(pid), "the worker is gone")


def test_thread_initializer_that_raises(engine: ls.Engine, caplog: pytest.LogCaptureFixture) -> None:
    with ls.ThreadPoolExecutor(2, initializer=raise_lookup_error, _engine=engine) as executor:
        futures: list[Any] = []
        for n in range(5):
            try:
                futures.append(executor.submit(pow, n, 2))
            except BrokenExecutor:
                break
        for future in futures:
            with pytest.raises(BrokenExecutor):
                future.result()
    del futures, future
    assert any("initializer" in record.getMessage() for record in caplog.records)
    caplog.clear()
