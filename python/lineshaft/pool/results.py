"""What the asynchronous methods of a pool return: one future, or one per chunk.

A result owns no thread and no lock of its own. Without callbacks it asks its futures directly, so
a thread in `get` waits exactly where a thread in `Future.result` waits. With callbacks it is ready
once the callback has returned, as in `multiprocessing.pool`: the futures announce completion, the
pool's one callback thread (`callbacks.py`) runs the callback, then the result turns ready.

A result keeps its pool alive until it has been waited for, so that
``Pool(2).map_async(f, xs).get()`` works although nobody else holds the pool.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.pool as stdlib
import sys
import threading
import time
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lineshaft.pool.callbacks import CallbackThread

T = TypeVar("T")

TERMINATED = "the pool was terminated before this task finished"


def failure_of(future: Future[Any]) -> BaseException | None:
    """Return what a finished future raises, or None; a cancelled one was cut off by `terminate`."""
    if future.cancelled():
        return CancelledError(TERMINATED)
    return future.exception()


def wait_for(future: Future[Any], timeout_s: float | None) -> bool:
    """Wait until `future` is done, whatever its outcome; False if the time ran out first."""
    try:
        future.exception(timeout_s)
    except CancelledError:
        return True
    except TimeoutError:
        return future.done()
    return True


class AsyncResult(stdlib.ApplyResult[T]):
    """The outcome of one `Pool.apply_async` call.

    Examples
    --------
    >>> future = Future()
    >>> result = AsyncResult(None, future)
    >>> result.ready()
    False
    >>> result.get(timeout=0.01)
    Traceback (most recent call last):
    multiprocessing.context.TimeoutError
    >>> future.set_result(42)
    >>> result.get(), result.successful()
    (42, True)
    """

    _delivered: threading.Event | None = None
    _callback: Callable[[T], object] | None = None
    _error_callback: Callable[[BaseException], object] | None = None

    def __init__(self, pool: object, future: Future[T]) -> None:
        self._pool = pool
        self._future = future

    def ready(self) -> bool:
        """Return whether the call has finished, its callback included."""
        if self._delivered is not None:
            return self._delivered.is_set()
        return self._settled()

    def successful(self) -> bool:
        """Return whether the call finished without raising.

        Raises
        ------
        ValueError
            If the result is not ready.
        """
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._failure() is None

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the result is ready, at most `timeout` seconds."""
        self._wait(timeout)

    def get(self, timeout: float | None = None) -> T:
        """Return the value, or raise what the call raised.

        Raises
        ------
        multiprocessing.TimeoutError
            If the result is not ready within `timeout` seconds.
        concurrent.futures.CancelledError
            If the pool was terminated before the call finished.
        """
        if not self._wait(timeout):
            raise multiprocessing.TimeoutError
        failure = self._failure()
        if failure is None:
            return self._value()
        try:
            raise failure
        finally:
            # The traceback refers to this frame: dropping the names breaks the cycle.
            del failure, self

    def _wait(self, timeout_s: float | None) -> bool:
        delivered = self._delivered
        ready = self._settle(timeout_s) if delivered is None else delivered.wait(timeout_s)
        if ready:
            self._pool = None
        return ready

    # What the subclass for many futures replaces.

    def _settled(self) -> bool:
        return self._future.done()

    def _settle(self, timeout_s: float | None) -> bool:
        return wait_for(self._future, timeout_s)

    def _failure(self) -> BaseException | None:
        return failure_of(self._future)

    def _value(self) -> T:
        return self._future.result()

    def _when_settled(self, action: Callable[[], None]) -> None:
        self._future.add_done_callback(lambda _: action())

    # Callbacks.

    def deliver_to(
        self,
        thread: CallbackThread,
        callback: Callable[[T], object] | None,
        error_callback: Callable[[BaseException], object] | None,
    ) -> None:
        """Have `thread` call the one that fits the outcome, and only then be ready."""
        self._delivered = threading.Event()
        self._callback = callback
        self._error_callback = error_callback
        thread.expect(self)
        self._when_settled(lambda: thread.post(self))

    def deliver(self) -> None:
        """Run the callback (on the callback thread); a callback that raises is reported only."""
        callback, error_callback = self._callback, self._error_callback
        self._callback = self._error_callback = None
        try:
            failure = self._failure()
            if failure is None:
                if callback is not None:
                    callback(self._value())
            elif error_callback is not None and not isinstance(failure, CancelledError):
                error_callback(failure)
        except BaseException:
            report_callback_error()
        finally:
            assert self._delivered is not None, "deliver() without deliver_to()"
            self._pool = None
            self._delivered.set()


def report_callback_error() -> None:
    """Print the current exception as one that escaped the callback thread, which lives on."""
    args = threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread()))
    try:
        threading.excepthook(args)
    except Exception:
        sys.excepthook(*sys.exc_info())


class MapResult(AsyncResult[list[T]], stdlib.MapResult[T]):
    """The outcome of one `Pool.map_async` call: ready when its last chunk is.

    Every chunk runs to its end. If several fail, the exception of the first in input order is
    raised, whichever failed first in time, so that a failing program fails the same way twice.
    """

    def __init__(self, pool: object, futures: Sequence[Future[list[T]]]) -> None:
        self._pool = pool
        self._futures = futures
        self._done_prefix = 0
        self._values: list[T] | None = None

    @property
    def _number_left(self) -> int:
        """Chunks not finished yet. Not public in the standard library, but progress loops read it."""
        return sum(not future.done() for future in self._futures[self._done_prefix :])

    def _settled(self) -> bool:
        # Polling `ready()` in a loop stays linear over all: finished chunks are not asked twice.
        futures = self._futures
        index = self._done_prefix
        while index < len(futures) and futures[index].done():
            index += 1
        self._done_prefix = index
        return index == len(futures)

    def _settle(self, timeout_s: float | None) -> bool:
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        for future in self._futures[self._done_prefix :]:
            left_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
            if not wait_for(future, left_s):
                return False
        self._done_prefix = len(self._futures)
        return True

    def _failure(self) -> BaseException | None:
        for future in self._futures:
            failure = failure_of(future)
            if failure is not None:
                return failure
        return None

    def _value(self) -> list[T]:
        if self._values is None:
            values: list[T] = []
            for future in self._futures:
                values.extend(future.result())
            self._values = values
        return self._values

    def _when_settled(self, action: Callable[[], None]) -> None:
        if not self._futures:
            action()
            return
        lock = threading.Lock()
        left = len(self._futures)

        def one_done(_: Future[list[T]]) -> None:
            nonlocal left
            with lock:
                left -= 1
                last = left == 0
            if last:
                action()

        for future in self._futures:
            future.add_done_callback(one_done)


def failed_future(error: BaseException) -> Future[Any]:
    """Return a future that already failed, for what went wrong before a task existed."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    future.set_exception(error)
    return future
