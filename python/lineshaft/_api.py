"""Functions of the package that use the default engine."""

from __future__ import annotations

from lineshaft._running import default_engine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from lineshaft.futures import Future

    T = TypeVar("T")

__all__ = ["default_engine_stats", "submit"]


def submit(function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
    """Call ``function(*args, **kwargs)`` in a worker process of the default engine; return its future.

    Futures among the arguments, nested in containers too, are dependencies: the call starts when
    they are done, with their results in their places. A coroutine function runs on an event loop of
    this process, together with many others.

    Returns
    -------
    Future
        A `concurrent.futures.Future`, which can be awaited as well. What goes wrong is its
        exception: what the call raised, with the worker's traceback as ``__cause__``,
        `lineshaft.errors.SerializationError` if an argument cannot be sent,
        `lineshaft.errors.WorkerDied` if the worker was lost.

    Examples
    --------
    >>> parts = [submit(pow, 2, n) for n in range(4)]
    >>> submit(sum, parts).result()
    15
    """
    return default_engine().submit(function, *args, **kwargs)


def default_engine_stats() -> dict[str, Any] | None:
    """Return what the default engine has done so far, or None if none was started.

    Returns
    -------
    dict
        ``tasks``, ``failed``, ``retried``, ``worker_deaths`` (counts), ``busy_fraction`` (0 to 1:
        the processor time of this process and all it started, of what the engine's cores had to
        give), ``peak_memory_bytes`` (of this process and its workers, what they share counted once: the
        dashboard's if there is one), ``elapsed_s`` (seconds), and ``groups``: a list of dicts with
        ``name``, ``tasks``, ``total_s``, ``mean_s``, ``max_s`` (how long its calls ran, without what
        they waited for other tasks; the last two None if no call came to an end) and ``waited_s``,
        slowest in total first.

    Examples
    --------
    >>> submit(pow, 2, 3).result()
    8
    >>> stats = default_engine_stats()
    >>> stats["tasks"] >= 1 and "pow" in [group["name"] for group in stats["groups"]]
    True
    """
    from lineshaft._stats import default_engine_stats as stats

    return stats()
