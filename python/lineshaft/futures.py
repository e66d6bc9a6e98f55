"""Futures and executors: drop-in replacements for those of `concurrent.futures`."""

from __future__ import annotations

import concurrent.futures
import os
import threading
from weakref import WeakSet

from lineshaft import _native
from lineshaft._engine import Engine
from lineshaft._process import is_worker
from lineshaft._running import default_engine
from lineshaft._startup import check_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from types import TracebackType
    from typing import Any, Literal, TypeVar

    T = TypeVar("T")

    from lineshaft._members import PendingCalls, WorkerProcess
    from lineshaft._thread_executor import ThreadPoolExecutor as ThreadPoolExecutor

if TYPE_CHECKING:
    # It has the methods of the standard class, with less exact types.
    class _NativeHalf: ...

else:
    _NativeHalf = _native.FutureBase

#: Futures of nested calls that an executor may keep before it looks which of them are done.
NESTED_KEPT = 64

_AFTER_SHUTDOWN = "cannot schedule new futures after shutdown"

#: Executors that take no more calls once the interpreter ends.
open_executors: WeakSet[Executor] = WeakSet()

#: In a forked child: pools of the parent, which are not to be ended here.
_of_parent: list[_native.Pool | None] = []

__all__ = ["Future", "ProcessPoolExecutor", "ThreadPoolExecutor"]


class Future(_NativeHalf, concurrent.futures.Future["T"]):
    """The result of a call that may not have ended yet: a `concurrent.futures.Future`, and awaitable.

    As an argument of another call it is a dependency: that call starts when this one is done, and
    finds the result in the future's place.
    """

    # There is nothing to set up in Python, and a million futures are common.
    __init__ = object.__init__

    def __await__(self) -> Generator[Any, None, T]:
        import asyncio

        return asyncio.wrap_future(self).__await__()


