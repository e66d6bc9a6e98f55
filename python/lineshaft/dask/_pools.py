"""The pools of an engine that graphs run on."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from dask.multiprocessing import get_context

from lineshaft import _process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lineshaft import _native
    from lineshaft._engine import Engine


def default_threads(engine: Engine) -> int:
    """Return how many tasks run on threads by default: in a worker process, which has one core, one."""
    return 1 if _process.session is not None else engine.workers


def end_pool(engine: Engine) -> _native.Pool:
    """Return where graphs end: a thread of its own, so that no end waits for the tasks of others."""
    return engine._shared_pool("graph ends", 1, lambda: engine._open_threads(1, name="lineshaft-graph-end"))


@contextmanager
def process_pool(engine: Engine, size: int, initializer: Callable[[], object] | None) -> Iterator[_native.Pool]:
    """Give a pool of worker processes: the engine's, or one of its own, which is closed afterwards.

    It has its own if it is to have another size than the engine's, if there is an initializer, and if Dask's
    ``multiprocessing.context`` is ``"fork"``: then the workers are forked from the program as it is now. In a
    worker process, whose engine has the processes, the size is no matter.
    """
    context = get_context()
    forked = context.get_start_method() == "fork"
    if initializer is None and not forked and (size == engine.workers or _process.session is not None):
        yield engine._pool("processes", size)
        return
    pool = engine._open_processes(
        size, name="lineshaft-dask", initializer=initializer, context=context if forked else None
    )
    try:
        yield pool
    finally:
        pool.close()
