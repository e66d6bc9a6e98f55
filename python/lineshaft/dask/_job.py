"""What a scheduler is asked for, with what the configuration says to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dask.config
from dask.core import flatten

from lineshaft._engine import check_engine
from lineshaft._running import default_engine
from lineshaft._startup import check_count
from lineshaft.dask._graph import Graph, materialize
from lineshaft.dask._places import options, places
from lineshaft.dask._pools import default_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lineshaft import _native
    from lineshaft._engine import Engine
    from lineshaft.dask._places import Place


@dataclass(frozen=True)
class Job:
    """A graph, and where and how it is to run.

    Parameters
    ----------
    engine
        Where it runs.
    layers
        What Dask passed, by key.
    graph
        The same, for the engine.
    places, options
        Where tasks run that do not run on threads, and how, by key.
    threads, processes
        How many tasks run on threads and in worker processes at the same time, at most.
    initializer
        Called in each worker process before its first task; the graph then has workers of its own.
    """

    engine: Engine
    layers: Mapping[Any, Any]
    graph: Graph
    places: dict[Any, Place]
    options: dict[Any, _native.TaskOptions]
    threads: int
    processes: int
    initializer: Callable[[], object] | None


def job(
    dsk: Any,
    keys: Any,
    default: Place | None = None,
    *,
    engine: Engine | None = None,
    num_workers: int | None = None,
    initializer: Callable[[], object] | None = None,
) -> Job:
    """Return what a scheduler that was called with these is asked for.

    `default` is where tasks run of which nothing else is said; None means where their collection does.
    """
    check_engine(engine)
    engine = engine or default_engine()
    num_workers = num_workers or dask.config.get("num_workers", None)
    if num_workers:
        num_workers = check_count("num_workers", num_workers)
    layers, annotations = materialize(dsk)
    graph = Graph(layers, list(dict.fromkeys(flatten(keys))) if isinstance(keys, list) else [keys])
    return Job(
        engine,
        layers,
        graph,
        places(dsk, graph, annotations, default),
        options(annotations) if annotations else {},
        threads=num_workers or default_threads(engine),
        processes=num_workers or engine.workers,
        initializer=initializer or dask.config.get("multiprocessing.initializer", None),
    )