class Executor(concurrent.futures.Executor):
    """What both executors share: a pool of the engine, and the words of `concurrent.futures`."""

    #: None until the first call is submitted, if the workers are to see the program as it is then, and in
    #: a forked child.
    _pool: _native.Pool | None
    #: The engine is that of the parent.
    _is_inherited = False
    _shutdown = True

    def __init__(
        self,
        max_workers: int,
        initializer: Callable[..., object] | None,
        engine: Engine | None,
        *,
        is_of_pool: bool = False,
    ) -> None:
        if max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._max_workers = max_workers
        self._engine = engine or default_engine(for_pool=is_of_pool)
        #: It belongs to a `lineshaft.Pool`, which has its own ways to end.
        self._is_of_pool = is_of_pool
        self._has_initializer = initializer is not None
        #: Whoever pickles arguments may submit more, or shut down.
        self._shutdown_lock = threading.RLock()
        #: In a worker process: futures that `shutdown` waits for. The engine keeps count of all others.
        self._nested: set[Future[Any]] | None = None
        self._nested_kept = NESTED_KEPT
        if is_of_pool:
            self._engine._serves_pools = True
        else:
            open_executors.add(self)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Schedule ``fn(*args, **kwargs)`` and return its future.

        Raises
        ------
        RuntimeError
            After `shutdown`; its subclass `concurrent.futures.BrokenExecutor` once the initializer raised.
        """
        if self._shutdown:
            raise RuntimeError(_AFTER_SHUTDOWN)
        if self._has_initializer and self._broken:
            raise self._broken_error()
        pool = self._pool or self._open()
        if self._nested is None:
            return pool.submit(fn, args, kwargs)  # type: ignore[return-value]
        # Whoever shuts it down waits for what is noted by then.
        with self._shutdown_lock:
            if self._shutdown:
                raise RuntimeError(_AFTER_SHUTDOWN)
            future: Future[T] = pool.submit(fn, args, kwargs)  # type: ignore[assignment]
            self._nested.add(future)
        if len(self._nested) >= 2 * self._nested_kept:
            self._forget_ended(self._nested)
        return future

    def _forget_ended(self, nested: set[Future[Any]]) -> None:
        # Other threads submit meanwhile.
        nested.difference_update([future for future in tuple(nested) if future.done()])
        self._nested_kept = max(NESTED_KEPT, len(nested))

    def _open(self) -> _native.Pool:
        with self._shutdown_lock:
            # Another thread may have ended the executor since it was asked: nobody would close the pool.
            if self._shutdown:
                raise RuntimeError(_AFTER_SHUTDOWN)
            if self._is_inherited:
                self._engine = default_engine(for_pool=self._is_of_pool)
                self._nested = set() if is_worker() else None
                self._is_inherited = False
            if self._pool is None:
                self._pool = self._open_pool()
            return self._pool

    def _open_pool(self) -> _native.Pool:
        raise NotImplementedError

    def _forget_parent(self) -> None:
        """In a forked child: have the next call go to a pool of the child's own."""
        # It may have been held at the fork, as it is while a pool of forked workers opens.
        self._shutdown_lock = threading.RLock()
        _of_parent.append(self._pool)
        self._pool = None
        self._is_inherited = True

    @property
    def _broken(self) -> bool:
        return self._pool is not None and not self._engine.closed and self._pool.broken

    @property
    def _unfinished(self) -> int:
        """How many calls have not ended."""
        if self._pool is None or self._engine.closed:
            return 0
        _, unfinished = self._pool.stats()
        return unfinished

    def _broken_error(self) -> Exception:
        raise NotImplementedError

    def _interrupt_calls(self) -> None:
        """Have calls that run end by KeyboardInterrupt, where that is possible."""

    def __del__(self) -> None:
        # As with concurrent.futures, what was submitted still runs, and then the workers are freed.
        if not self._shutdown:
            self.shutdown(wait=False)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; free the workers when those submitted have ended.

        Parameters
        ----------
        wait
            Whether to return only then.
        cancel_futures
            Whether to cancel calls that have not begun.
        """
        with self._shutdown_lock:
            self._shutdown = True
        if self._engine.closed or self._pool is None:
            return
        if cancel_futures:
            self._pool.cancel_all(False)
            for future in list(self._nested or ()):
                future.cancel()
        self._pool.close()
        if not self._is_of_pool:
            self._engine._leave(self._pool)  # also if it is waited for, which Ctrl-C may end
        elif not wait:
            self._pool.hurry()  # nobody waits for the workers of a `Pool` that is given up: they are daemons
        if wait:
            if self._nested:
                concurrent.futures.wait(list(self._nested))
            self._pool.wait_closed()
            self._engine._left.discard(self._pool)
            # Callbacks of what has ended are not left for later.
            self._pool.drain()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Literal[False]:
        # Ctrl-C means stop.
        if kind is not None and issubclass(kind, KeyboardInterrupt) and self._pool and not self._engine.closed:
            try:
                self._interrupt_calls()
            finally:
                self._pool.cancel_all(True)
                self._pool.hurry()
        self.shutdown()
        return False


class ProcessPoolExecutor(Executor):
    """Runs calls in worker processes; a drop-in for `concurrent.futures.ProcessPoolExecutor`.

    Parameters
    ----------
    max_workers
        Processes at most; by default as many as cores are usable.
    mp_context
        A context of `multiprocessing`, by default the one of the default start method (or of `spawn`
        if `max_tasks_per_child` is given, as in the standard library). Under `fork`, workers see the
        program as it is when the first call is submitted. Under another start method they are forked
        from a fresh process, which needs no ``if __name__ == "__main__"`` and inherits no lock.
    initializer, initargs
        Called in each worker before its first call. If it raises, the pool is broken.
    max_tasks_per_child
        Calls after which a worker is replaced.
    name
        Shown for the pool.

    Examples
    --------
    >>> with ProcessPoolExecutor(2) as executor:
    ...     executor.submit(pow, 2, 10).result()
    1024
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: Any = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
        name: str | None = None,
        _engine: Engine | None = None,
        _is_of_pool: bool = False,
    ) -> None:
        if max_tasks_per_child is not None:
            if not isinstance(max_tasks_per_child, int):
                raise TypeError("max_tasks_per_child must be an integer")
            if max_tasks_per_child <= 0:
                raise ValueError("max_tasks_per_child must be >= 1")
            max_tasks_per_child = check_count("max_tasks_per_child", int(max_tasks_per_child))
        workers = max_workers if max_workers is not None else usable_cores()
        if not hasattr(workers, "__index__"):
            raise TypeError(f"max_workers must be an integer, not {workers!r}")
        if workers > 0:
            workers = check_count("max_workers", int(workers))
        super().__init__(workers, initializer, _engine, is_of_pool=_is_of_pool)
        if mp_context is None:
            import multiprocessing

            mp_context = multiprocessing.get_context("spawn" if max_tasks_per_child and not _is_of_pool else None)
        self._mp_context = mp_context
        self._pool = None
        self._options: dict[str, Any] = {
            "name": name or "ProcessPoolExecutor",
            "initializer": initializer,
            "initargs": tuple(initargs),
            "max_tasks_per_worker": max_tasks_per_child,
            "context": mp_context,
            "for_pool": _is_of_pool,
        }
        if is_worker():
            self._nested = set()
        self._shutdown = False
        if _is_of_pool or mp_context.get_start_method() != "fork":
            self._open()

    def _open_pool(self) -> _native.Pool:
        return self._engine._open_processes(self._max_workers, **self._options)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[T]:
        """Call `fn` with the items of `iterables`; return an iterator over the results, in order.

        Raises
        ------
        ValueError
            If `chunksize` is not positive.
        TimeoutError
            From the iterator, if a result is not there `timeout` seconds after this call.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if chunksize == 1:
            return super().map(fn, *iterables, timeout=timeout)
        from lineshaft._chunks import over_star_chunk

        chunks = super().map(over_star_chunk(fn), _chunks(chunksize, *iterables), timeout=timeout)
        return _flatten(chunks)

    @property
    def _processes(self) -> dict[int, WorkerProcess]:
        from lineshaft._members import processes_of

        return {} if self._pool is None or self._engine.closed else processes_of(self._pool)

    @property
    def _pending_work_items(self) -> PendingCalls:
        from lineshaft._members import PendingCalls

        return PendingCalls(self)

    def _interrupt_calls(self) -> None:
        if self._pool is not None:
            self._engine._interrupt_calls(self._pool)

    def _broken_error(self) -> Exception:
        from lineshaft._failures import pool_broken

        return pool_broken("their initializer raised")

    def terminate_workers(self) -> None:
        """Cancel every call, running ones too, and end the workers."""
        with self._shutdown_lock:
            self._shutdown = True
        if self._pool is not None and not self._engine.closed:
            self._pool.cancel_all(True)
            self._pool.close()
            self._pool.hurry()

    kill_workers = terminate_workers


def _after_fork_in_child() -> None:
    for executor in list(open_executors):
        executor._forget_parent()


# Behind the engines' own, which they register when their module is imported.
os.register_at_fork(after_in_child=_after_fork_in_child)


def usable_cores() -> int:
    from lineshaft._machine import cores

    return cores().usable


def _chunks(size: int, *iterables: Iterable[Any]) -> Iterator[list[tuple[Any, ...]]]:
    from itertools import islice

    items = zip(*iterables)  # noqa: B905 - as `map` does, the shortest ends it
    while chunk := list(islice(items, size)):
        yield chunk


def _flatten(chunks: Iterator[list[T]]) -> Iterator[T]:
    for chunk in chunks:
        chunk.reverse()
        while chunk:
            yield chunk.pop()


def __getattr__(name: str) -> object:
    # Its module imports what only thread pools need.
    if name != "ThreadPoolExecutor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lineshaft._thread_executor import ThreadPoolExecutor

    globals()[name] = ThreadPoolExecutor
    return ThreadPoolExecutor
