"""Two hundred random kills during twenty thousand tasks: every result is there once, and right.

A worker is killed only after new work was handed over, so that there is one or will be one: an idle worker stays, and
work that is left has one started.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from typing import TYPE_CHECKING

import pytest
from tests.events import eventually
from tests.faults.conftest import zygote_of
from tests.faults.tasks import blob, hold, join, slow_square, square, sum_of_nested_squares

import lineshaft as ls
from lineshaft.errors import WorkerDied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.tasks import Mailbox

    from lineshaft.futures import Future

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

    def kill_if_any(self) -> bool:
        """Kill a worker that was not killed yet; whether there was one."""
        workers = [
            (worker, pid) for worker, pid in self._engine._native.stats()["workers"] if worker not in self._killed
        ]
        if not workers:
            return False
        worker, pid = self._random.choice(sorted(workers))
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:  # it has ended by itself
            return False
        self._killed.add(worker)
        return True

    def kill(self) -> None:
        """Kill a worker that was not killed yet."""
        eventually(self.kill_if_any, "there is a worker to kill")

    def storm(
        self, submit: Callable[[int], Future], tasks: int, kills: int, kill: Callable[[], None] | None = None
    ) -> Iterator[tuple[int, Future]]:
        """Submit tasks in `kills` rounds, and kill in each, at a random moment while its results are awaited."""
        per_round = tasks // kills
        for first in range(0, tasks, per_round):
            futures = [submit(n) for n in range(first, first + per_round)]
            moment = self._random.randrange(per_round)
            for n, future in enumerate(futures):
                if n == moment:
                    (kill or self.kill)()
                yield first + n, future

    def kill_at_random_moments(self, done: threading.Event) -> None:
        """Kill until done. Something is finished between two kills: if none got that far, workers would be given up."""
        while not done.wait(self._random.random() * 0.04):
            if self.kill_if_any():
                before = total(self._engine, "finished")
                while total(self._engine, "finished") == before and not done.wait(0.001):
                    pass


def total(engine: ls.Engine, what: str) -> int:
    """How many tasks of all groups were finished, failed or retried."""
    return sum(group[what] for group in engine._native.stats()["groups"])


@pytest.fixture
def killer(engine: ls.Engine) -> Killer:
    """Return what kills the engine's workers."""
    return Killer(engine)


@pytest.fixture
def storm(killer: Killer) -> Iterator[Killer]:
    """Kill workers at random moments for as long as the test runs."""
    done = threading.Event()
    thread = threading.Thread(target=killer.kill_at_random_moments, args=(done,))
    thread.start()
    yield killer
    done.set()
    thread.join()


def check_every_kill_was_a_death(engine: ls.Engine, killer: Killer) -> None:
    """Check that the engine knows of all kills, and that it goes on."""
    eventually(lambda: engine._native.stats()["worker_deaths"] >= killer.kills, "the engine knows of the deaths")
    assert engine._native.stats()["worker_deaths"] == killer.kills
    assert engine.submit(square, 5).result() == 25


def test_tasks(engine: ls.Engine, killer: Killer) -> None:
    task = ls.task(slow_square, engine=engine, retries=RETRIES)
    results = [(n, future.result()) for n, future in killer.storm(task.submit, TASKS, KILLS)]
    assert results == [(n, n * n) for n in range(TASKS)]
    assert killer.kills == KILLS
    assert engine._native.stats()["unfinished"] == 0
    assert total(engine, "finished") == TASKS
    assert total(engine, "failed") == total(engine, "retried") <= KILLS
    check_every_kill_was_a_death(engine, killer)


