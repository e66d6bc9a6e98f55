"""The death of the program, and of the process that workers are forked from."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from tests.events import eventually
from tests.faults.conftest import find_zygote, is_alive, marked_processes, worker_pids, zygote_of
from tests.faults.tasks import Mailbox, hold

import lineshaft as ls
from lineshaft.errors import WorkerDied

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.conftest import Program

#: What the issue promises for workers whose program was killed.
ORPHANS_END_S = 2.0


BUSY_PROGRAM = """
    import os, time, itertools
    from collections import deque
    import lineshaft as ls

    def idle():
        return os.getpid()

    def sleeping():
        print(os.getpid(), flush=True)
        time.sleep(1e6)

    def computing():
        print(os.getpid(), flush=True)
        while True:
            pass

    def stuck():
        print(os.getpid(), flush=True)
        deque(itertools.repeat(0), maxlen=0)

    def printing():
        print(os.getpid(), flush=True)
        while True:
            print("x" * 1000, file=open(os.devnull, "w"))

    def calling():
        ls.submit(sleeping).result()

    engine = ls.Engine(workers=2)
    engine.submit(idle).result()
    print(os.getpid(), flush=True)
    futures = [engine.submit(KIND) for _ in range(2)]
    futures[0].result()
    """


@pytest.mark.parametrize("kind", ["sleeping", "computing", "stuck", "printing", "calling"])
def test_no_worker_survives_a_killed_program(program: Callable[..., Program], token: str, kind: str) -> None:
    started = program(BUSY_PROGRAM.replace("KIND", kind))
    pids = {int(started.line()) for _ in range(3)}
    processes = len(marked_processes(token))
    assert processes >= 4  # the program, its zygote and two workers
    started.process.kill()
    killed_s = time.monotonic()
    eventually(lambda: not marked_processes(token), "no process of the program is left", ORPHANS_END_S)
    eventually(lambda: not any(is_alive(pid) for pid in pids), "its workers are gone", ORPHANS_END_S)
    assert time.monotonic() - killed_s < ORPHANS_END_S
    assert started.end()[1] == ""


def test_no_worker_survives_a_program_killed_while_it_starts(program: Callable[..., Program], token: str) -> None:
    # Wherever the start-up is when the program dies: before the zygote, before its workers, before they are set up.
    for delay_ms in range(0, 60, 5):
        started = program(
            """
            import time
            import lineshaft as ls

            engine = ls.Engine(workers=2)
            futures = [engine.submit(time.sleep, 1e6) for _ in range(2)]
            print("submitted", flush=True)
            futures[0].result()
            """
        )
        assert started.line() == "submitted"
        time.sleep(delay_ms / 1000)  # picks the moment; every one must do
        started.process.kill()
        eventually(lambda: not marked_processes(token), f"nothing is left, killed after {delay_ms} ms", ORPHANS_END_S)


def test_no_worker_survives_a_program_that_exits_at_once(program: Callable[..., Program], token: str) -> None:
    started = program(BUSY_PROGRAM.replace("futures[0].result()", "os._exit(7)").replace("KIND", "computing"))
    started.end()
    assert started.process.returncode == 7
    eventually(lambda: not marked_processes(token), "nothing is left", ORPHANS_END_S)


def test_forked_child_that_ends_does_no_harm(engine: ls.Engine, mailbox: Callable[[], Mailbox]) -> None:
    arrived, leave = mailbox(), mailbox()
    running = engine.submit(hold, arrived, leave)
    worker = arrived.receive_int()
    child = os.fork()
    if child == 0:
        try:
            engine.submit(pow, 2, 2)
        except RuntimeError:  # a clear error, and no hang
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    leave.send()
    assert running.result() == worker


def connections() -> set[str]:
    """Return the sockets and pipes that this process has."""
    links = {str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()}
    return {link for link in links if link.startswith(("socket:", "pipe:"))}


def test_forked_child_keeps_no_connection_of_the_engine(make_engine: Callable[..., ls.Engine]) -> None:
    before = connections()
    engine = make_engine(workers=1)
    assert engine.dashboard_url
    assert engine.submit(pow, 2, 2).result() == 4
    assert connections() > before

    def child_keeps_none() -> bool:
        child = os.fork()
        if child == 0:
            os._exit(connections() != before)
        return os.waitpid(child, 0)[1] == 0

    # The end that the zygote was given is closed here a moment after it has started.
    eventually(child_keeps_none, "a forked child keeps none")
    assert engine.submit(pow, 2, 3).result() == 8


def test_killed_zygote_fails_what_runs_and_nothing_else(engine: ls.Engine, mailbox: Callable[[], Mailbox]) -> None:
    arrived, leave = mailbox(), mailbox()
    running = [engine.submit(hold, arrived, leave) for _ in range(2)]
    workers = {arrived.receive_int() for _ in running}
    waiting = [engine.submit(pow, n, 2) for n in range(50)]
    zygote = zygote_of(engine)
    zygote.kill()
    for future in running:
        error = future.exception()
        assert isinstance(error, WorkerDied)
        assert error.signal == signal.SIGKILL
        assert error.task is not None
        assert error.task.endswith("hold")
        assert error.pid in workers
    assert [future.result() for future in waiting] == [n * n for n in range(50)]
    assert workers.isdisjoint(worker_pids(engine))
    assert zygote_of(engine).pid != zygote.pid
    eventually(lambda: not any(is_alive(pid) for pid in workers), "the orphans are gone")
    eventually(lambda: not psutil.pid_exists(zygote.pid), "the zygote is reaped, too")


def test_killed_zygote_with_retries(engine: ls.Engine, mailbox: Callable[[], Mailbox]) -> None:
    arrived, leave = mailbox(), mailbox()
    task = ls.task(hold, engine=engine, retries=1)
    running = [task.submit(arrived, leave) for _ in range(2)]
    first = {arrived.receive_int() for _ in running}
    zygote_of(engine).kill()
    second = {arrived.receive_int() for _ in running}
    for _ in running:
        leave.send()
    assert {future.result() for future in running} == second
    assert first.isdisjoint(second)


def test_zygote_killed_again_and_again(engine: ls.Engine) -> None:
    square = ls.task(pow, engine=engine, retries=100)
    killed = set()

    def ended_or_killed(futures: list[ls.Future[int]]) -> bool:
        # The workers of a killed zygote end a little after it. They may do all this before, and then there
        # is nothing that others would be started for.
        if zygote := find_zygote(engine):
            zygote.kill()
            killed.add(zygote.pid)
        return zygote is not None or all(future.done() for future in futures)

    while len(killed) < 10:
        futures = [square.submit(n, 2) for n in range(200)]
        futures[0].result()
        eventually(partial(ended_or_killed, futures), "there is a zygote, or nothing to do")
        assert [future.result() for future in futures] == [n * n for n in range(200)]


def test_zygote_killed_while_idle(engine: ls.Engine) -> None:
    pid = engine.submit(os.getpid).result()
    zygote = zygote_of(engine)
    zygote.kill()
    eventually(lambda: not worker_pids(engine), "the engine notices")
    eventually(lambda: not psutil.pid_exists(zygote.pid), "it is reaped")
    assert engine.submit(os.getpid).result() != pid


def test_stopped_zygote_does_not_hold_up_the_shutdown(engine: ls.Engine) -> None:
    engine.submit(pow, 2, 2).result()
    zygote = zygote_of(engine)
    zygote.suspend()
    began_s = time.monotonic()
    engine.shutdown()
    assert time.monotonic() - began_s < 10
    assert not psutil.pid_exists(zygote.pid)


def test_zygote_that_cannot_start_is_a_broken_pool(program: Callable[..., Program]) -> None:
    started = program(
        """
        import sys
        import lineshaft as ls
        from concurrent.futures.process import BrokenProcessPool

        sys.executable = "/bin/false"
        futures = [ls.submit(pow, n, 2) for n in range(10)]
        errors = [future.exception() for future in futures]
        print({type(error) is BrokenProcessPool for error in errors}, errors[0])
        """
    )
    out, err = started.end()
    assert started.process.returncode == 0, err
    assert out.startswith("{True} "), out + err


def test_missing_interpreter_is_a_broken_pool(program: Callable[..., Program]) -> None:
    started = program(
        """
        import sys
        import lineshaft as ls

        sys.executable = "/nowhere/python"
        error = ls.submit(pow, 2, 2).exception()
        print(type(error).__name__, error)
        """
    )
    out, err = started.end()
    assert (started.process.returncode, err) == (0, "")
    assert out.startswith("BrokenProcessPool")
    assert "No such file" in out


def test_program_that_ignores_the_ends_of_its_children(program: Callable[..., Program]) -> None:
    """Workers end, one per call, and so do they; in them it is as the program has it."""
    started = program(
        """
    import signal

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    import lineshaft as ls

    def ignores(_):
        return signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN

    with ls.Pool(2, maxtasksperchild=1) as pool:
        print(pool.map(ignores, range(4), chunksize=1))
    with ls.Engine(workers=2) as engine:
        print([engine.submit(ignores, n).result() for n in range(4)])
    """
    )
    assert started.end() == ("[True, True, True, True]\n" * 2, "")
