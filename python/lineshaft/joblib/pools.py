"""Which pool of the engine runs the batches of a call."""

from __future__ import annotations

from lineshaft import _process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from multiprocessing.context import BaseContext
    from typing import Any

    from lineshaft import _native
    from lineshaft._engine import Engine

__all__ = ["Pools"]

#: Pools that are kept for the next call, by kind: programs use one or two numbers of jobs, and one initializer.
SPARE_MAX = {"threads": 4, "initialized": 1}
#: More threads than a process can have.
THREADS_MAX = 1 << 20


class Pools:
    """The pools that one backend uses.

    Most calls share the engine's own pool, whose workers are warm. Who asks for more jobs than the
    engine has workers shares a pool of that size, for which the budget of cores grows unless it is a task
    that asks. A call on threads has a pool to itself: one of its tasks may wait for another call in a way
    that nobody knows of, through a thread of its own say, and that call must find threads. So has one with
    an initializer, whose workers are like no others. All are kept for the next call of the kind.

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
        self._initializer = None if initializer is None else _Initializer(initializer, initargs)
        self._own: dict[int, _native.Pool] = {}
        self._shared: dict[int, _native.Pool] = {}
        #: Pools that nobody else uses meanwhile, by kind and what they are for.
        self._leased: dict[tuple[str, Hashable], _native.Pool] = {}

    def processes(self, n_jobs: int) -> tuple[_native.Pool, int | None]:
        """Return a pool for `n_jobs` processes, and how many batches it may be given at a time, if that is limited."""
        # Calls from a worker find room in its own pool, if that is large enough.
        workers = _process.pool_workers if _process.is_worker() else self._engine.workers
        if self._context is not None:
            return self._forked(n_jobs, self._context), None
        if self._initializer is not None:
            return self._initialized(n_jobs, self._initializer), None
        if n_jobs > workers:
            return self._share(n_jobs), None
        return self.nearest(), n_jobs if n_jobs < workers else None

    def nearest(self) -> _native.Pool:
        """Return the pool of processes whose idle workers help a task: in a worker, that which it belongs to."""
        return self._engine._pool("processes", self._engine.workers)

    def _share(self, n_jobs: int) -> _native.Pool:
        """Return the pool of so many processes, which other backends use as well."""
        if n_jobs not in self._shared:
            wide = self._engine._wide
            with self._engine._lock:
                pool, users = wide.get(n_jobs, (None, 0))
                if pool is None or pool.broken:
                    pool, users = self._engine._open_processes(n_jobs, name="joblib"), 0
                wide[n_jobs] = pool, users + 1
            self._shared[n_jobs] = pool
        return self._shared[n_jobs]

    def _share_no_more(self) -> None:
        """Leave what others use to them; of pools that nobody uses, keep the one that was used last."""
        shared, self._shared = self._shared, {}
        wide = self._engine._wide
        with self._engine._lock:
            for n_jobs, pool in shared.items():
                current, users = wide.get(n_jobs, (None, 0))
                if current is pool:
                    wide[n_jobs] = pool, users - 1
                others = [size for size, (_, users) in wide.items() if users == 0 and size != n_jobs]
                for size in others:
                    wide.pop(size)[0].close()

    def _initialized(self, n_jobs: int, initializer: _Initializer) -> _native.Pool:
        def open_pool() -> _native.Pool:
            return self._engine._open_processes(
                n_jobs, name="joblib", initializer=initializer.function, initargs=initializer.args
            )

        return self._lease("initialized", (n_jobs, initializer), open_pool)

    def _forked(self, n_jobs: int, context: BaseContext) -> _native.Pool:
        if n_jobs not in self._own:
            own = self._initializer
            self._own[n_jobs] = self._engine._open_processes(
                n_jobs,
                name="joblib",
                initializer=own.function if own else None,
                initargs=own.args if own else (),
                max_tasks_per_worker=self._max_tasks_per_worker,
                context=context,
                for_pool=True,
            )
        return self._own[n_jobs]

    def threads(self, n_jobs: int) -> _native.Pool:
        """Return a pool of `n_jobs` threads of this process for this backend alone."""
        return self._lease("threads", n_jobs, lambda: self._engine._open_pool("threads", n_jobs))

    def _lease(self, kind: str, purpose: Hashable, open_pool: Callable[[], _native.Pool]) -> _native.Pool:
        """Return a pool for this backend alone: one that another has given back, or else a new one."""
        pool = self._leased.get((kind, purpose))
        if pool is None:
            pool = self._engine._spare[kind].pop(purpose, None) or open_pool()
            self._leased[kind, purpose] = pool
        return pool

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
        """Keep what was leased for the next call, unless there is something already."""
        leased, self._leased = self._leased, {}
        if self._engine.closed:
            return
        for (kind, purpose), pool in leased.items():
            spare = self._engine._spare[kind]
            if pool.broken or spare.setdefault(purpose, pool) is not pool:
                pool.close()
            while len(spare) > SPARE_MAX[kind]:
                spare.popitem(last=False)[1].close()

    def close(self) -> None:
        """Give back or close the pools that belong to the backend alone."""
        self._give_back()
        self._share_no_more()
        if not self._engine.closed:
            for pool in self._own.values():
                pool.close()
        self._own.clear()


class _Initializer:
    """What is called in each worker before its first batch; equal to one that calls the same with the same."""

    def __init__(self, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.function = function
        self.args = args

    def _identity(self) -> tuple[int, ...]:
        return id(self.function), *map(id, self.args)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Initializer) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())
