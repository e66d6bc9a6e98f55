"""Large arrays into tasks and out of them: time, and memory beyond what was there before."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from benches import pools, usage
from benches.measure import Measure, Target
from benches.tasks import fresh, total

TASKS = 16
ARGUMENT_MB = 200
RESULT_MB = 50
#: One copy for all tasks, and room for page tables, pipes and the interpreters' own growth.
EXTRA_MB_MAX = 1.15 * ARGUMENT_MB

PROCESSES = (pools.LINESHAFT_PROCESSES, pools.PROCESS_POOL, pools.LOKY)
THREADS = (pools.LINESHAFT_THREADS, pools.THREAD_POOL)

Gather = Callable[[], list[float]]
Meter = Callable[[Gather], float]


def _seconds(gather: Gather) -> float:
    start = time.perf_counter()
    sums = gather()
    seconds = time.perf_counter() - start
    assert sums == sums[:1] * TASKS, "a task saw another array"
    return seconds


def _extra_mb(gather: Gather) -> float:
    with usage.watching() as peak:
        gather()
    return peak.extra_mb


def _array() -> Any:
    import numpy as np

    return np.random.default_rng(0).random(ARGUMENT_MB * 1_000_000 // 8)


def _same_array(name: str, meter: Meter) -> float:
    import numpy as np

    with pools.executor(name) as pool:
        # The workers have NumPy before the clock starts.
        for future in [pool.submit(total, np.ones(8)) for _ in range(TASKS)]:
            future.result()
        array = _array()
        return meter(lambda: [future.result() for future in [pool.submit(total, array) for _ in range(TASKS)]])


def _same_array_joblib(meter: Meter) -> float:
    import numpy as np

    with pools.joblib_parallel() as parallel:
        parallel(total, [np.ones(8)] * TASKS)
        array = _array()
        return meter(lambda: list(parallel(total, [array] * TASKS)))


def _fresh_arrays(name: str) -> float:
    with pools.executor(name) as pool:
        for future in [pool.submit(fresh, 0, 1) for _ in range(TASKS)]:
            future.result()
        start = time.perf_counter()
        arrays = [future.result() for future in [pool.submit(fresh, value, RESULT_MB) for value in range(TASKS)]]
        seconds = time.perf_counter() - start
        assert [float(array[-1]) for array in arrays] == list(range(TASKS))
        return seconds


def _fresh_arrays_joblib() -> float:
    make = partial(fresh, size_mb=RESULT_MB)
    with pools.joblib_parallel() as parallel:
        parallel(partial(fresh, size_mb=1), range(TASKS))
        start = time.perf_counter()
        arrays = parallel(make, range(TASKS))
        seconds = time.perf_counter() - start
        assert [float(array[-1]) for array in arrays] == list(range(TASKS))
        return seconds


MEASURES = [
    Measure(
        name="same-array",
        title=f"{TASKS} tasks that are given the same array of {ARGUMENT_MB} MB and sum it",
        unit="s",
        contestants={
            **{name: partial(_same_array, name, _seconds) for name in (*PROCESSES, *THREADS)},
            pools.JOBLIB: partial(_same_array_joblib, _seconds),
        },
        targets=[Target(ours=pools.LINESHAFT_PROCESSES, peer=pools.PROCESS_POOL, at_least=30)],
    ),
    Measure(
        name="same-array-memory",
        title="the same, memory at its peak beyond the caller's array (a run of its own: looking takes time)",
        unit="MB",
        contestants={
            **{name: partial(_same_array, name, _extra_mb) for name in PROCESSES},
            pools.JOBLIB: partial(_same_array_joblib, _extra_mb),
        },
        targets=[Target(ours=pools.LINESHAFT_PROCESSES, at_most=EXTRA_MB_MAX)],
        repeat_max=1,
    ),
    Measure(
        name="fresh-arrays",
        title=f"{TASKS} tasks that return a fresh array of {RESULT_MB} MB each",
        unit="s",
        contestants={
            **{name: partial(_fresh_arrays, name) for name in (*PROCESSES, *THREADS)},
            pools.JOBLIB: _fresh_arrays_joblib,
        },
        targets=[Target(ours=pools.LINESHAFT_PROCESSES, peer=pools.PROCESS_POOL, at_least=6)],
    ),
]
