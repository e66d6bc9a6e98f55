"""Collections whose chunks are futures of tasks on the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask.base
from dask.core import flatten

from lineshaft.dask._chunk import Chunk
from lineshaft.dask._graph import Graph
from lineshaft.dask._job import job
from lineshaft.dask._run import submit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lineshaft._engine import Engine
    from lineshaft.futures import Future


def persist(
    *collections: Any,
    traverse: bool = True,
    optimize_graph: bool = True,
    engine: Engine | None = None,
    num_workers: int | None = None,
    initializer: Callable[[], object] | None = None,
) -> tuple[Any, ...]:
    """Have the chunks of collections computed, and return at once collections that are made of them.

    What is computed of these begins as soon as the chunks that it needs are there. A chunk that was computed
    in a worker process stays in shared memory until the program or a task on a thread wants it. Chunks are
    kept for as long as a collection, or anything made from it, has them. What has not begun and is needed for none
    of those is dropped, and the end of the program does not wait for it. Other schedulers than this engine
    compute the collections, too: they wait for the chunks.

    Parameters
    ----------
    collections
        Of Dask, or containers of such.
    traverse, optimize_graph
        As for `dask.persist`.
    engine, num_workers, initializer
        As for `lineshaft.dask.get`.

    Returns
    -------
    tuple
        As many collections, of the same kinds.

    Raises
    ------
    Exception
        What a task raises is raised where a result is asked for.

    Examples
    --------
    >>> import dask.array as da
    >>> import concurrent.futures
    >>> x, = persist(da.ones((4, 4), chunks=2) + 1)
    >>> done, pending = concurrent.futures.wait(futures_of(x))
    >>> len(done), float(x.sum().compute())
    (4, 32.0)
    """

    def chunks(dsk: Any, keys: list[Any], **_: Any) -> list[Any]:
        asked = job(dsk, keys, engine=engine, num_workers=num_workers, initializer=initializer)
        run = submit(asked, daemon=True)
        found = dict(zip(asked.graph.wanted, run.futures(), strict=True))
        return [_node(key, found[key]) for key in keys]

    of_dask: Callable[..., tuple[Any, ...]] = dask.base.persist
    return of_dask(*collections, traverse=traverse, optimize_graph=optimize_graph, scheduler=chunks)


def futures_of(*collections: Any) -> list[Future[Any]]:
    """Return the futures of the chunks that persisted collections are made of, in order.

    As with `persist`, collections may be in containers; what is none has no futures.

    Examples
    --------
    >>> import dask
    >>> later, = persist(dask.delayed(pow)(2, 5))
    >>> [future.result() for future in futures_of(later)]
    [32]
    """
    found, _ = dask.base.unpack_collections(*collections)
    return [future for collection in found for future in _futures(collection)]


def _futures(collection: Any) -> Iterator[Future[Any]]:
    graph = Graph(dict(collection.__dask_graph__()), [])
    for key in flatten([collection.__dask_keys__()]):
        while key in graph.aliases:
            key = graph.aliases[key]
        if key in graph.futures:
            yield graph.futures[key]


def _node(key: Any, value: Any) -> Any:
    from lineshaft.futures import Future

    # In the notation without keys: `dask.graph_manipulation.clone` gives what it copies other ones.
    return (Chunk(key, value),) if isinstance(value, Future) else value
