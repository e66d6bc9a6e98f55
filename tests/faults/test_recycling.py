"""Workers are replaced after a number of tasks or when their memory has grown; no task notices."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from tests.events import eventually
from tests.faults.conftest import worker_pids
from tests.faults.tasks import has_mark, kill_self_at_each_tenth, leak, pid_and_square, raise_pid, say_line, set_mark

import lineshaft as ls

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("tasks_max", [1, 2, 7])
def test_under_load(engine: ls.Engine, tasks_max: int) -> None:
    tasks = 150 * tasks_max
    with ls.ProcessPoolExecutor(2, max_tasks_per_child=tasks_max, _engine=engine) as executor:
        futures = [executor.submit(pid_and_square, n) for n in range(tasks)]
        ends = [future.result() for future in futures]
    assert [square for _, square in ends] == [n * n for n in range(tasks)]
    per_worker = Counter(pid for pid, _ in ends)
    assert max(per_worker.values()) <= tasks_max
    assert len(per_worker) >= 150
    # They were asked to end: that is no death.
    assert engine._native.stats()["worker_deaths"] == 0


def test_one_task_at_a_time(engine: ls.Engine) -> None:
    with ls.ProcessPoolExecutor(1, max_tasks_per_child=3, _engine=engine) as executor:
        pids = [executor.submit(os.getpid).result() for _ in range(30)]
    assert max(Counter(pids).values()) == 3
    assert len(set(pids)) == 10


def test_pool_with_maxtasksperchild(engine: ls.Engine) -> None:
    with ls.Pool(2, maxtasksperchild=5) as pool:
        ends = pool.map(pid_and_square, range(200), chunksize=1)
        pool.close()
        pool.join()
    assert [square for _, square in ends] == [n * n for n in range(200)]
    assert max(Counter(pid for pid, _ in ends).values()) <= 5
    ls.default_engine().shutdown()


def test_initializer_runs_in_every_new_worker(engine: ls.Engine) -> None:
    with ls.ProcessPoolExecutor(2, initializer=set_mark, max_tasks_per_child=2, _engine=engine) as executor:
        futures = [executor.submit(has_mark) for _ in range(100)]
        assert all(future.result() for future in futures)


def test_raising_tasks_count_too(engine: ls.Engine) -> None:
    with ls.ProcessPoolExecutor(1, max_tasks_per_child=2, _engine=engine) as executor:
        futures = [executor.submit(raise_pid) for _ in range(20)]
        pids = [future.exception().args[0] for future in futures]
    assert max(Counter(pids).values()) == 2


def test_dying_workers_among_recycled_ones(engine: ls.Engine) -> None:
    with ls.ProcessPoolExecutor(2, max_tasks_per_child=3, _engine=engine) as executor:
        futures = [executor.submit(kill_self_at_each_tenth, n) for n in range(200)]
        ends = [future.exception() is None for future in futures]
    assert ends == [n % 10 != 9 for n in range(200)]


def test_output_of_recycled_workers(engine: ls.Engine, capfd: pytest.CaptureFixture[str]) -> None:
    with ls.ProcessPoolExecutor(2, max_tasks_per_child=1, _engine=engine) as executor:
        for future in [executor.submit(say_line, n) for n in range(50)]:
            future.result()
    engine.shutdown()
    assert sorted(capfd.readouterr().out.splitlines()) == sorted(f"line {n}" for n in range(50))


def test_workers_that_grow(make_engine: Callable[..., ls.Engine]) -> None:
    engine = make_engine(workers=1)
    pool = engine._native.process_pool(name="growing", workers=1, growth_bytes_max=64 << 20)
    first = pool.submit(leak, (1 << 20,), None).result()
    # Each look at the memory comes some time after the last one: growth is noticed before long.
    pids = [first]
    eventually(
        lambda: pids.append(pool.submit(leak, (1 << 22,), None).result()) or pids[-1] != first,
        "the worker that grew is replaced",
    )
    assert len(pids) < 10_000
    pool.close()
    eventually(lambda: worker_pids(engine) == [] or first not in worker_pids(engine), "it is gone")
    assert engine._native.stats()["worker_deaths"] == 0
