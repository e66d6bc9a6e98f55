"""The pools of an engine that graphs run on."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from dask.multiprocessing import get_context

from lineshaft import _process, _startup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lineshaft import _native
    from lineshaft._engine import Engine


def default_threads(engine: Engine) -> int:
    """Return how many tasks run on threads by default: in a worker process, which has one core, one."""
    return 1 if _process.session is not None else engine.workers


def end_pool(engine: Engine) -> _native.Pool:
    """Return where graphs end: a thread of its own, so that no end waits for the tasks of others."""

    def open_pool() -> _native.Pool:
        return engine._open_threads(1, name="lineshaft-graph-end", internal=True)

    return engine._shared_pool("graph ends", 1, open_pool)


@contextmanager
def process_pool(engine: Engine, size: int, initializer: Callable[[], object] | None) -> Iterator[_native.Pool]:
    """Give a pool of worker processes: the engine's, or one of its own, which is closed afterwards.

    It has its own if it is to have another size than the engine's, if there is an initializer, and if Dask's
    ``multiprocessing.context`` is ``"fork"``: then the workers are forked from the program as it is now. In a
    worker process, whose engine has the processes, the size is no matter.

    The engine's are in the program's working folder and have its environment, as processes have that are
    started for each graph. Once the program has changed these, graphs have others, until it changes them again.
    """
    context = get_context()
    forked = context.get_start_method() == "fork"
    if initializer is None and not forked and (size == engine.workers or _process.session is not None):
        if _process.session is not None or _shared_are_here(engine):
            yield engine._pool("processes", size)
        else:
            since_move = _since_move(engine)
            yield since_move.pool
        return
    pool = engine._open_processes(
        size, name="lineshaft-dask", initializer=initializer, context=context if forked else None
    )
    try:
        yield pool
    finally:
        pool.close()


class _SinceMove:
    """Worker processes that were started since the program has moved; they end with the last graph that has this."""

    def __init__(self, engine: Engine) -> None:
        self.pool = engine._open_processes(engine.workers, name="lineshaft-dask")
        self.place = engine._place

    def __del__(self) -> None:
        if hasattr(self, "pool"):
            self.pool.close()


_opened: WeakKeyDictionary[Engine, _SinceMove] = WeakKeyDictionary()


def _shared_are_here(engine: Engine) -> bool:
    """Whether the processes that all calls share were all started where the program is now, or will be."""
    place = engine._shared_place
    # One that is started while the engine has another place is there, whenever its pool was opened.
    return place is None or (place is engine._place and place == _startup.place())


def _since_move(engine: Engine) -> _SinceMove:
    found = _opened.get(engine)
    if found is None or found.place is not engine._place or found.place != _startup.place():
        found = _opened[engine] = _SinceMove(engine)
    return found
