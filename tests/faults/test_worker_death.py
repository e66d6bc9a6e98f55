"""A worker that dies costs the task it ran, and only that one; the report says what is known."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from tests.events import PATIENCE_S, eventually
from tests.faults.conftest import worker_pids
from tests.faults.tasks import (
    Mailbox,
    abort,
    die_if_told,
    divide_by_zero,
    exit_at_once,
    fill_and_die,
    hold,
    kill_self_at,
    leave_line,
    leave_nested_tasks_behind,
    read_null,
    report_of_a_nested_death,
    square,
)

import lineshaft as ls
from lineshaft.errors import WorkerDied

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def two_at_once(engine: ls.Engine, mailbox: Callable[[], Mailbox]) -> set[int]:
    """Return the processes of two tasks that run at the same time."""
    arrived, leave = mailbox(), mailbox()
    futures = [engine.submit(hold, arrived, leave) for _ in range(2)]
    pids = {arrived.receive_int() for _ in futures}
    for _ in futures:
        leave.send()
    assert {future.result() for future in futures} == pids
    return pids


def died(future: ls.Future[Any]) -> WorkerDied:
    with pytest.raises(WorkerDied) as raised:
        future.result()
    return raised.value


def test_what_waits_behind_another_call_gets_the_place_of_a_dead_worker(
    engine: ls.Engine, mailbox: Callable[[], Mailbox]
) -> None:
    arrived, leave = mailbox(), mailbox()
    first = engine.submit(hold, arrived, leave)
    arrived.receive_int()
    second = engine.submit(hold, arrived, leave)
    killed = arrived.receive_int()
    # Both workers are busy: the call is handed to one of them ahead of its time.
    behind = engine.submit(square, 3)
    os.kill(killed, signal.SIGKILL)
    died(second)
    assert behind.result(PATIENCE_S) == 9
    assert not first.done()
    leave.send()
    first.result()


def test_what_has_ended_does_not_run_again(engine: ls.Engine, tmp_path: Path) -> None:
    """A worker holds results back for a moment; its death in that moment does not take them."""
    path = tmp_path / "lines"
    ended = []
    for n in range(40):
        ended.append(engine.submit(leave_line, str(path), n))
        engine.submit(exit_at_once, 3)
    assert [future.result() for future in ended] == list(range(40))
    assert sorted(map(int, path.read_text().split())) == list(range(40))


def test_sigkill_fails_the_running_task_only(engine: ls.Engine, mailbox: Callable[[], Mailbox]) -> None:
    arrived, leave = mailbox(), mailbox()
    running = [engine.submit(hold, arrived, leave) for _ in range(2)]
    victim, other = arrived.receive_int(), arrived.receive_int()
    # These wait behind the running ones, some of them already sent to the worker that is about to die.
    waiting = [engine.submit(square, n) for n in range(50)]
    os.kill(victim, signal.SIGKILL)
    leave.send()  # one of the two is left
    assert [future.result() for future in waiting] == [n * n for n in range(50)]
    lost = next(future for future in running if future.exception() is not None)
    kept = next(future for future in running if future.exception() is None)
    assert kept.result() == other
    error = died(lost)
    assert (error.signal, error.exit_code, error.pid) == (signal.SIGKILL, None, victim)
    assert error.task is not None
    assert error.task.endswith("hold")
    assert error.peak_memory_bytes is not None
    assert 1 << 20 < error.peak_memory_bytes < 1 << 30
    assert not error.oom_killed
    assert "SIGKILL" in str(error)
    assert "hold" in str(error)
    # The worker is replaced: there are two again, and the dead one is not among them.
    assert victim not in two_at_once(engine, mailbox)
    assert engine._native.stats()["worker_deaths"] == 1


@pytest.mark.parametrize(
    ("crash", "number"),
    [(read_null, signal.SIGSEGV), (abort, signal.SIGABRT), (divide_by_zero, signal.SIGFPE)],
)
def test_crash_tells_the_python_stack(engine: ls.Engine, crash: Callable[[], None], number: int) -> None:
    error = died(engine.submit(crash))
    assert (error.signal, error.exit_code) == (number, None)
    assert error.task is not None
    assert error.task.endswith(crash.__name__)
    assert error.stack is not None
    assert crash.__name__ in error.stack
    assert "tasks.py" in error.stack
    assert error.stack.rstrip() in str(error)
    assert signal.Signals(number).name in str(error)
    assert engine.submit(square, 4).result() == 16


def test_exit_tells_the_code(engine: ls.Engine) -> None:
    error = died(engine.submit(exit_at_once, 3))
    assert (error.signal, error.exit_code, error.stack) == (None, 3, None)
    assert "exit_at_once" in str(error)
    assert "exited with status 3" in str(error)
    assert died(engine.submit(exit_at_once, 0)).exit_code == 0
    assert engine.submit(square, 4).result() == 16


def test_stack_is_of_this_crash_and_no_earlier_one(engine: ls.Engine) -> None:
    assert died(engine.submit(read_null)).stack is not None
    assert died(engine.submit(exit_at_once, 3)).stack is None


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_exceptions_that_end_programs_end_the_task_only(engine: ls.Engine, error: BaseException) -> None:
    def end() -> None:
        raise error

    pid = engine.submit(os.getpid).result()
    with pytest.raises(type(error)):
        engine.submit(end).result()
    assert pid in worker_pids(engine)
    assert engine._native.stats()["worker_deaths"] == 0


def test_peak_memory_is_the_tasks_own(engine: ls.Engine) -> None:
    error = died(engine.submit(fill_and_die, 100))
    assert error.peak_memory_bytes is not None
    assert 100 << 20 < error.peak_memory_bytes < 400 << 20


def test_death_in_a_map_names_the_item_and_spares_the_others(engine: ls.Engine) -> None:
    results = engine.map(kill_self_at, range(2000), itertools.repeat(500), progress=False)
    seen = []
    with pytest.raises(WorkerDied) as raised:
        seen.extend(results)
    del results
    assert raised.value.signal == signal.SIGKILL
    assert "kill_self_at" in str(raised.value)
    del raised


def test_retry_after_a_death(engine: ls.Engine, mailbox: Callable[[], Mailbox]) -> None:
    attempts = mailbox()

    attempts.send("die")
    attempts.send("live")
    assert ls.task(die_if_told, engine=engine, retries=1).submit(attempts).result() == "done"
    attempts.send("die")
    attempts.send("die")
    died(ls.task(die_if_told, engine=engine, retries=1).submit(attempts))
    assert engine._native.stats()["worker_deaths"] == 3


def test_dependents_of_a_dead_task_fail_with_its_report(engine: ls.Engine) -> None:
    first = engine.submit(exit_at_once, 3)
    second = engine.submit(sum, [[engine.submit(square, 1), first]])
    assert died(second).exit_code == 3
    assert "exit_at_once" in str(died(second))


def test_death_of_a_nested_task_reaches_its_caller(engine: ls.Engine) -> None:
    number, task, stack = engine.submit(report_of_a_nested_death).result()
    assert number == signal.SIGSEGV
    assert task is not None
    assert task.endswith("read_null")
    assert stack is not None
    assert "read_null" in stack


def test_death_of_a_caller_cancels_what_it_asked_for(engine: ls.Engine, mailbox: Callable[[], Mailbox]) -> None:
    arrived, leave = mailbox(), mailbox()

    error = died(engine.submit(leave_nested_tasks_behind, arrived, leave, 20))
    assert error.exit_code == 20
    for _ in range(20):
        leave.send()
    assert engine._native.wait_idle(60.0)
    assert engine.submit(square, 4).result() == 16


def test_stopped_worker_can_be_killed(engine: ls.Engine, mailbox: Callable[[], Mailbox]) -> None:
    arrived, leave = mailbox(), mailbox()
    future = engine.submit(hold, arrived, leave)
    pid = arrived.receive_int()
    os.kill(pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    assert died(future).signal == signal.SIGKILL


def test_shutdown_does_not_wait_for_a_stopped_worker(engine: ls.Engine, mailbox: Callable[[], Mailbox]) -> None:
    arrived, leave = mailbox(), mailbox()
    future = engine.submit(hold, arrived, leave)
    pid = arrived.receive_int()
    os.kill(pid, signal.SIGSTOP)
    began_s = time.monotonic()
    engine.shutdown(wait=False)
    assert time.monotonic() - began_s < 10
    assert not psutil.pid_exists(pid)
    assert future.cancelled()


def test_idle_workers_may_be_killed_all_day(engine: ls.Engine, mailbox: Callable[[], Mailbox]) -> None:
    """By the kernel for lack of memory, say: there are new ones whenever there is something to do."""
    for _ in range(8):
        for pid in two_at_once(engine, mailbox):
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not worker_pids(engine), "both are known to be gone")
    assert engine.submit(square, 4).result() == 16


def test_module_that_ends_the_process_costs_the_task_only(
    engine: ls.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It is harmless where the task is submitted, and deadly where it is to run.
    (tmp_path / "deadly.py").write_text(
        f"import os\nif os.getpid() != {os.getpid()}:\n    os._exit(5)\ndef f(): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import deadly  # type: ignore[import-not-found]

    healthy = [engine.submit(square, n) for n in range(20)]
    lost = [engine.submit(deadly.f) for _ in range(10)]
    healthy += [engine.submit(square, n) for n in range(20)]
    assert {died(future).exit_code for future in lost} == {5}
    assert died(lost[0]).task == "f"
    assert [future.result() for future in healthy] == 2 * [n * n for n in range(20)]
    sys.modules.pop("deadly")


@pytest.mark.parametrize("way", ["raise SystemExit(5)", "raise KeyboardInterrupt", "1 / 0", "import no_such_module"])
def test_module_that_cannot_be_imported(
    engine: ls.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    (tmp_path / "failing.py").write_text(f"import os\nif os.getpid() != {os.getpid()}:\n    {way}\ndef f(): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    import failing  # type: ignore[import-not-found]

    lost = [engine.submit(failing.f) for _ in range(10)]
    assert len({type(future.exception()) for future in lost}) == 1
    assert lost[0].exception() is not None
    assert engine.submit(square, 4).result() == 16
    assert engine._native.stats()["worker_deaths"] == 0
    sys.modules.pop("failing")
