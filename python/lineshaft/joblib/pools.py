"""Which pool of the engine runs the batches of a call."""

from __future__ import annotations

from lineshaft import _process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lineshaft import _native
    from lineshaft._engine import Engine

    Initializer = tuple[Callable[..., object], tuple[Any, ...]]

__all__ = ["Pools"]


class Pools:
    """The pools that one backend uses.

    Most calls share the engine's own pool, whose workers are warm. Who asks for more jobs than the
    engine has workers gets a pool of that size for as long as the backend is configured, because the
    budget of cores grows while it is open. Workers with an initializer are kept for the next call
    with the same one.
    """

    def __init__(
        self, engine: Engine, initializer: Callable[..., object] | None = None, initargs: tuple[Any, ...] = ()
    ) -> None:
        self._engine = engine
        self._initializer = None if initializer is None else (initializer, initargs)
        self._own: dict[int, _native.Pool] = {}

    def processes(self, n_jobs: int) -> tuple[_native.Pool, int | None]:
        """Return a pool for `n_jobs` processes, and how many batches it may be given at a time, if that is limited."""
        workers = self._engine.workers
        if _process.is_worker():
            return self._engine._pool("processes", workers), None
        if self._initializer is not None:
            return _initialized_pool(self._engine, n_jobs, self._initializer), None
        if n_jobs > workers:
            if n_jobs not in self._own:
                self._own[n_jobs] = self._engine._open_processes(n_jobs, name="joblib")
            return self._own[n_jobs], None
        return self._engine._pool("processes", workers), n_jobs if n_jobs < workers else None

    def threads(self, n_jobs: int) -> tuple[_native.Pool, int | None]:
        """Return a pool for `n_jobs` threads of this process; see `processes`."""
        workers = self._engine.workers
        if n_jobs > workers:
            return self._engine._pool("threads", n_jobs), None
        return self._engine._pool("threads", workers), n_jobs if n_jobs < workers else None

    def close(self) -> None:
        """Close the pools that belong to the backend alone."""
        if not self._engine.closed:
            for pool in self._own.values():
                pool.close()
        self._own.clear()


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