def test_map(engine: ls.Engine, killer: Killer) -> None:
    taken = 0

    def numbers() -> Iterator[int]:
        nonlocal taken
        while True:
            yield taken
            taken += 1

    results = engine.map(slow_square, numbers(), retries=RETRIES, progress=False)
    taken_before = -1
    for n in range(TASKS):
        assert next(results) == n * n
        if n % (TASKS // KILLS) == 0:
            # New work was handed over: a batch holds fewer items than are consumed between two kills.
            assert taken > taken_before
            taken_before = taken
            killer.kill()
    assert killer.kills == KILLS
    results.close()
    eventually(lambda: engine._native.stats()["unfinished"] == 0, "what nobody waits for any more is cancelled")
    check_every_kill_was_a_death(engine, killer)


def test_at_random_moments(engine: ls.Engine, storm: Killer) -> None:
    task = ls.task(slow_square, engine=engine, retries=RETRIES)
    some = range(TASKS // 20)
    while storm.kills < KILLS // 4:
        futures = [task.submit(n) for n in some]
        assert [future.result() for future in futures] == [n * n for n in some]
        results = engine.map(slow_square, some, retries=RETRIES, progress=False)
        assert list(results) == [n * n for n in some]


def test_large_results_and_dependencies(engine: ls.Engine, killer: Killer) -> None:
    make = ls.task(blob, engine=engine, retries=RETRIES)
    add = ls.task(join, engine=engine, retries=RETRIES)
    last = make.submit(0)

    def make_and_add(n: int) -> Future:
        nonlocal last
        before, last = last, make.submit(n + 1)
        return add.submit([before, last])

    for n, future in killer.storm(make_and_add, 250, 25):
        assert future.result() == blob(n) + blob(n + 1)
    assert killer.kills == 25
    assert total(engine, "finished") == 251 + 250
    check_every_kill_was_a_death(engine, killer)


def test_nested_tasks(engine: ls.Engine, killer: Killer) -> None:
    task = ls.task(sum_of_nested_squares, engine=engine, retries=RETRIES)
    for n, future in killer.storm(lambda n: task.submit(n % 10, RETRIES), 100, 20):
        assert future.result() == sum(k * k for k in range(n % 10))
    assert killer.kills == 20


def test_without_retries_each_task_ends_once_with_its_result_or_its_death(engine: ls.Engine, killer: Killer) -> None:
    deaths = 0
    for n, future in killer.storm(lambda n: engine.submit(slow_square, n), TASKS // 4, KILLS // 4):
        error = future.exception()
        if error is None:
            assert future.result() == n * n
        else:
            assert isinstance(error, WorkerDied)
            assert error.signal == signal.SIGKILL
            deaths += 1
    assert killer.kills == KILLS // 4
    assert deaths <= killer.kills
    assert (total(engine, "finished"), total(engine, "failed")) == (TASKS // 4 - deaths, deaths)
    check_every_kill_was_a_death(engine, killer)


def test_without_retries_just_what_a_killed_worker_was_running_dies(
    engine: ls.Engine, mailbox: Callable[[], Mailbox]
) -> None:
    arrived, leave = mailbox(), mailbox()
    for _ in range(KILLS // 4):
        squares = [engine.submit(slow_square, n) for n in range(50)]
        held = engine.submit(hold, arrived, leave)
        squares += [engine.submit(slow_square, n) for n in range(50, 100)]
        os.kill(arrived.receive_int(), signal.SIGKILL)
        assert isinstance(held.exception(), WorkerDied)
        assert [square.result() for square in squares] == [n * n for n in range(100)]
    assert engine._native.stats()["worker_deaths"] == KILLS // 4


def test_zygotes_die_too(engine: ls.Engine, killer: Killer) -> None:
    task = ls.task(slow_square, engine=engine, retries=RETRIES)
    kills = 0

    def kill() -> None:
        nonlocal kills
        kills += 1
        if kills % 2:
            killer.kill()
        else:
            zygote_of(engine).kill()

    results = [(n, future.result()) for n, future in killer.storm(task.submit, TASKS // 4, 20, kill)]
    assert results == [(n, n * n) for n in range(TASKS // 4)]
    assert (kills, killer.kills) == (20, 10)
    assert total(engine, "finished") == TASKS // 4
