"""What the asynchronous methods of a pool return: one future, or one per chunk.

A result owns no thread. Without callbacks it asks its futures directly, so
a thread in `get` waits exactly where a thread in `Future.result` waits. With callbacks it is ready
once the callback has returned, as in `multiprocessing.pool`: the futures announce completion, the
pool's one callback thread (`callbacks.py`) runs the callback, then the result turns ready.

A result keeps its pool alive until it has been waited for, so that
``Pool(2).map_async(f, xs).get()`` works although nobody else holds the pool.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.pool as stdlib
import sys
import threading
import time
from concurrent.futures import CancelledError, Future, wait
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from lineshaft._native import FutureBase, wait_any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lineshaft.pool.callbacks import CallbackThread

T = TypeVar("T")
Outcome: TypeAlias = tuple[T | None, BaseException | None]

TERMINATED = "the pool was terminated before this task finished"


class NotDoneError(Exception):
    """The time to wait ran out before the future was done."""


def outcome_of(future: Future[T], timeout_s: float | None) -> Outcome[T]:
    """Wait for `future`; return its value and None, or None and what it raised.

    Without a time limit that is one call of a method of the future, if all is well: a pool does it for
    each chunk.

    Raises
    ------
    NotDoneError
        If the future is not done within `timeout_s` seconds.
    """
    if timeout_s is not None and not _is_done_within(future, timeout_s):
        raise NotDoneError
    try:
        return future.result(), None
    except BaseException as error:
        if future.done():
            if isinstance(error, CancelledError) and future.cancelled():
                return None, CancelledError(TERMINATED)
            if future.exception() is error:
                return None, error
        # A signal handler of the program raised it while this thread waited, whatever it is.
        raise


def _is_done_within(future: Any, timeout_s: float) -> bool:
    """Wait for `future` without a TimeoutError, which might be a signal handler's."""
    if future.done():
        return True
    if isinstance(future, FutureBase):
        return wait_any([future], timeout_s)
    return bool(wait([future], timeout_s).done)


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
        return self._outcome(None)[1] is None

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the result is ready, at most `timeout` seconds."""
        if self._delivered is not None:
            self._delivered.wait(timeout)
            return
        with contextlib.suppress(NotDoneError):
            self._outcome(timeout)

    def get(self, timeout: float | None = None) -> T:
        """Return the value, or raise what the call raised.

        Raises
        ------
        multiprocessing.TimeoutError
            If the result is not ready within `timeout` seconds.
        concurrent.futures.CancelledError
            If the pool was terminated before the call finished.
        """
        if self._delivered is not None and not self._delivered.wait(timeout):
            raise multiprocessing.TimeoutError
        try:
            value, failure = self._outcome(timeout)
        except NotDoneError:
            raise multiprocessing.TimeoutError from None
        self._pool = None
        if failure is None:
            return cast("T", value)
        try:
            raise failure
        finally:
            # The traceback refers to this frame: dropping the names breaks the cycle.
            del failure, self

    # Private, but programs read them. As in the standard library, they are not there before the result is.

    @property
    def _success(self) -> bool:
        if not self.ready():
            raise AttributeError("_success")
        return self._outcome(None)[1] is None

    @property
    def _value(self) -> T | BaseException:
        if not self.ready():
            raise AttributeError("_value")
        value, failure = self._outcome(None)
        return cast("T", value) if failure is None else failure

    # What the subclass for many futures replaces.

    def _settled(self) -> bool:
        return self._future.done()

    def _outcome(self, timeout_s: float | None) -> Outcome[T]:
        return outcome_of(self._future, timeout_s)

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
            value, failure = self._outcome(None)
            if failure is None:
                if callback is not None:
                    callback(cast("T", value))
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

    def __init__(self, pool: object, futures: Sequence[Future[list[T]]], chunksize: int = 1) -> None:
        self._pool = pool
        # Not read here; programs reckon by it what `_number_left` stands for.
        self._chunksize = chunksize
        self._futures: Sequence[Future[Any]] = futures
        # What is known of the first `_known` chunks; several threads may wait for one result, or a signal
        # handler in the middle of it.
        self._lock = threading.RLock()
        self._known = 0
        self._values: list[T] = []
        self._first_failure: BaseException | None = None

    @property
    def _number_left(self) -> int:
        """Chunks not finished yet. Not public in the standard library, but progress loops read it."""
        return sum(not future.done() for future in self._futures[self._known :])

    def _settled(self) -> bool:
        # Polling `ready()` in a loop stays linear over all: a finished chunk is asked once.
        while self._known < len(self._futures):
            if not self._futures[self._known].done():
                return False
            self._learn(None)
        return True

    def _outcome(self, timeout_s: float | None) -> Outcome[list[T]]:
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while self._known < len(self._futures):
            self._learn(None if deadline_s is None else max(0.0, deadline_s - time.monotonic()))
        return (self._values, None) if self._first_failure is None else (None, self._first_failure)

    def _learn(self, timeout_s: float | None) -> None:
        known = self._known
        values, failure = outcome_of(self._futures[known], timeout_s)
        with self._lock:
            if known != self._known:
                # Another thread that waits for this result was first.
                return
            self._known += 1
            if values is not None:
                self._values.extend(values)
            elif self._first_failure is None:
                self._first_failure = failure

    def _when_settled(self, action: Callable[[], None]) -> None:
        if not self._futures:
            action()
            return
        lock = threading.RLock()  # a signal handler may cancel what is left
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
