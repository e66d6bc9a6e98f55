"""Many tasks that do nothing: what the path of one task costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from benches import pools
from benches.measure import Measure, Target
from benches.tasks import noop

TASKS = 20_000


def _rate(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    results = work()
    seconds = time.perf_counter() - start
    assert results == list(range(TASKS)), "a result is missing or out of order"
    return TASKS / seconds


def _submitted(name: str) -> float:
    with pools.executor(name) as pool:
        return _rate(lambda: [future.result() for future in [pool.submit(noop, i) for i in range(TASKS)]])


def _imap() -> float:
    with pools.multiprocessing_pool() as pool:
        return _rate(lambda: list(pool.imap(noop, range(TASKS), chunksize=1)))


def _mapped(name: str) -> float:
    with pools.executor(name) as pool:
        return _rate(lambda: list(pool.map(noop, range(TASKS))))


def _engine_map() -> float:
    with pools.engine() as engine:
        return _rate(lambda: list(engine.map(noop, range(TASKS))))


def _joblib() -> float:
    with pools.joblib_parallel() as parallel:
        return _rate(lambda: parallel(noop, range(TASKS)))


MEASURES = [
    Measure(
        name="submit",
        title=f"{TASKS:,} no-op tasks submitted one by one to processes, gathered",
        unit="tasks/s",
        better="higher",
        contestants={
            **{name: partial(_submitted, name) for name in (pools.LINESHAFT_PROCESSES, pools.PROCESS_POOL, pools.LOKY)},
            pools.MULTIPROCESSING: _imap,
        },
        targets=[
            Target(ours=pools.LINESHAFT_PROCESSES, peer=pools.PROCESS_POOL, at_least=10),
            Target(ours=pools.LINESHAFT_PROCESSES, peer=pools.MULTIPROCESSING, at_least=2),
        ],
    ),
    Measure(
        name="submit-threads",
        title=f"{TASKS:,} no-op tasks submitted one by one to threads, gathered",
        unit="tasks/s",
        better="higher",
        contestants={name: partial(_submitted, name) for name in (pools.LINESHAFT_THREADS, pools.THREAD_POOL)},
        targets=[Target(ours=pools.LINESHAFT_THREADS, peer=pools.THREAD_POOL, at_least=2)],
    ),
    Measure(
        name="map",
        title=f"{TASKS:,} no-op items mapped, one task each (joblib forms batches of its own)",
        unit="tasks/s",
        better="higher",
        contestants={
            pools.LINESHAFT_MAP: _engine_map,
            pools.PROCESS_POOL: partial(_mapped, pools.PROCESS_POOL),
            pools.JOBLIB: _joblib,
        },
        targets=[Target(ours=pools.LINESHAFT_MAP, peer=pools.PROCESS_POOL, at_least=30)],
    ),
]
