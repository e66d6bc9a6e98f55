"""Futures as they end."""

from __future__ import annotations

import concurrent.futures
import queue
import time
from contextlib import suppress

from lineshaft import _native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, TypeVar

    from lineshaft.futures import Future

    T = TypeVar("T")

__all__ = ["as_completed"]

#: How often whoever waits looks for signals, in seconds. A lock of the interpreter sleeps through a signal that comes
#: in the moment between the last look for signals and the system call that sleeps.
SIGNAL_CHECK_S = 0.2


def as_completed(fs: Iterable[Future[T]], timeout: float | None = None) -> Iterator[Future[T]]:
    """Return an iterator over futures, each once and as soon as it is done; see `concurrent.futures.as_completed`.

    Futures of other executors may be among them.

    Raises
    ------
    TypeError
        If something among `fs` is no future.
    TimeoutError
        From the iterator, if not all are done `timeout` seconds after it was first asked.

    Examples
    --------
    >>> from lineshaft import submit
    >>> sorted(future.result() for future in as_completed([submit(pow, 2, n) for n in range(4)]))
    [1, 2, 4, 8]
    """
    futures = dict.fromkeys(fs)
    for future in futures:
        if not isinstance(future, concurrent.futures.Future):
            raise TypeError(f"as_completed takes futures, not {future!r}")
    return _each(futures, timeout)


def _each(pending: dict[Future[T], None], timeout: float | None) -> Iterator[Future[T]]:
    deadline_s = None if timeout is None else time.monotonic() + timeout
    total = len(pending)
    arrivals = _Arrivals()
    try:
        arrivals.expect(pending)
        while pending:
            try:
                # In a list, so that whoever is given the future alone decides how long it lives.
                ended = [arrivals.next(deadline_s)]
            except queue.Empty:
                raise TimeoutError(f"{len(pending)} (of {total}) futures unfinished") from None
            arrivals.forget(ended)
            del pending[ended[0]]
            yield ended.pop()
    finally:
        arrivals.forget(pending)


class _Arrivals:
    """What `concurrent.futures` calls a waiter: futures that end call a method of it, with their lock held.

    The locks are taken one at a time. Who is interrupted while it holds those of many futures may never give some
    of them back.
    """

    def __init__(self) -> None:
        self._ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        #: What a task waits for meanwhile: told by the futures, if a task is what waits.
        self.awaits = _native.Awaits()
        self.add_result = self.add_exception = self.add_cancelled = self._ended.put

    def expect(self, futures: Iterable[Future[Any]]) -> None:
        for future in futures:
            with future._condition:
                if future._state in ("FINISHED", "CANCELLED_AND_NOTIFIED"):
                    self._ended.put(future)
                else:
                    _waiters(future).append(self)

    def forget(self, futures: Iterable[Future[Any]]) -> None:
        for future in futures:
            with future._condition:
                if self in (waiters := _waiters(future)):
                    waiters.remove(self)

    def next(self, deadline_s: float | None) -> Future[Any]:
        """Return one that has ended; raise `queue.Empty` if there is none at the deadline."""
        # What interrupts the wait is not to be shown with an error that was none.
        with suppress(queue.Empty):
            return self._ended.get_nowait()
        ended: Future[Any] = self.awaits.call(self._wait, deadline_s)
        return ended

    def _wait(self, deadline_s: float | None) -> Future[Any]:
        while True:
            left_s = SIGNAL_CHECK_S if deadline_s is None else deadline_s - time.monotonic()
            try:
                return self._ended.get(timeout=max(0.0, min(left_s, SIGNAL_CHECK_S)))
            except queue.Empty:
                if left_s <= 0:
                    raise


def _waiters(future: Future[Any]) -> Any:
    return future._waiters
