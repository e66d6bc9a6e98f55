"""Overhead of Dask's graphs, beside Dask's own schedulers: a tree reduction and independent tasks.

Run it by ``python -m benches.dask_graphs``: microseconds per task of each, on two workers, and their ratio. The two run
alternately, and the best of their runs counts: what disturbs them only makes them slower.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import dask.multiprocessing
import dask.threaded
from dask._task_spec import Task, TaskRef

import lineshaft.dask

if TYPE_CHECKING:
    from collections.abc import Callable

#: Tasks by key, and what is wanted of them.
Graph = tuple[dict[Any, Task], Any]

WORKERS = 2


def increment(x: int) -> int:
    """Return one more."""
    return x + 1


def add(x: int, y: int) -> int:
    """Return the sum."""
    return x + y


def tree(leaves: int) -> Graph:
    """Return a reduction by pairs of so many leaves, a power of two."""
    level: list[Any] = [("leaf", i) for i in range(leaves)]
    graph = {key: Task(key, increment, key[1]) for key in level}
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=True)
        level = []
        for number, (left, right) in enumerate(pairs):
            key = (f"add-{len(graph)}", number)
            graph[key] = Task(key, add, TaskRef(left), TaskRef(right))
            level.append(key)
    return graph, level[0]


def independent(tasks: int) -> Graph:
    """Return so many tasks that need nothing."""
    keys = [("increment", i) for i in range(tasks)]
    return {key: Task(key, increment, key[1]) for key in keys}, keys


def overhead_us(scheduler: Callable[..., Any], graph: Graph) -> float:
    """Return the microseconds per task that one run takes."""
    tasks, wanted = graph
    began_s = time.perf_counter()
    scheduler(tasks, wanted, num_workers=WORKERS)
    return (time.perf_counter() - began_s) / len(tasks) * 1e6


def main() -> None:
    """Print a line for each graph and kind of workers."""
    kinds: list[tuple[str, Callable[..., Any], Callable[..., Any], int]] = [
        ("threads", lineshaft.dask.get_threads, dask.threaded.get, 3),
        ("processes", lineshaft.dask.get_processes, dask.multiprocessing.get, 2),
    ]
    for kind, ours, peer, rounds in kinds:
        ours({"x": Task("x", increment, 1)}, "x", num_workers=WORKERS)
        for name, graph in {"tree of 2^14 leaves": tree(1 << 14), "10,000 independent": independent(10_000)}.items():
            runs = [(overhead_us(ours, graph), overhead_us(peer, graph)) for _ in range(rounds)]
            best, best_peer = min(run[0] for run in runs), min(run[1] for run in runs)
            print(f"{kind:10} {name:20} {best:7.1f} us {best_peer:7.1f} us {best_peer / best:6.1f} times")


if __name__ == "__main__":
    main()
