"""A task's time limit: an exception inside the task, then the end of its worker, and of nothing else."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING

import pytest
from tests.faults.conftest import worker_pids
from tests.faults.tasks import (
    compute_without_end_if_told,
    ignore_the_limit,
    nap,
    return_at_the_limit,
    say_and_compute_without_end,
    say_and_sleep,
    sleep_forever,
    sleep_forever_if_told,
    spin_forever,
    square,
    wait_forever,
)

import lineshaft as ls
from lineshaft.errors import TaskTimeout

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.tasks import Mailbox

#: For tasks that never end.
LIMIT_S = 0.2
#: For tasks that do something before, on a machine that may be busy.
LONG_LIMIT_S = 1.5


@pytest.fixture
def warm(make_engine: Callable[..., ls.Engine]) -> ls.Engine:
    """Return an engine whose one worker has imported the tasks: a limit holds for that as well."""
    engine = make_engine(workers=1)
    assert engine.submit(square, 2).result() == 4
    return engine


@pytest.mark.parametrize("function", [spin_forever, sleep_forever, wait_forever])
def test_exception_is_raised_inside_the_task(warm: ls.Engine, function: Callable[[], None]) -> None:
    engine = warm
    pid = engine.submit(os.getpid).result()
    with pytest.raises(TaskTimeout) as raised:
        ls.task(function, engine=engine, timeout=LIMIT_S).submit().result()
    # It names the line that was running, as any exception does.
    assert function.__name__ in str(raised.value.__cause__)
    del raised
    assert pid in worker_pids(engine)
    assert engine._native.stats()["worker_deaths"] == 0


def test_task_can_tidy_up_and_even_return(warm: ls.Engine) -> None:
    assert ls.task(return_at_the_limit, engine=warm, timeout=LIMIT_S).submit().result() == "partial"


def test_task_that_ignores_the_exception_is_killed_with_its_stack(warm: ls.Engine) -> None:
    with pytest.raises(TaskTimeout) as raised:
        ls.task(ignore_the_limit, engine=warm, timeout=LIMIT_S).submit().result()
    assert "ignore_the_limit" in str(raised.value)
    assert "tasks.py" in str(raised.value)
    del raised
    assert warm._native.stats()["worker_deaths"] == 1


def test_task_stuck_with_the_interpreter_lock_is_killed_with_its_stack(
    engine: ls.Engine, mailbox: Callable[[], Mailbox]
) -> None:
    began, leave = mailbox(), mailbox()

    neighbour = engine.submit(leave.receive)
    future = ls.task(say_and_compute_without_end, engine=engine, timeout=LONG_LIMIT_S).submit(began)
    pid = began.receive_int()
    # Tasks that were sent to the stuck worker already go to others.
    behind = [engine.submit(pow, n, 2) for n in range(20)]
    with pytest.raises(TaskTimeout) as raised:
        future.result()
    assert "compute_without_end" in str(raised.value)
    assert "tasks.py" in str(raised.value)
    del raised
    assert pid not in worker_pids(engine)
    assert [future.result() for future in behind] == [n * n for n in range(20)]
    leave.send("never disturbed")
    assert neighbour.result() == "never disturbed"


def test_next_tasks_of_the_same_worker_are_not_hit(make_engine: Callable[..., ls.Engine]) -> None:
    engine = make_engine(workers=1)
    limited = ls.task(time.sleep, engine=engine, timeout=0.05)
    late = limited.submit(1e6)
    after = [engine.submit(pow, n, 2) for n in range(100)]
    with pytest.raises(TaskTimeout):
        late.result()
    assert [future.result() for future in after] == [n * n for n in range(100)]
    assert engine._native.stats()["worker_deaths"] == 0


def test_limit_counts_from_the_start_of_the_task_not_from_its_submission(
    make_engine: Callable[..., ls.Engine], mailbox: Callable[[], Mailbox]
) -> None:
    engine = make_engine(workers=1)
    leave = mailbox()
    blocker = engine.submit(leave.receive)
    limited = ls.task(pow, engine=engine, timeout=LIMIT_S).submit(2, 10)
    time.sleep(2 * LIMIT_S)  # the limit would be over
    assert not limited.done()
    leave.send()
    assert limited.result() == 1024
    blocker.result()


def test_retry_on_the_same_worker_has_its_full_time(
    make_engine: Callable[..., ls.Engine], mailbox: Callable[[], Mailbox]
) -> None:
    engine = make_engine(workers=1)
    attempts = mailbox()

    attempts.send("stay")
    attempts.send("go")
    # The second attempt takes longer than the second of grace that follows the exception of the first.
    task = ls.task(sleep_forever_if_told, engine=engine, timeout=2.5, retries=1)
    assert task.submit(attempts, 1.25).result() == "done"
    assert engine._native.stats()["worker_deaths"] == 0


def test_limit_ends_every_attempt(make_engine: Callable[..., ls.Engine]) -> None:
    engine = make_engine(workers=1)
    with pytest.raises(TaskTimeout):
        ls.task(time.sleep, engine=engine, timeout=0.05, retries=3).submit(1e6).result()
    groups = {group["name"]: group for group in engine._native.stats()["groups"]}
    assert (groups["sleep"]["failed"], groups["sleep"]["retried"]) == (4, 3)


def test_killed_task_is_retried(engine: ls.Engine, mailbox: Callable[[], Mailbox]) -> None:
    attempts = mailbox()

    attempts.send("stay")
    attempts.send("go")
    task = ls.task(compute_without_end_if_told, engine=engine, timeout=LONG_LIMIT_S, retries=1)
    assert task.submit(attempts).result() == "done"
    assert engine._native.stats()["worker_deaths"] == 1


def test_many_limits_at_the_edge(engine: ls.Engine) -> None:
    # The exception comes at every point of a task's life, also between its end and its report.
    limited = ls.task(nap, engine=engine, timeout=0.01)
    durations_s = [0.0095 + 0.000_01 * n for n in range(100)]
    futures = [limited.submit(duration_s) for duration_s in durations_s]
    ends = []
    for future, duration_s in zip(futures, durations_s, strict=True):
        try:
            assert future.result() == duration_s
            ends.append("in time")
        except TaskTimeout:
            ends.append("late")
    assert len(ends) == 100
    assert engine._native.stats()["worker_deaths"] == 0


def test_cancelling_with_force_kills_the_running_task_only(engine: ls.Engine, mailbox: Callable[[], Mailbox]) -> None:
    began = mailbox()

    with ls.ProcessPoolExecutor(2, _engine=engine) as executor:
        future = executor.submit(say_and_sleep, began)
        pid = began.receive_int()
        executor.terminate_workers()
        with pytest.raises(CancelledError):
            future.result()
    assert pid not in worker_pids(engine)
    assert engine.submit(pow, 2, 10).result() == 1024


def test_limit_holds_for_the_import_of_the_tasks_module(
    engine: ls.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow_module.py").write_text(
        f"import os, time\nif os.getpid() != {os.getpid()}:\n    time.sleep(0.4)\ndef f(): return 'ran'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import slow_module  # type: ignore[import-not-found]

    with pytest.raises(TaskTimeout):
        ls.task(slow_module.f, engine=engine, timeout=0.1).submit().result()
    # The import itself was not torn: who has more time, or comes later, finds the whole module.
    assert ls.task(slow_module.f, engine=engine, timeout=30).submit().result() == "ran"
    assert {engine.submit(slow_module.f).result() for _ in range(20)} == {"ran"}
    assert engine._native.stats()["worker_deaths"] == 0
    sys.modules.pop("slow_module")
