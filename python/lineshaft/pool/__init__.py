"""`multiprocessing.Pool` and `ThreadPool`, served by a Lineshaft executor.

The contract is the one of `multiprocessing.pool` in CPython 3.11. What differs is meant to be
noticed with relief:

* a pool whose worker dies raises for the task it ran instead of waiting for ever;
* results still pending when a pool is terminated raise `concurrent.futures.CancelledError` instead
  of never becoming ready;
* `imap` reads its input a bounded window ahead (`feed.py`), and `join` submits what is left;
* a callback that raises is reported and does not stop later callbacks;
* when several chunks of a `map` fail, the first in input order is raised.

Layout: `results.py` (AsyncResult, MapResult), `callbacks.py` (the one thread for user callbacks),
`chunks.py`, `feed.py` (input of imap), `imap.py` (iterators), `recipes.py` (for programs that reach inside).
A pool starts a thread only for callbacks, for an `imap` over a generator and for a recipe.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.pool as stdlib
import os
import warnings
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, TypeVar, cast

from lineshaft._machine import cores
from lineshaft._signals import is_raised_by_handler
from lineshaft.pool.at_exit import terminate_at_exit
from lineshaft.pool.callbacks import CallbackThread
from lineshaft.pool.chunks import cut, over_chunk, over_star_chunk
from lineshaft.pool.feed import Feed
from lineshaft.pool.imap import ChunkedIMapIterator, IMapIterator, IMapUnorderedIterator
from lineshaft.pool.results import AsyncResult, MapResult, failed_future

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sized
    from concurrent.futures import Executor, Future
    from types import TracebackType

    from lineshaft.pool.recipes import Cache, TaskFeed, TaskQueue

__all__ = ["AsyncResult", "IMapIterator", "IMapUnorderedIterator", "MapResult", "Pool", "ThreadPool"]

S = TypeVar("S")
T = TypeVar("T")

# The states, named as the standard library names them.
INIT, RUN, CLOSE, TERMINATE = "INIT", "RUN", "CLOSE", "TERMINATE"

CHUNKS_PER_WORKER: Final = 4


class Pool(stdlib.Pool):
    """Runs calls in worker processes; a drop-in for `multiprocessing.Pool`.

    Parameters
    ----------
    processes
        Number of worker processes; all usable cores by default.
    initializer, initargs
        Called as ``initializer(*initargs)`` in each worker before its first task.
    maxtasksperchild
        Tasks after which a worker is replaced; never by default.
    context
        A context of `multiprocessing`, by default the one of the default start method. Under `fork`,
        workers see the program as it is now; under another start method they start afresh.

    Raises
    ------
    ValueError
        If `processes` is less than 1, or `maxtasksperchild` is not a positive int.
    TypeError
        If `initializer` is not callable.

    Examples
    --------
    >>> with Pool(2) as pool:
    ...     pool.map(abs, [-1, -2]), pool.apply_async(pow, (2, 3)).get(timeout=60)
    ([1, 2], 8)
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: Any | None = None,
    ) -> None:
        # Read by __del__, also when this constructor raises.
        self._state = INIT
        if processes is None:
            processes = cores().usable
        if processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if not (maxtasksperchild is None or _is_positive_int(maxtasksperchild)):
            raise ValueError("maxtasksperchild must be a positive int or None")
        if not (initializer is None or callable(initializer)):
            raise TypeError("initializer must be a callable")
        self._processes = processes
        self._ctx = context or multiprocessing.get_context()
        self._owner_pid = os.getpid()
        self._executor: Executor = self._make_executor(
            processes, initializer, tuple(initargs), maxtasksperchild, self._ctx
        )
        self._callbacks = CallbackThread(f"lineshaft-{type(self).__name__}-callbacks")
        # Inputs of imap calls, and of recipes, that are not used up.
        self._feeds: set[Feed | TaskFeed] = set()
        self._state = RUN
        terminate_at_exit(self)

    @classmethod
    def _make_executor(
        cls,
        processes: int,
        initializer: Callable[..., object] | None,
        initargs: tuple[Any, ...],
        maxtasksperchild: int | None,
        context: Any,
    ) -> Executor:
        from lineshaft.futures import ProcessPoolExecutor

        return ProcessPoolExecutor(
            processes,
            context,
            initializer=initializer,
            initargs=initargs,
            max_tasks_per_child=maxtasksperchild,
            name="Pool",
            _is_of_pool=True,
        )

    _over_chunk = staticmethod(over_chunk)
    _over_star_chunk = staticmethod(over_star_chunk)

    # One call.

    def apply(
        self,
        func: Callable[..., T],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
    ) -> T:
        """Return ``func(*args, **kwds)``, run in a worker."""
        return self.apply_async(func, args, kwds).get()

    def apply_async(
        self,
        func: Callable[..., T],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
        callback: Callable[[T], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[T]:
        """Start ``func(*args, **kwds)`` in a worker.

        `callback` is called with the value, or `error_callback` with the exception, on the pool's
        callback thread, before the result turns ready.
        """
        self._check_running()
        result: AsyncResult[T] = AsyncResult(self, self._submit(func, *args, **kwds))
        return self._with_callbacks(result, callback, error_callback)

    # All items at once.

    def map(self, func: Callable[[S], T], iterable: Iterable[S], chunksize: int | None = None) -> list[T]:
        """Return ``[func(x) for x in iterable]``, run in workers by chunks of `chunksize` items."""
        return self.map_async(func, iterable, chunksize).get()

    def map_async(
        self,
        func: Callable[[S], T],
        iterable: Iterable[S],
        chunksize: int | None = None,
        callback: Callable[[list[T]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> MapResult[T]:
        """Start `map`; `callback` receives the whole list."""
        run_chunk = self._over_chunk(func)
        return self._start_map(run_chunk, iterable, chunksize, callback, error_callback)

    def starmap(
        self,
        func: Callable[..., T],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
    ) -> list[T]:
        """Return ``[func(*args) for args in iterable]``, run in workers by chunks."""
        return self.starmap_async(func, iterable, chunksize).get()

    def starmap_async(
        self,
        func: Callable[..., T],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[list[T]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> MapResult[T]:
        """Start `starmap`; `callback` receives the whole list."""
        run_chunk = self._over_star_chunk(func)
        return self._start_map(run_chunk, iterable, chunksize, callback, error_callback)

    # Items as they come.

    def imap(self, func: Callable[[S], T], iterable: Iterable[S], chunksize: int | None = 1) -> IMapIterator[T]:
        """Return an iterator over ``func(x) for x in iterable``; the input may be endless."""
        return self._start_imap(IMapIterator, func, iterable, chunksize)

    def imap_unordered(
        self, func: Callable[[S], T], iterable: Iterable[S], chunksize: int | None = 1
    ) -> IMapIterator[T]:
        """Return an iterator like `imap`'s, in order of completion."""
        return self._start_imap(IMapUnorderedIterator, func, iterable, chunksize)

    # Life cycle.

    def close(self) -> None:
        """Accept no more calls; those accepted run to their end."""
        if self._state == RUN:
            self._state = CLOSE

    def terminate(self) -> None:
        """Stop at once: running calls are killed (those in threads finish), others cancelled."""
        self._state = TERMINATE
        for feed in list(self._feeds):
            feed.abort()
        kill = getattr(self._executor, "terminate_workers", None)
        if kill is not None:
            kill()
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._callbacks.stop()

    def join(self) -> None:
        """Wait until the workers have ended; the pool has to be closed or terminated before.

        Raises
        ------
        ValueError
            If the pool is still running.
        """
        if self._state == RUN:
            raise ValueError("Pool is still running")
        if self._state not in (CLOSE, TERMINATE):
            raise ValueError("In unknown state")
        for feed in list(self._feeds):
            feed.run_to_end()
        self._executor.shutdown(wait=True)
        if self._state == CLOSE:
            self._callbacks.drain()
            self._callbacks.stop()
        self._callbacks.join()

    def __enter__(self) -> Self:
        self._check_running()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        try:
            # In the standard library Ctrl-C reaches the workers before they are terminated.
            if exc_type is not None and issubclass(exc_type, KeyboardInterrupt):
                interrupt = getattr(self._executor, "_interrupt_calls", None)
                if interrupt is not None:
                    interrupt()
        finally:
            self.terminate()

    # The defaults keep the names reachable while the interpreter shuts down.
    def __del__(self, _warn: Any = warnings.warn, _getpid: Any = os.getpid) -> None:
        # A constructor that raised, or a child forked by the program, owns no workers.
        if self._state == INIT or self._owner_pid != _getpid():
            return
        if self._state == RUN:
            _warn(f"unclosed running multiprocessing pool {self!r}", ResourceWarning, source=self)
            for feed in list(self._feeds):
                feed.abort()
            self._executor.shutdown(wait=False, cancel_futures=True)
        elif self._state == CLOSE:
            self._executor.shutdown(wait=False)
        self._callbacks.stop()

    def __reduce__(self) -> NoReturn:
        raise NotImplementedError("pool objects cannot be passed between processes or pickled")

    def __repr__(self) -> str:
        cls = type(self)
        size = getattr(self, "_processes", 0)
        return f"<{cls.__module__}.{cls.__qualname__} state={self._state} pool_size={size}>"

    @property
    def _pool(self) -> list[object]:
        # Private, but programs count workers by it, and read their ids.
        from lineshaft._members import WorkerProcess

        started: list[object] = list(getattr(self._executor, "_processes", {}).values())
        return started + [WorkerProcess(None) for _ in range(self._processes - len(started))]

    @cached_property
    def _cache(self) -> Cache:
        from lineshaft.pool.recipes import Cache

        return Cache(partial(_count_unfinished, self._executor, self._callbacks, self._feeds))

    @property
    def _taskqueue(self) -> TaskQueue:
        from lineshaft.pool.recipes import TaskQueue

        return TaskQueue(self)

    def _check_running(self) -> None:
        if self._state != RUN:
            raise ValueError("Pool not running")

    def _submit(self, func: Callable[..., T], /, *args: Any, **kwds: Any) -> Future[T]:
        # What cannot be submitted (an unpicklable argument, say) fails its result, not this call.
        try:
            return self._executor.submit(func, *args, **kwds)
        except Exception as error:
            if is_raised_by_handler(error):
                raise
            return failed_future(error)

    def _start_map(
        self,
        run_chunk: Callable[[tuple[Any, ...]], list[T]],
        iterable: Iterable[Any],
        chunksize: int | None,
        callback: Callable[[list[T]], object] | None,
        error_callback: Callable[[BaseException], object] | None,
    ) -> MapResult[T]:
        self._check_running()
        items: Any = iterable if hasattr(iterable, "__len__") else list(iterable)
        if chunksize is None:
            # A few chunks per worker even out their lengths; rounded up.
            chunksize = -(-len(items) // (self._processes * CHUNKS_PER_WORKER))
        futures: list[Future[list[T]]] = []
        try:
            for chunk in cut(items, max(1, chunksize)):
                futures.append(self._submit(run_chunk, chunk))  # noqa: PERF401 - kept when one raises
        except Exception as error:
            # A sized iterable that raises on the way: the calls before it run, its error is last.
            futures.append(failed_future(error))
        result: MapResult[T] = MapResult(self, futures, chunksize)
        if not futures:
            # As in the standard library, an empty input has no callback.
            return result
        return self._with_callbacks(result, callback, error_callback)

    def _start_imap(
        self,
        kind: type[IMapIterator[T]],
        func: Callable[[S], T],
        iterable: Iterable[S],
        chunksize: int | None,
    ) -> IMapIterator[T]:
        self._check_running()
        if chunksize is None or chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize!r}")
        ordered = kind is IMapIterator
        # Bound once per call, so that one item costs no Python frame of ours.
        submit: Callable[[Any], Future[Any]]
        if chunksize == 1:
            submit = partial(self._executor.submit, cast("Any", func))
            return kind(self, self._feed(submit, iterable, ordered=ordered))
        submit = partial(self._executor.submit, cast("Any", self._over_chunk(func)))
        feed = self._feed(submit, iterable, ordered=ordered, chunksize=chunksize)
        return ChunkedIMapIterator(self, feed)

    def _feed(
        self,
        submit: Callable[[Any], Future[Any]],
        iterable: Iterable[Any],
        *,
        ordered: bool,
        chunksize: int = 1,
    ) -> Feed:
        feed = Feed(
            submit,
            iterable,
            ordered=ordered,
            chunksize=chunksize,
            workers=self._processes,
            on_end=self._feeds.discard,
        )
        self._add_feed(feed)
        return feed

    def _add_feed(self, feed: Feed | TaskFeed) -> None:
        self._feeds.add(feed)
        if feed.exhausted:
            self._feeds.discard(feed)

    def _with_callbacks(
        self,
        result: R,
        callback: Callable[[Any], object] | None,
        error_callback: Callable[[BaseException], object] | None,
    ) -> R:
        if callback is not None or error_callback is not None:
            result.deliver_to(self._callbacks, callback, error_callback)
        return result


R = TypeVar("R", bound=AsyncResult[Any])


class ThreadPool(Pool, stdlib.ThreadPool):
    """Runs calls in threads; a drop-in for `multiprocessing.pool.ThreadPool`.

    Parameters
    ----------
    processes
        Number of threads; all usable cores by default.
    initializer, initargs
        Called as ``initializer(*initargs)`` on each thread before its first call.

    Raises
    ------
    ValueError
        If `processes` is less than 1.
    TypeError
        If `initializer` is not callable.

    Examples
    --------
    >>> with ThreadPool(2) as pool:
    ...     list(pool.imap(len, ["a", "bb"]))
    [1, 2]
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
    ) -> None:
        Pool.__init__(self, processes, initializer, initargs)

    @classmethod
    def _make_executor(
        cls,
        processes: int,
        initializer: Callable[..., object] | None,
        initargs: tuple[Any, ...],
        maxtasksperchild: int | None,
        context: Any,
    ) -> Executor:
        assert maxtasksperchild is None, "threads are not recycled"
        from lineshaft._threads import Threads

        return Threads(processes, initializer=initializer, initargs=initargs, _is_of_pool=True)


def _is_positive_int(value: object) -> bool:
    return isinstance(value, int) and value > 0


def _count_unfinished(executor: Any, callbacks: CallbackThread, feeds: Sized) -> int:
    """Return how many calls have not ended, callbacks included; a `map` is a call for each of its chunks."""
    return max(getattr(executor, "_unfinished", 0), callbacks.number_expected, len(feeds))
