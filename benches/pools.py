"""The contestants' pools, opened and closed the same way.

Each context manager imports its library when it is entered and yields a pool that has started its workers: what is
measured afterwards is work, not start-up.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benches.measure import WORKERS
from benches.tasks import wait_briefly

LINESHAFT_PROCESSES = "lineshaft processes"
LINESHAFT_THREADS = "lineshaft threads"
LINESHAFT_MAP = "lineshaft map"
PROCESS_POOL = "ProcessPoolExecutor"
THREAD_POOL = "ThreadPoolExecutor"
MULTIPROCESSING = "multiprocessing.Pool"
LOKY = "loky"
JOBLIB = "joblib"

#: Where each executor with the interface of concurrent.futures comes from.
EXECUTORS = {
    LINESHAFT_PROCESSES: ("lineshaft", "ProcessPoolExecutor"),
    LINESHAFT_THREADS: ("lineshaft", "ThreadPoolExecutor"),
    PROCESS_POOL: ("concurrent.futures", "ProcessPoolExecutor"),
    THREAD_POOL: ("concurrent.futures", "ThreadPoolExecutor"),
    LOKY: ("loky", "ProcessPoolExecutor"),
}


@contextmanager
def executor(name: str) -> Iterator[Any]:
    """Open an executor and see all its workers started."""
    module, factory = EXECUTORS[name]
    with getattr(importlib.import_module(module), factory)(max_workers=WORKERS) as pool:
        # Each of them holds its worker long enough that the others need one of their own.
        for future in [pool.submit(wait_briefly) for _ in range(WORKERS)]:
            future.result()
        yield pool


@contextmanager
def engine() -> Iterator[Any]:
    """Open a Lineshaft engine and see all its workers started."""
    with importlib.import_module("lineshaft").Engine(workers=WORKERS) as pool:
        for future in [pool.submit(wait_briefly) for _ in range(WORKERS)]:
            future.result()
        yield pool


@contextmanager
def multiprocessing_pool() -> Iterator[Any]:
    """Open a multiprocessing.Pool and see all its workers started."""
    from multiprocessing import Pool

    with Pool(WORKERS) as pool:
        for result in [pool.apply_async(wait_briefly) for _ in range(WORKERS)]:
            result.get()
        yield pool


@contextmanager
def joblib_parallel() -> Iterator[Any]:
    """Open joblib's default pool (loky with memory mapping) and see all its workers started."""
    joblib = importlib.import_module("joblib")
    with joblib.Parallel(n_jobs=WORKERS) as parallel:
        parallel(joblib.delayed(wait_briefly)() for _ in range(WORKERS))
        yield lambda function, arguments: parallel(joblib.delayed(function)(argument) for argument in arguments)
