"""One task at a time: how long a caller waits for the answer to nothing."""

from __future__ import annotations

import time
from functools import partial
from statistics import median
from typing import Any

from benches import pools
from benches.measure import Measure, Target
from benches.tasks import noop

REPETITIONS = 500
WARM_UP = 50


def _round_trips(name: str) -> float:
    with pools.executor(name) as pool:
        return _median_us(pool)


def _median_us(pool: Any) -> float:
    times = []
    for repetition in range(WARM_UP + REPETITIONS):
        start = time.perf_counter()
        pool.submit(noop, repetition).result()
        times.append(time.perf_counter() - start)
    return median(times[WARM_UP:]) * 1e6


MEASURES = [
    Measure(
        name="latency",
        title=f"one task submitted and awaited, median of {REPETITIONS}",
        unit="us",
        contestants={
            name: partial(_round_trips, name)
            for name in (
                pools.LINESHAFT_PROCESSES,
                pools.PROCESS_POOL,
                pools.LOKY,
                pools.LINESHAFT_THREADS,
                pools.THREAD_POOL,
            )
        },
        targets=[Target(ours=pools.LINESHAFT_PROCESSES, peer=pools.PROCESS_POOL, at_most=0.35)],
    )
]
