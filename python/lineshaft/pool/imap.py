"""The iterators that `imap` and `imap_unordered` return."""

from __future__ import annotations

import multiprocessing
import multiprocessing.pool as stdlib
import time
import types
from collections import deque
from concurrent.futures import CancelledError
from queue import Empty
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from lineshaft.pool.results import TERMINATED, NotDoneError, outcome_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from lineshaft.pool.feed import Feed
    from lineshaft.pool.results import Outcome

T = TypeVar("T")

if TYPE_CHECKING:
    _Base = stdlib.IMapIterator
else:

    class _Base(stdlib.IMapIterator):
        """Generic at run time too, which the standard library's class is only in its stubs."""

        __class_getitem__ = classmethod(types.GenericAlias)


class IMapIterator(_Base[T]):
    """Results in input order; a failed item raises in its place and the iteration may go on.

    Safe to share between threads: each result goes to exactly one of them.
    """

    def __init__(self, pool: object, feed: Feed) -> None:
        # The pool lives as long as somebody may still ask for a result.
        self._pool = pool
        self._feed = feed
        self._take = feed.take
        # Futures that were taken while they still ran, and whose callers were interrupted.
        self._held: deque[Future[Any]] = deque()

    def __iter__(self) -> IMapIterator[T]:
        return self

    def next(self, timeout: float | None = None) -> T:
        """Return the next result, waiting for it at most `timeout` seconds.

        Raises
        ------
        multiprocessing.TimeoutError
            If it is not there in time; a later call returns it.
        StopIteration
            After the last result.
        concurrent.futures.CancelledError
            If the pool was terminated first.
        """
        if timeout is None and not self._held:
            future = self._take(None)
            if future is None:
                self._raise_end()
            value, failure = self._outcome_of(future, None)
        else:
            value, failure = self._outcome_within(timeout)
        if failure is None:
            return cast("T", value)
        try:
            raise failure
        finally:
            # The traceback refers to this frame: dropping the names breaks the cycle.
            del failure, self

    __next__ = next  # noqa: A003 - the name is the standard library's

    @property
    def _length(self) -> int | None:
        # Private, but progress bars read it: how many results there are, once that is known.
        return self._feed.submitted if self._feed.exhausted else None

    def __del__(self) -> None:
        feed = getattr(self, "_feed", None)
        if feed is not None:
            feed.discard_results()

    def _outcome_within(self, timeout_s: float | None) -> Outcome[T]:
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            future = self._held.popleft() if self._held else self._take(timeout_s)
        except Empty:
            raise multiprocessing.TimeoutError from None
        if future is None:
            self._raise_end()
        try:
            return self._outcome_of(future, None if deadline_s is None else max(0.0, deadline_s - time.monotonic()))
        except NotDoneError:
            raise multiprocessing.TimeoutError from None

    def _outcome_of(self, future: Future[Any], timeout_s: float | None) -> Outcome[T]:
        try:
            return outcome_of(future, timeout_s)
        except BaseException:
            # The time ran out, or a signal handler raised: whoever asks next gets this result.
            self._held.appendleft(future)
            raise

    def _raise_end(self) -> NoReturn:
        self._pool = None
        if self._feed.aborted:
            raise CancelledError(TERMINATED)
        raise StopIteration


class IMapUnorderedIterator(IMapIterator[T]):
    """Results in order of completion."""


class ChunkedIMapIterator(IMapIterator[T]):
    """Hands out the items of chunks one by one; a chunk that failed raises once, as a whole."""

    def __init__(self, pool: object, feed: Feed) -> None:
        super().__init__(pool, feed)
        self._chunks: IMapIterator[list[T]] = IMapIterator(pool, feed)
        self._chunk: Iterator[T] = iter(())

    def next(self, timeout: float | None = None) -> T:
        """Return the next item, as `IMapIterator.next` does."""
        for item in self._chunk:
            return item
        # A chunk is never empty, so one step is enough.
        self._chunk = iter(self._chunks.next(timeout))
        return next(self._chunk)

    __next__ = next  # noqa: A003 - the name is the standard library's
