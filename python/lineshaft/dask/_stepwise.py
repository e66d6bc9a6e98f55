"""Runs a graph step by step, by Dask's own loop, on the engine's pools.

For callbacks that want to see every task begin and every result, in this process and in the order
in which they come: that is what Dask's loop does, and whoever asks for it pays for it. Also for a `cache`
of results, and for a pool of the program's own.
"""

from __future__ import annotations

import contextvars
import multiprocessing.pool
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import dask.config
import dask.multiprocessing
import dask.threaded
from dask.local import MultiprocessingPoolExecutor, get_async

from lineshaft._serial.parent import all_or_nothing
from lineshaft.dask._pools import process_pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from lineshaft import _native
    from lineshaft.dask._job import Job
    from lineshaft.dask._places import Place


def get_stepwise(
    job: Job,
    keys: Any,
    place: Place,
    *,
    pool: Any = None,
    **kwargs: Any,
) -> Any:
    """Run a graph; see `dask.local.get_async` for what the further arguments do.

    Parameters
    ----------
    job
        What is asked for.
    keys
        As for `lineshaft.dask.get`.
    place
        Where its tasks run.
    pool
        An executor or a `multiprocessing.Pool` to run them on, instead of the job's engine.
    """
    if pool is None:
        engine, workers = job.engine, job.threads if place == "threads" else job.processes
        own = process_pool(engine, workers, job.initializer) if place == "processes" else nullcontext()
        with own as processes:
            submit = _to_threads(engine._pool("threads", workers)) if processes is None else _to_processes(processes)
            return _loop(submit, workers, job.layers, keys, place, **kwargs)
    if isinstance(pool, multiprocessing.pool.Pool):
        pool = MultiprocessingPoolExecutor(pool)
    return _loop(pool.submit, pool._max_workers, job.layers, keys, place, **kwargs)


def _loop(
    submit: Callable[..., Any],
    workers: int,
    dsk: Any,
    keys: Any,
    place: Place,
    *,
    chunksize: int | None = None,
    func_dumps: Callable[[Any], bytes] | None = None,
    func_loads: Callable[[bytes], Any] | None = None,
    **kwargs: Any,
) -> Any:
    if place == "threads":
        kwargs.update(get_id=dask.threaded._thread_get_id, pack_exception=dask.threaded.pack_exception)
    else:
        config = dask.config.get
        chunksize = chunksize or config("chunksize", 6)
        kwargs.update(
            get_id=dask.multiprocessing._process_get_id,
            dumps=func_dumps or config("func_dumps", None) or dask.multiprocessing._dumps,
            loads=func_loads or config("func_loads", None) or dask.multiprocessing._loads,
            pack_exception=dask.multiprocessing.pack_exception,
        )
        kwargs.setdefault("raise_exception", vars(dask.multiprocessing)["reraise"])
    return get_async(submit, workers, dsk, keys, chunksize=chunksize, **kwargs)


def _to_processes(pool: _native.Pool) -> Callable[..., Any]:
    def submit(function: Callable[..., Any], *args: Any) -> Any:
        pool.look_again()
        with all_or_nothing():
            return pool.submit(function, args)

    return submit


def _to_threads(pool: _native.Pool) -> Callable[..., Any]:
    # Each call has a copy of the context in which it was submitted.
    return lambda function, *args: pool.submit(contextvars.copy_context().run, (function, *args))
