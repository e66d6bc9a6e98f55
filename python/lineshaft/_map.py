"""`map`: one task per item, fed lazily, results in order.

Each item has its own outcome and its own retries. For worker processes items travel in batches, as
many as make about `BATCH_S` of work, because a message costs more than a small task. A batch is no
unit of failure: an item that raises fails alone, and when a worker dies under a batch, only the
item it was running has failed; what the worker had not reported, at most one batch, runs again.

Items whose retries wait, or which have a time limit, travel one by one: the engine then keeps time.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

from lineshaft import _native
from lineshaft._serial.parent import load_exception
from lineshaft._task import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, TypeVar

    from lineshaft._engine import Engine
    from lineshaft.futures import Future

    T = TypeVar("T")
    Item = tuple[Any, ...]

#: Work that a batch should hold, in seconds.
BATCH_S = 0.004
#: Items of a batch at most.
BATCH_MAX = 4096
#: Batches or items handed over ahead of what is consumed, per worker or thread.
AHEAD = 3


def map(
    function: Callable[..., T],
    /,
    *iterables: Iterable[Any],
    engine: Engine | None = None,
    threads: bool | int | None = None,
    processes: bool | None = None,
    retries: int = 0,
    backoff: float = 0.0,
    timeout: float | None = None,
    priority: int = 0,
    progress: bool | None = None,
) -> Iterator[T]:
    """Call `function` with the items of `iterables` on the engine; return the results in order.

    The iterables are read as the results are consumed, a few batches ahead: they may be infinite.

    Parameters
    ----------
    function
        Called once per item, in worker processes by default. A coroutine function runs on an event
        loop of this process. One with a state, as a method has its object, is copied for each batch of items.
    engine
        The engine; the default one if there is none.
    threads
        Run on threads of this process instead: True for as many as there are workers, or a number,
        far above the number of cores if the function waits for I/O.
    processes, retries, backoff, timeout, priority
        As for `lineshaft.task`; they apply to each item.
    progress
        Show a bar on standard error; by default if that is a terminal or notebook and it takes more
        than a second. See also `lineshaft.progress`.

    Raises
    ------
    Exception
        From the iterator, in its place, what `function` raised; the items behind are then cancelled, as they are
        when the iterator is closed: those that have not begun, and coroutines even if they have.
        What the iterables raised comes behind the results of all items before.

    Examples
    --------
    >>> list(map(pow, [2, 3, 4], [5, 2, 3]))
    [32, 9, 64]
    """
    if not iterables:
        raise TypeError("map needs at least one iterable")
    task = Task(
        function,
        engine=engine,
        threads=threads,
        processes=processes,
        retries=retries,
        backoff=backoff,
        timeout=timeout,
        priority=priority,
    )
    return map_task(task, iterables, progress=progress)


def map_task(task: Task, iterables: tuple[Iterable[Any], ...], *, progress: bool | None) -> Iterator[Any]:
    """Run `task` for each item; see `map`."""
    errors: list[Exception] = []
    items = _read(zip(*iterables), errors)  # noqa: B905 - as `map` does, the shortest ends it
    total = None
    try:
        total = min(len(iterable) for iterable in iterables)  # type: ignore[arg-type]
    except TypeError:
        pass
    one_by_one = task._runs_here or task.timeout is not None or (task.retries and task.backoff)
    run = (_each if one_by_one else _batched)(task, items, errors)
    # The first items are handed over now, not when the first result is asked for.
    first = next(run, None)
    assert first is None, "a run begins with nothing"
    return _consume(run, task, total, progress)


def _consume(run: Iterator[Any], task: Task, total: int | None, progress: bool | None) -> Iterator[Any]:
    from lineshaft._bars import is_wanted

    if progress is None:
        progress = is_wanted()
    if progress is False:
        yield from run
        return
    from lineshaft._progress import Progress

    with Progress(total, getattr(task.function, "__name__", "map"), enabled=progress) as bar:
        for result in run:
            bar.update()
            yield result


def _read(items: Iterator[Item], errors: list[Exception]) -> Iterator[Item]:
    """Yield the items. What reading them raises is noted, because its place is behind their results."""
    try:
        yield from items
    except Exception as error:
        errors.append(error)


def _each(task: Task, items: Iterator[Item], errors: list[Exception]) -> Iterator[Any]:
    """One message per item: on threads, on event loops, and where the engine keeps time for each."""
    pool = task._pool()
    ahead = AHEAD * task._slots()
    pending = deque(task._send(pool, item, None) for item in islice(items, ahead))
    try:
        yield None
        while pending:
            result = pending[0].result()
            pending.popleft()
            for item in islice(items, 1):
                pending.append(task._send(pool, item, None))
            yield result
        if errors:
            raise errors.pop()
    finally:
        for future in pending:
            future.cancel()


def _batched(task: Task, items: Iterator[Item], errors: list[Exception]) -> Iterator[Any]:
    pool = task._pool()
    ahead = AHEAD * task._slots()
    size = 1
    options = _native.TaskOptions(priority=task.priority) if task.priority else None
    pending: deque[tuple[Future[Any], list[Item]]] = deque()

    def feed() -> None:
        while len(pending) < ahead and (batch := list(islice(items, size))):
            future = pool.submit_each(task._body, batch, options, run_again=bool(task.retries))
            pending.append((future, batch))  # type: ignore[arg-type]

    try:
        feed()
        yield None
        while pending:
            future, batch = pending[0]
            outcomes = _outcomes(pool, task, future, batch)
            pending.popleft()
            ran_s = outcomes.ran_s
            if ran_s is not None:
                wanted = int(BATCH_S * len(batch) / max(ran_s, 1e-9))
                # Grows step by step: the first items say little about the next thousand.
                size = max(1, min(wanted, 4 * size, BATCH_MAX))
            feed()
            yield from outcomes
        if errors:
            raise errors.pop()
    finally:
        for future, _ in pending:
            future.cancel()


class _outcomes:  # noqa: N801 - an iterator with one attribute
    """The outcomes of a batch, in order; raises where an item has failed for good."""

    def __init__(self, pool: _native.Pool, task: Task, future: Future[Any], batch: list[Item]) -> None:
        import pickle

        from lineshaft.errors import SerializationError, WorkerDied

        self._pool, self._task, self._batch = pool, task, batch
        self._failed: dict[int, bytes | BaseException] = {}
        self._again: dict[int, Future[Any]] = {}
        self.ran_s: float | None = None
        try:
            data, failed, ran_s = future.result()
        except WorkerDied as error:
            self._values: list[Any] = [None] * len(batch)
            for index in range(len(batch)):
                if index == error.item:
                    self._fail(index, error)
                else:
                    self._again[index] = self._submit(index, task._options)
        except SerializationError as error:
            if error.was_sent:
                raise
            # One by one: only those items that cannot be sent have failed, and the error says why.
            self._values = [None] * len(batch)
            self._again = {index: self._submit(index, task._options) for index in range(len(batch))}
        else:
            self.ran_s = ran_s
            self._values = data if isinstance(data, list) else pickle.loads(data)
            for index, error_data in failed.items():
                self._fail(index, error_data)

    def _submit(self, index: int, options: _native.TaskOptions | None) -> Future[Any]:
        return self._pool.submit(self._task._body, self._batch[index], None, options)  # type: ignore[return-value]

    def _fail(self, index: int, error: bytes | BaseException) -> None:
        if self._task.retries:
            self._again[index] = self._submit(index, self._task._options_after_failure())
        else:
            self._failed[index] = error

    def __iter__(self) -> Iterator[Any]:
        if not self._failed and not self._again:
            return iter(self._values)
        return self._each()

    def _each(self) -> Iterator[Any]:
        try:
            for index, value in enumerate(self._values):
                if index in self._again:
                    yield self._again.pop(index).result()
                elif index in self._failed:
                    error = self._failed[index]
                    raise load_exception(error) if isinstance(error, bytes) else error
                else:
                    yield value
        finally:
            for future in self._again.values():
                future.cancel()
