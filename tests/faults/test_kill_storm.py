"""Two hundred random kills during twenty thousand tasks: every result is there once, and right."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import threading
from typing import TYPE_CHECKING

import pytest
from tests.faults.conftest import eventually, worker_pids, zygote_of
from tests.faults.tasks import blob, join, slow_square, square, sum_of_nested_squares

import lineshaft as ls
from lineshaft.errors import WorkerDied

if TYPE_CHECKING:
    from collections.abc import Iterator

TASKS = 20_000
KILLS = 200
#: A task that is killed as often as this has met every kill; far fewer do.
RETRIES = KILLS


class Killer:
    """Kills random workers of an engine."""

    def __init__(self, engine: ls.Engine) -> None:
        self._engine = engine
        self._random = random.Random(1)
        self._killed: set[int] = set()

    @property
    def kills(self) -> int:
        return len(self._killed)

    def kill_one(self) -> bool:
        """Kill a worker that was not killed yet; whether there was one."""
        pids = [pid for pid in worker_pids(self._engine) if pid not in self._killed]
        if pids:
            pid = self._random.choice(pids)
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                os.kill(pid, signal.SIGKILL)
                self._killed.add(pid)
        return bool(pids)

    def kill_while_there_is_work(self, done: threading.Event) -> None:
        """Kill at random moments."""
        while not done.wait(self._random.random() * 0.04):
            self.kill_one()


@pytest.fixture
def killer(engine: ls.Engine) -> Killer:
    """Return what kills the engine's workers."""
    return Killer(engine)


@pytest.fixture
def storm(killer: Killer) -> Iterator[Killer]:
    """Kill workers at random moments for as long as the test runs."""
    done = threading.Event()
    thread = threading.Thread(target=killer.kill_while_there_is_work, args=(done,))
    thread.start()
    yield killer
    done.set()
    thread.join()


def check_storm(engine: ls.Engine, killer: Killer) -> None:
    """Check that the storm was one, and that it is over."""
    assert killer.kills >= KILLS
    eventually(lambda: engine._native.stats()["worker_deaths"] >= KILLS, "the engine knows of the deaths")
    assert engine._native.stats()["unfinished"] == 0
    assert engine.submit(square, 5).result() == 25


def test_tasks(engine: ls.Engine, killer: Killer) -> None:
    task = ls.task(slow_square, engine=engine, retries=RETRIES)
    futures = [task.submit(n) for n in range(TASKS)]
    for n, future in enumerate(futures):
        if n % (TASKS // KILLS) == 0:
            # There is work left, so there is a worker, or there will be one.
            eventually(killer.kill_one, "there is a worker to kill")
        assert future.result() == n * n
    check_storm(engine, killer)


def test_map(engine: ls.Engine, killer: Killer) -> None:
    results = engine.map(slow_square, range(TASKS), retries=RETRIES, progress=False)
    seen = []
    for n, result in enumerate(results):
        if n % (TASKS // KILLS) == 0 and n < TASKS - 1000:
            eventually(killer.kill_one, "there is a worker to kill")
        seen.append(result)
    assert seen == [n * n for n in range(TASKS)]
    assert killer.kills >= KILLS * (TASKS - 1000) // TASKS
    assert engine._native.stats()["unfinished"] == 0


def test_at_random_moments(engine: ls.Engine, storm: Killer) -> None:
    task = ls.task(slow_square, engine=engine, retries=RETRIES)
    for _ in range(5):
        futures = [task.submit(n) for n in range(TASKS // 20)]
        assert [future.result() for future in futures] == [n * n for n in range(TASKS // 20)]
        results = engine.map(slow_square, range(TASKS // 20), retries=RETRIES, progress=False)
        assert list(results) == [n * n for n in range(TASKS // 20)]
    assert storm.kills > 0


def test_large_results_and_dependencies(engine: ls.Engine, killer: Killer) -> None:
    make = ls.task(blob, engine=engine, retries=RETRIES)
    add = ls.task(join, engine=engine, retries=RETRIES)
    made = [make.submit(n) for n in range(250)]
    joined = [add.submit([a, b]) for a, b in itertools.pairwise(made)]
    for n, future in enumerate(joined):
        if n % 10 == 0 and n < 200:
            eventually(killer.kill_one, "there is a worker to kill")
        assert future.result() == blob(n) + blob(n + 1)
    assert killer.kills >= 15
    del made, joined, future


def test_nested_tasks(engine: ls.Engine, killer: Killer) -> None:
    task = ls.task(sum_of_nested_squares, engine=engine, retries=RETRIES)
    futures = [task.submit(n % 10, RETRIES) for n in range(100)]
    for n, future in enumerate(futures):
        if n % 5 == 0 and n < 80:
            eventually(killer.kill_one, "there is a worker to kill")
        assert future.result() == sum(k * k for k in range(n % 10))
    assert killer.kills > 0


def test_without_retries_each_task_ends_once_with_its_result_or_its_death(engine: ls.Engine, killer: Killer) -> None:
    futures = [engine.submit(slow_square, n) for n in range(TASKS // 4)]
    deaths = 0
    for n, future in enumerate(futures):
        if n % (TASKS // KILLS) == 0 and n < TASKS // 4 - 500:
            eventually(killer.kill_one, "there is a worker to kill")
        error = future.exception()
        if error is None:
            assert future.result() == n * n
        else:
            assert isinstance(error, WorkerDied)
            assert error.signal == signal.SIGKILL
            deaths += 1
    assert 0 < deaths <= killer.kills
    assert engine.submit(square, 5).result() == 25


def test_zygotes_die_too(engine: ls.Engine, killer: Killer) -> None:
    task = ls.task(slow_square, engine=engine, retries=RETRIES)
    futures = [task.submit(n) for n in range(TASKS // 4)]
    for n, future in enumerate(futures):
        if n % 1000 == 500:
            zygote_of(engine).kill()
        elif n % 1000 == 0:
            eventually(killer.kill_one, "there is a worker to kill")
        assert future.result() == n * n
