"""Pools whose workers are forks of the program: the death of the process that they are forked from."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING

import psutil
import pytest
from tests.events import eventually
from tests.faults.conftest import is_alive, worker_pids
from tests.faults.tasks import Mailbox, hold, identity

import lineshaft as ls
from lineshaft.errors import WorkerDied

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.conftest import Program

ORPHANS_END_S = 2.0
FORK = multiprocessing.get_context("fork")


def parent_of_workers() -> int:
    return os.getppid()


def test_a_killed_snapshot_breaks_its_pool_and_no_other(engine: ls.Engine, mailbox: Callable[[], Mailbox]) -> None:
    arrived, leave = mailbox(), mailbox()
    with (
        ls.ProcessPoolExecutor(1, FORK, _engine=engine) as broken,
        ls.ProcessPoolExecutor(1, FORK, _engine=engine) as other,
    ):
        snapshot = broken.submit(parent_of_workers).result()
        assert other.submit(parent_of_workers).result() != snapshot
        running, waiting = broken.submit(hold, arrived, leave), broken.submit(identity, 1)
        worker = arrived.receive_int()
        os.kill(snapshot, 9)
        with pytest.raises(WorkerDied):
            running.result()
        for future in (waiting, broken.submit(identity, 2)):
            with pytest.raises(BrokenProcessPool, match="forked from has ended"):
                future.result()
        eventually(lambda: not is_alive(worker), "its worker is gone")
        assert not psutil.pid_exists(snapshot)  # reaped, too
        assert other.submit(identity, 3).result() == 3
    assert engine.submit(identity, 4).result() == 4


@pytest.mark.parametrize("is_waited_for", [True, False], ids=["at-once", "later"])
def test_who_waits_for_an_executor_waits_until_its_snapshot_is_reaped(engine: ls.Engine, is_waited_for: bool) -> None:
    for _ in range(10):
        executor = ls.ProcessPoolExecutor(2, FORK, _engine=engine)
        snapshot = executor.submit(parent_of_workers).result()
        assert psutil.Process(snapshot).ppid() == os.getpid()
        executor.shutdown(wait=is_waited_for)
        executor.shutdown()
        # A program that waits for any child of its own would be told of this one.
        assert not psutil.pid_exists(snapshot)
    assert worker_pids(engine) == []


@pytest.mark.parametrize("end", [ls.Pool.close, ls.Pool.terminate])
def test_who_joins_a_pool_waits_until_its_snapshot_is_reaped(end: Callable[[ls.Pool], None]) -> None:
    for _ in range(10):
        pool = ls.Pool(2, context=FORK)
        snapshot = pool.apply(parent_of_workers)
        end(pool)
        pool.join()
        assert not psutil.pid_exists(snapshot)
    ls.default_engine().shutdown()


def test_workers_are_replaced_from_the_snapshot(engine: ls.Engine) -> None:
    with ls.ProcessPoolExecutor(1, FORK, _engine=engine) as executor:
        snapshot = executor.submit(parent_of_workers).result()
        with pytest.raises(WorkerDied):
            executor.submit(os._exit, 3).result()
        assert executor.submit(parent_of_workers).result() == snapshot


@pytest.mark.parametrize("kind", ["Pool", "ProcessPoolExecutor"])
def test_no_process_survives_a_killed_program(program: Callable[..., Program], kind: str) -> None:
    # The child of the program holds the engine's ends of all sockets, so nobody reads their end.
    started = program(
        f"""
        import multiprocessing, os, time
        import lineshaft as ls

        def pids(_=None):
            time.sleep(0.05)
            return os.getpid(), os.getppid()

        if __name__ == "__main__":
            pool = ls.{kind}(2)
            found = set(pool.map(pids, range(4)))
            child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
            child.start()
            print(child.pid, *sorted(set(sum(found, ()))), flush=True)
            list(pool.map(time.sleep, [1e6] * 2))
        """
    )
    child, *pids = map(int, started.line().split())
    assert len(pids) >= 2
    started.process.kill()
    killed_s = time.monotonic()
    try:
        eventually(lambda: not any(map(is_alive, pids)), "workers and snapshot are gone", ORPHANS_END_S)
        assert time.monotonic() - killed_s < ORPHANS_END_S
    finally:
        os.kill(child, 9)


def test_pools_made_while_other_threads_submit(engine: ls.Engine) -> None:
    ended = threading.Event()
    wrong: list[object] = []

    def submit() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            if engine.submit(identity, number).result() != number:
                wrong.append(number)

    threads = [threading.Thread(target=submit) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(10):
            with ls.ProcessPoolExecutor(1, FORK, _engine=engine) as executor:
                assert executor.submit(identity, number).result(60) == number
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_pools_made_by_threads_that_end(engine: ls.Engine) -> None:
    made: list[ls.ProcessPoolExecutor] = []

    def make() -> None:
        made.append(ls.ProcessPoolExecutor(1, FORK, _engine=engine))
        made[-1].submit(identity, 0).result()

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for executor in made:
        assert executor.submit(identity, 1).result() == 1
        executor.shutdown()


def test_a_snapshot_ends_whose_maker_is_interrupted(engine: ls.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    forked = []
    fork = os.fork

    def fork_and_interrupt() -> int:
        pid = fork()
        if pid != 0:
            forked.append(pid)
            # Blocked until the fork is done with.
            signal.raise_signal(signal.SIGUSR1)
        return pid

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with ls.ProcessPoolExecutor(1, FORK, _engine=engine) as executor:
            with monkeypatch.context() as patch:
                patch.setattr(os, "fork", fork_and_interrupt)
                with pytest.raises(KeyboardInterrupt):
                    executor.submit(identity, 1)
            assert len(forked) == 1
            assert not psutil.pid_exists(forked[0])  # reaped, too
            assert executor.submit(identity, 2).result() == 2
    finally:
        signal.signal(signal.SIGUSR1, before)
