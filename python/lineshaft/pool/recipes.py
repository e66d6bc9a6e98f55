"""What recipes that reach into `multiprocessing.pool` find in a pool: `_cache` and `_taskqueue`.

Such a recipe makes a result of the standard library's classes, which notes itself in `pool._cache`, and
puts ``(tasks, set_length)`` into `pool._taskqueue`. A task is ``(job, index, function, arguments,
keywords)``; its outcome goes to ``pool._cache[job]._set(index, (succeeded, value))``, and the number of
tasks to `set_length`, unless that is None.

The tasks of each `put` are pulled by a thread of its own, which waits while `WINDOW_ITEMS_MAX` of them are
unfinished: the input may be endless, or wait for results.
"""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from lineshaft.pool.feed import WINDOW_ITEMS_MAX
from lineshaft.pool.results import TERMINATED, failed_future, outcome_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from concurrent.futures import Future

    from lineshaft.pool import Pool

    Task: TypeAlias = tuple[int, int, Callable[..., Any], Iterable[Any], Mapping[str, Any]]
    SetLength: TypeAlias = Callable[[int], object] | None


class Cache(dict[int, Any]):
    """Results of recipes by their number, until they are complete.

    Programs wait until it is empty, so its length counts what the pool's own methods have begun as well.
    """

    def __init__(self, count_others: Callable[[], int]) -> None:
        super().__init__()
        self._count_others = count_others
        # In the standard library one thread completes results. Here those do that run the calls, or a
        # signal handler that cancels them.
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return max(super().__len__(), self._count_others())

    def complete(self, job: int, index: int, value: Any, failure: BaseException | None) -> None:
        """Pass on the outcome of a task, if anybody still wants it."""
        with self._lock:
            result = self.get(job)
            if result is not None:
                result._set(index, (True, value) if failure is None else (False, failure))


class TaskQueue:
    """Where recipes put their tasks."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def put(self, tasks_and_length: tuple[Iterable[Task], SetLength] | None) -> None:
        """Have tasks submitted; None is what the standard library ends its queue by."""
        if tasks_and_length is not None:
            tasks, set_length = tasks_and_length
            pool = self._pool
            pool._add_feed(TaskFeed(pool._executor.submit, pool._cache, tasks, set_length, pool._feeds.discard))


class TaskFeed:
    """The tasks of one `put` being submitted.

    Parameters
    ----------
    submit
        Turns a function and its arguments into a future.
    cache
        Where results are found.
    tasks, set_length
        What was put.
    on_end
        Called once, with this feed, when no task will follow.
    """

    def __init__(
        self,
        submit: Callable[..., Future[Any]],
        cache: Cache,
        tasks: Iterable[Task],
        set_length: SetLength,
        on_end: Callable[[TaskFeed], None],
    ) -> None:
        self._submit = submit
        self._cache = cache
        self._tasks = tasks
        self._set_length = set_length
        self._on_end = on_end
        self._room = threading.Semaphore(WINDOW_ITEMS_MAX)
        self._lock = threading.RLock()
        self._last: tuple[int, int] | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._feed_all, name="lineshaft-task-feed", daemon=True)
        self._thread.start()

    @property
    def exhausted(self) -> bool:
        """Whether no task will follow those submitted."""
        return self._ended

    def run_to_end(self) -> None:
        """Wait until all tasks are submitted."""
        self._thread.join()

    def abort(self) -> None:
        """Submit no more; whoever waits for what is missing is told so."""
        self._end(CancelledError(TERMINATED))
        self._room.release()

    def _feed_all(self) -> None:
        try:
            for job, index, function, arguments, keywords in self._tasks:
                self._room.acquire()
                with self._lock:
                    if self._ended:
                        return
                    self._last = job, index
                try:
                    future = self._submit(function, *arguments, **keywords)
                except Exception as error:
                    future = failed_future(error)
                future.add_done_callback(partial(self._complete, job, index))
        finally:
            # Also when the tasks raise, which is shown as whatever a thread raises.
            self._end(None)

    def _complete(self, job: int, index: int, future: Future[Any]) -> None:
        self._room.release()
        self._cache.complete(job, index, *outcome_of(future, None))

    def _end(self, failure: BaseException | None) -> None:
        with self._lock:
            if self._ended:
                return
            self._ended = True
        length = 0 if self._last is None else self._last[1] + 1
        if self._set_length is not None:
            if failure is not None and self._last is not None:
                self._cache.complete(self._last[0], length, None, failure)
                length += 1
            self._set_length(length)
        self._on_end(self)
