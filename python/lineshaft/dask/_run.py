"""Runs a graph on an engine."""

from __future__ import annotations

import contextvars
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

from lineshaft import _native
from lineshaft._serial.parent import all_or_nothing
from lineshaft.dask._pools import end_pool, process_pool
from lineshaft.dask._raised import restore
from lineshaft.dask._remote import StandIn, call_node

if TYPE_CHECKING:
    from collections.abc import Callable

    from lineshaft.dask._graph import Graph
    from lineshaft.dask._job import Job


class _Plan(NamedTuple):
    """What the native side is told of where and how tasks run."""

    pools: list[_native.Pool]
    end_pool: _native.Pool
    places: dict[Any, int]
    options: dict[Any, _native.TaskOptions]
    daemon: bool
    context: contextvars.Context
    stand_in: Callable[[int], object]
    call_node: Callable[..., object]


def run(
    job: Job,
    *,
    rerun_exceptions_locally: bool = False,
    on_submitted: Callable[[_native.GraphRun], object] | None = None,
) -> list[Any]:
    """Run what is needed of a graph; return what is wanted, in order.

    Parameters
    ----------
    job
        The graph, and where and how it is to run.
    rerun_exceptions_locally
        Call a task that fails once more, on this thread, as for a debugger.
    on_submitted
        Called with what stands for the running graph.

    Raises
    ------
    Exception
        What the first task that failed has raised. Tasks that have not begun are then cancelled. After
        Ctrl-C, those that run in worker processes are killed.
    """
    submitted = submit(job, keep=rerun_exceptions_locally)
    try:
        if on_submitted is not None:
            on_submitted(submitted)
        results: list[Any] = submitted.result()
        return results
    except BaseException as error:
        submitted.cancel(not isinstance(error, Exception))
        if rerun_exceptions_locally and isinstance(error, Exception):
            _rerun(job.graph, submitted)
        restore(error)
        raise
    finally:
        # The traceback has this frame, and what was submitted has the exception.
        del submitted


def submit(job: Job, *, keep: bool = False, daemon: bool = False) -> _native.GraphRun:
    """Submit what is needed of a graph.

    With `keep`, all results are kept for as long as what is returned is. The end of the program does not wait
    for a `daemon`.
    """
    engine = job.engine
    # A worker has no worker processes of its own; its threads stand for them.
    remote = bool(job.places) and engine._native is not None
    with process_pool(engine, job.processes, job.initializer) if remote else nullcontext() as of_processes:
        of_threads = engine._pool("threads", job.threads)
        plan = _Plan(
            pools=[of_threads] if of_processes is None else [of_threads, of_processes],
            end_pool=end_pool(engine),
            places=dict.fromkeys(job.places, 1) if remote else {},
            options=job.options,
            daemon=daemon,
            context=contextvars.copy_context(),
            stand_in=StandIn,
            call_node=call_node,
        )
        with all_or_nothing():
            return engine._local().submit_graph(job.graph, plan, keep=keep)


def _rerun(graph: Graph, submitted: _native.GraphRun) -> None:
    key = submitted.failed_key()
    if key is None:
        return
    results = {**graph.values, **submitted.results()}
    node = graph.nodes[key]
    values = {}
    for dependency in node.dependencies:
        target = dependency
        while target in graph.aliases:
            target = graph.aliases[target]
        values[dependency] = results[target]
    node(values)
