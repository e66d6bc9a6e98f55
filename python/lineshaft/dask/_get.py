"""`get`: what Dask calls to have a graph run."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dask.config
from dask.callbacks import local_callbacks
from dask.local import nested_get

from lineshaft.dask._job import job
from lineshaft.dask._progress import Bars, is_bar
from lineshaft.dask._run import run
from lineshaft.dask._stepwise import get_stepwise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lineshaft._engine import Engine
    from lineshaft.dask._places import Place

#: Frames of this package, as Dask's configuration names frames.
_OWN_FRAMES = r"lineshaft[\\\/](_dask\.py|dask[\\\/])"


def get(dsk: Any, keys: Any, **kwargs: Any) -> Any:
    """Run a Dask graph on the engine; return what `keys` asks for.

    Made for ``compute(scheduler=lineshaft.dask.get)`` and ``dask.config.set(scheduler="lineshaft")``.
    Tasks run on threads of this process, those of bags in worker processes; the annotation
    ``dask.annotate(lineshaft="processes")``, or ``"threads"``, says otherwise for some of them. The
    annotations ``priority`` and ``retries`` count, too.

    Parameters
    ----------
    dsk
        A graph in any form: an expression, a `HighLevelGraph` or a dict, new or old notation.
    keys
        A key, or a list, possibly nested, of keys.
    num_workers
        How many tasks run at the same time; by default as many as the engine has workers. Dask's
        configuration is read, too.
    rerun_exceptions_locally
        Call a task that fails once more on this thread, as for a debugger.
    engine
        A `lineshaft.Engine`; the default one if there is none.
    callbacks, cache, pool, raise_exception, chunksize, optimize_graph, ...
        As for `dask.threaded.get` and `dask.multiprocessing.get`.

    Returns
    -------
    object
        The value of the key, or a tuple, nested as `keys` is.

    Raises
    ------
    Exception
        What a task raised. The tasks that have not begun are cancelled.
    ValueError
        If a task needs a key that is not in the graph.
    RuntimeError
        If tasks need each other in a circle.

    Examples
    --------
    >>> get({"x": 1, "y": (pow, "x", 2), "z": (sum, ["x", "y"])}, ["z", "y"])
    (2, 1)
    """
    return _get(dsk, keys, None, **kwargs)


def get_threads(dsk: Any, keys: Any, cache: Any = None, num_workers: int | None = None, **kwargs: Any) -> Any:
    """Run a Dask graph on threads of this process; see `get`.

    Examples
    --------
    >>> get_threads({"x": 1, "y": (pow, "x", 2)}, "y")
    1
    """
    return _get(dsk, keys, "threads", cache=cache, num_workers=num_workers, **kwargs)


def get_processes(dsk: Any, keys: Any, num_workers: int | None = None, **kwargs: Any) -> Any:
    """Run a Dask graph in worker processes; see `get`.

    Examples
    --------
    >>> get_processes({"x": 1, "y": (pow, "x", 2)}, "y")
    1
    """
    return _get(dsk, keys, "processes", num_workers=num_workers, **kwargs)


def _get(
    dsk: Any,
    keys: Any,
    default: Place | None,
    *,
    cache: Any = None,
    num_workers: int | None = None,
    pool: Any = None,
    callbacks: Any = None,
    rerun_exceptions_locally: bool | None = None,
    raise_exception: Callable[..., object] | None = None,
    func_dumps: Any = None,
    func_loads: Any = None,
    initializer: Callable[[], object] | None = None,
    chunksize: int | None = None,
    engine: Engine | None = None,
    **kwargs: Any,
) -> Any:
    config = dask.config.get
    pool = pool or config("pool", None)
    cache = config("cache", None) if cache is None else cache
    asked = job(dsk, keys, default, engine=engine, num_workers=num_workers, initializer=initializer)
    with _shortened_tracebacks(), local_callbacks(callbacks) as active:
        stepwise = (
            pool is not None
            or cache is not None
            or func_dumps is not None
            or func_loads is not None
            or not all(map(is_bar, active))
        )
        if stepwise:
            if raise_exception is not None:
                kwargs["raise_exception"] = raise_exception
            return get_stepwise(
                asked,
                keys,
                default or ("processes" if asked.places else "threads"),
                pool=pool,
                chunksize=chunksize,
                func_dumps=func_dumps,
                func_loads=func_loads,
                cache=cache,
                callbacks=active,
                rerun_exceptions_locally=rerun_exceptions_locally,
                **kwargs,
            )
        if rerun_exceptions_locally is None:
            rerun_exceptions_locally = config("rerun_exceptions_locally", False)
        try:
            with Bars(active, asked.graph.nodes) as bars:
                values = run(
                    asked,
                    rerun_exceptions_locally=rerun_exceptions_locally,
                    on_submitted=bars.submitted if active else None,
                )
        except Exception as error:
            if raise_exception is not None:
                raise_exception(error, error.__traceback__)
            raise
    return nested_get(keys, dict(zip(asked.graph.wanted, values, strict=True)))


@contextmanager
def _shortened_tracebacks() -> Iterator[None]:
    """Have Dask show what is raised without frames of this package, as it does without those of its schedulers.

    It is told at each error, because a configuration that is read anew (`dask.config.refresh`) has forgotten it.
    """
    try:
        yield
    except Exception:
        shortened = dask.config.get("admin.traceback.shorten", None)
        if shortened and _OWN_FRAMES not in shortened:
            dask.config.set({"admin.traceback.shorten": [*shortened, _OWN_FRAMES]})
        raise
