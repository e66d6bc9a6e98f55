"""Overhead of Dask's graphs, beside Dask's own schedulers: a tree reduction, independent tasks, and delayed calls.

A task here adds two numbers, so that all the time there is goes into scheduling. The best of a few runs in one
interpreter counts: the first one starts threads or processes, and what else disturbs a run only makes it slower.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from benches.measure import WORKERS, Measure, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Runs of which the best counts, but for `distributed`, which takes a minute for one.
RUNS = 4


def increment(x: int) -> int:
    """Return one more."""
    return x + 1


def add(x: int, y: int) -> int:
    """Return the sum."""
    return x + y


def tree(leaves: int = 1 << 14) -> tuple[dict[Any, Any], Any]:
    """Return a reduction by pairs of so many leaves, a power of two, and its key."""
    spec: Any = import_module("dask._task_spec")
    level: list[Any] = [("leaf", i) for i in range(leaves)]
    graph = {key: spec.Task(key, increment, key[1]) for key in level}
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=True)
        level = []
        for number, (left, right) in enumerate(pairs):
            key = (f"add-{len(graph)}", number)
            graph[key] = spec.Task(key, add, spec.TaskRef(left), spec.TaskRef(right))
            level.append(key)
    return graph, level[0]


def independent(tasks: int = 10_000) -> tuple[dict[Any, Any], Any]:
    """Return so many tasks that need nothing, and their keys."""
    spec: Any = import_module("dask._task_spec")
    keys = [("increment", i) for i in range(tasks)]
    return {key: spec.Task(key, increment, key[1]) for key in keys}, keys


def million() -> tuple[dict[Any, Any], Any]:
    """Return a tree of a million tasks and more, and its key."""
    return tree(1 << 19)


def named(module: str, name: str) -> Callable[[], Any]:
    """Return what makes a scheduler of one that is found by its name."""

    @contextmanager
    def scheduler() -> Iterator[Callable[..., Any]]:
        get = getattr(import_module(module), name)
        yield lambda graph, keys: get(graph, keys, num_workers=WORKERS)

    return scheduler


@contextmanager
def distributed_cluster() -> Iterator[Callable[..., Any]]:
    """Give the scheduler of a local cluster with worker processes."""
    distributed: Any = import_module("distributed")
    with (
        distributed.LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client.get


def overhead_us(graph: Callable[[], Any], scheduler: Callable[[], Any], runs: int = RUNS) -> float:
    """Return the microseconds per task of the best run."""
    tasks, wanted = graph()
    with ExitStack() as stack:
        get = stack.enter_context(scheduler())
        get(*independent(100))
        best_s = float("inf")
        for _ in range(runs):
            began_s = time.perf_counter()
            get(tasks, wanted)
            best_s = min(best_s, time.perf_counter() - began_s)
    return best_s / len(tasks) * 1e6


def fan_out_s(scheduler: str) -> float:
    """Return the seconds from `compute` to the sum of 10,000 delayed calls."""
    dask: Any = import_module("dask")
    import_module("lineshaft.dask")
    calls = [dask.delayed(increment)(i) for i in range(10_000)]
    total = dask.delayed(sum)(calls)
    dask.delayed(increment)(1).compute(scheduler=scheduler, num_workers=WORKERS)
    began_s = time.perf_counter()
    total.compute(scheduler=scheduler, num_workers=WORKERS)
    return time.perf_counter() - began_s


THREADS = {
    "lineshaft": named("lineshaft.dask", "get_threads"),
    "dask.threaded": named("dask.threaded", "get"),
}
PROCESSES = {
    "lineshaft, processes": named("lineshaft.dask", "get_processes"),
    "dask.multiprocessing": named("dask.multiprocessing", "get"),
}
GRAPHS = {"tree": (tree, "a tree of 2^14 leaves"), "tasks": (independent, "10,000 independent tasks")}

MEASURES = [
    *(
        Measure(
            name=f"dask-{name}-threads",
            title=f"Dask, overhead on threads: {title}",
            unit="us per task",
            contestants={who: partial(overhead_us, graph, scheduler) for who, scheduler in THREADS.items()},
            targets=[Target(ours="lineshaft", peer="dask.threaded", at_least=10)],
        )
        for name, (graph, title) in GRAPHS.items()
    ),
    *(
        Measure(
            name=f"dask-{name}-processes",
            title=f"Dask, overhead in processes: {title}",
            unit="us per task",
            contestants={
                **{who: partial(overhead_us, graph, scheduler) for who, scheduler in PROCESSES.items()},
                "distributed": partial(overhead_us, graph, distributed_cluster, runs=1),
            },
            targets=[
                Target(ours="lineshaft, processes", peer="dask.multiprocessing", at_least=10),
                Target(ours="lineshaft, processes", peer="distributed", at_least=100),
            ],
            repeat_max=2,
            timeout_s=400,
        )
        for name, (graph, title) in GRAPHS.items()
    ),
    Measure(
        name="dask-fan-out",
        title="Dask: 10,000 delayed calls and their sum, from compute to result",
        unit="s",
        contestants={"lineshaft": partial(fan_out_s, "lineshaft"), "dask.threaded": partial(fan_out_s, "threads")},
        targets=[Target(ours="lineshaft", peer="dask.threaded", at_least=20)],
        repeat_max=3,
    ),
    Measure(
        name="dask-million",
        title="Dask: a tree of a million tasks on threads",
        unit="us per task",
        contestants={"lineshaft": partial(overhead_us, million, THREADS["lineshaft"], runs=1)},
        repeat_max=1,
        timeout_s=400,
    ),
]
