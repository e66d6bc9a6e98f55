"""Which pool of the engine runs the batches of a call."""

from __future__ import annotations

from collections import OrderedDict
from weakref import WeakKeyDictionary

from lineshaft import _process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import BaseContext
    from typing import Any

    from lineshaft import _native
    from lineshaft._engine import Engine

    Initializer = tuple[Callable[..., object], tuple[Any, ...]]

__all__ = ["Pools"]

#: Pools of threads that are kept for the next call: programs use one or two numbers of jobs.
SPARE_MAX = 4
#: More threads than a process can have.
THREADS_MAX = 1 << 20


class Pools:
    """The pools that one backend uses.

    Most calls share the engine's own pool, whose workers are warm. Who asks for more jobs than the
    engine has workers gets a pool of that size for as long as the backend is configured, because the
    budget of cores grows while it is open. Workers with an initializer are kept for the next call
    with the same one. A call on threads has a pool to itself: one of its tasks may wait for another
    call in a way that nobody knows of, through a thread of its own say, and that call must find threads.

    With a `context` of `multiprocessing` whose start method is `fork`, workers are forked from the program and
    see it as it was when `processes` was first called; after `max_tasks_per_worker` others take their places.
    """

    def __init__(
        self,
        engine: Engine,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        context: BaseContext | None = None,
        max_tasks_per_worker: int | None = None,
    ) -> None:
        self._engine = engine
        self._max_tasks_per_worker = max_tasks_per_worker
        self._context = context if context is not None and context.get_start_method() == "fork" else None
        self._initializer = None if initializer is None else (initializer, initargs)
        self._own: dict[int, _native.Pool] = {}
        #: Threads that nobody else uses meanwhile, and how many.
        self._leased: tuple[int, _native.Pool] | None = None

    def processes(self, n_jobs: int) -> tuple[_native.Pool, int | None]:
        """Return a pool for `n_jobs` processes, and how many batches it may be given at a time, if that is limited."""
        workers = self._engine.workers
        if _process.is_worker():
            return self._engine._pool("processes", workers), None
        if self._context is not None:
            return self._forked(n_jobs, self._context), None
        if self._initializer is not None:
            return _initialized_pool(self._engine, n_jobs, self._initializer), None
        if n_jobs > workers:
            if n_jobs not in self._own:
                self._own[n_jobs] = self._engine._open_processes(n_jobs, name="joblib")
            return self._own[n_jobs], None
        return self._engine._pool("processes", workers), n_jobs if n_jobs < workers else None

    def _forked(self, n_jobs: int, context: BaseContext) -> _native.Pool:
        if n_jobs not in self._own:
            initializer, initargs = self._initializer or (None, ())
            self._own[n_jobs] = self._engine._open_processes(
                n_jobs,
                name="joblib",
                initializer=initializer,
                initargs=initargs,
                max_tasks_per_worker=self._max_tasks_per_worker,
                context=context,
                for_pool=True,
            )
        return self._own[n_jobs]

    def threads(self, n_jobs: int) -> _native.Pool:
        """Return a pool of `n_jobs` threads of this process for this backend alone."""
        if self._leased is None or self._leased[0] != n_jobs:
            self._give_back()
            spare = _spare_of(self._engine).pop(n_jobs, None)
            self._leased = n_jobs, spare or self._engine._open_pool("threads", n_jobs)
        return self._leased[1]

    @property
    def cores(self) -> int:
        """How many the engine has."""
        return self._engine.workers

    def helping_threads(self) -> _native.Pool:
        """Return a pool for threads that help a task on idle cores; it can do without, so all such tasks share one."""
        cores = self._engine.workers
        # In a worker, whose calls on threads take no cores of its engine's, at most all the others.
        return self._engine._pool("threads", max(1, cores - 1) if _process.is_worker() else cores)

    def any_threads(self) -> _native.Pool:
        """Return a pool of as many threads of this process as are needed, which take no cores."""
        return self._engine._pool("threads", THREADS_MAX)

    def _give_back(self) -> None:
        """Keep the threads for the next call, unless there are some already."""
        leased, self._leased = self._leased, None
        if leased is not None and not self._engine.closed:
            n_jobs, pool = leased
            spare = _spare_of(self._engine)
            if spare.setdefault(n_jobs, pool) is not pool:
                pool.close()
            while len(spare) > SPARE_MAX:
                spare.popitem(last=False)[1].close()

    def close(self) -> None:
        """Give back or close the pools that belong to the backend alone."""
        self._give_back()
        if not self._engine.closed:
            for pool in self._own.values():
                pool.close()
        self._own.clear()


#: Pools of threads that no call uses at the moment, by the number of their threads; the one given back last is last.
_spare: WeakKeyDictionary[Engine, OrderedDict[int, _native.Pool]] = WeakKeyDictionary()


def _spare_of(engine: Engine) -> OrderedDict[int, _native.Pool]:
    return _spare.setdefault(engine, OrderedDict())


#: The last pool with an initializer: its engine, what it was made for, and itself.
_last: tuple[Engine, int, Initializer, _native.Pool] | None = None


def _initialized_pool(engine: Engine, n_jobs: int, initializer: Initializer) -> _native.Pool:
    global _last
    if _last is not None:
        last_engine, size, same, pool = _last
        if last_engine is engine and not engine.closed and size == n_jobs and _is_same(same, initializer):
            return pool
        if not last_engine.closed:
            pool.close()
    pool = engine._open_processes(n_jobs, name="joblib", initializer=initializer[0], initargs=initializer[1])
    _last = (engine, n_jobs, initializer, pool)
    return pool


def _is_same(one: Initializer, other: Initializer) -> bool:
    return (
        one[0] is other[0]
        and len(one[1]) == len(other[1])
        and all(mine is theirs for mine, theirs in zip(one[1], other[1], strict=True))
    )
