"""The input side of `imap`: pulls items, submits them, keeps a bounded window of them in flight.

The window counts items submitted and not yet asked for by the consumer. It starts small and doubles
while it drains within `FAST_REFILL_S`, so cheap tasks travel in large batches and an endless
generator, or one of large items, is read only a little ahead.

Who pulls depends on the input. The iterator of a built-in container cannot block, so the consumer
pulls it inside `next()` and no thread exists. Any other iterator may wait for something that the
consumer does next (a queue filled from earlier results), so a thread pulls it. In both cases
`_source_lock` makes sure that one thread at a time advances the iterator.

Counters: `_submitted` changes under `_source_lock`; `_reserved` (results handed out or being waited
for) and `_exhausted` change under `_lock`. A consumer reserves before it takes from the queue. When
the input ends, each reservation that no item will ever meet receives `END`.

What the input raised is its last result, in order of completion too: it is put into the queue once all
others are reserved, so that who stops at it has lost nothing.

A signal handler may terminate the pool in the middle of a `take`. `_lock` can therefore be taken again by
the thread that holds it, and what belongs together there is done without a call in between: handlers run
at calls.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from itertools import chain, islice
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from lineshaft import _native
from lineshaft._signals import is_raised_by_handler
from lineshaft.pool.chunks import cut
from lineshaft.pool.results import failed_future

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

WINDOW_ITEMS_MAX: Final = 8192
WINDOW_ITEMS_CONTAINER: Final = 512
WINDOW_ITEMS_PER_WORKER: Final = 32
FAST_REFILL_S: Final = 0.05

# Iterating these runs no user code, so a consumer may do it without the risk of blocking.
CONTAINERS: Final[tuple[type, ...]] = (
    list, tuple, range, dict, set, frozenset, str, bytes, bytearray, deque,
    type({}.keys()), type({}.values()), type({}.items()),
)  # fmt: skip

END: Final = None


class Feed:
    """One input being turned into tasks.

    Parameters
    ----------
    submit
        Turns one item into a future.
    iterable
        The input; its iterator is created here, so a wrong type fails in the caller.
    ordered
        Whether results are handed out in input order rather than in order of completion.
    chunksize
        Items per task; a task of more than one item receives a tuple of them.
    workers
        Workers of the pool; sets the first size of the window of a generator.
    on_end
        Called once, with this feed, when its input is used up.
    """

    def __init__(
        self,
        submit: Callable[[Any], Future[Any]],
        iterable: Iterable[Any],
        *,
        ordered: bool,
        chunksize: int = 1,
        workers: int,
        on_end: Callable[[Feed], None],
    ) -> None:
        self._submit = submit
        self._items = iter(iterable) if chunksize == 1 else cut(iterable, chunksize)
        self._ordered = ordered
        self._on_end = on_end
        self._queue: SimpleQueue[Future[Any] | None] = SimpleQueue()
        # What a task is to count as waiting for that waits for the queue; none before the first future is known.
        self._awaits: _native.Awaits | None = None
        self._source_lock = threading.Lock()
        self._lock = threading.RLock()
        self._submitted = 0
        self._reserved = 0
        self._exhausted = False
        # What the input raised, until it is put into the queue.
        self._failure: Future[Any] | None = None
        self._aborted = False
        self._to_the_end = False
        self._last_refill_s = float("-inf")
        self._wakeups: SimpleQueue[None] = SimpleQueue()
        self._parked = False
        self._thread: threading.Thread | None = None
        if isinstance(iterable, CONTAINERS):
            self._window = WINDOW_ITEMS_CONTAINER
            self._refill()
        else:
            self._window = min(WINDOW_ITEMS_PER_WORKER * workers, WINDOW_ITEMS_MAX)
            self._thread = threading.Thread(target=self._feed_all, name="lineshaft-imap-feed", daemon=True)
            self._thread.start()

    @property
    def exhausted(self) -> bool:
        """Whether no item will follow those submitted."""
        return self._exhausted

    @property
    def submitted(self) -> int:
        """How many results there are to hand out so far."""
        return self._submitted

    @property
    def aborted(self) -> bool:
        """Whether the pool was terminated before the input was used up."""
        return self._aborted

    def take(self, timeout_s: float | None) -> Future[Any] | None:
        """Return the next future to hand out, or None (`END`) after the last one.

        Raises
        ------
        queue.Empty
            If there is none within `timeout_s` seconds.
        """
        with self._lock:
            # Reserved before it is looked: who ends the input from now on counts this one.
            self._reserved += 1
            exhausted = self._exhausted
            if exhausted and self._reserved > self._submitted:
                self._reserved -= 1
                return END
            hungry = not exhausted and self._room() * 2 > self._window
            last = exhausted and self._reserved == self._submitted
        try:
            if last:
                self._put_failure()
            elif hungry:
                if self._thread is None:
                    self._refill()
                elif self._parked:
                    self._wakeups.put(None)
            # What a signal handler raises while this waits is raised before anything is taken; once it is,
            # no handler runs before it has its name: unpacking calls nothing that is written in Python.
            if self._awaits is None or not self._queue.empty():
                [future] = map(self._queue.get, (True,), (timeout_s,))
            else:
                [future] = map(self._awaits.call, (self._queue.get,), (True,), (timeout_s,))
        except BaseException:
            with self._lock:
                self._reserved -= 1
            raise
        return future

    def run_to_end(self) -> None:
        """Submit what is left of the input, however much that is."""
        self._to_the_end = True
        if self._thread is None:
            while not self._exhausted:
                self._refill()
        else:
            self._wakeups.put(None)
            self._thread.join()

    def abort(self) -> None:
        """Stop pulling; consumers who would have waited for more are told so."""
        with self._lock:
            if self._exhausted:
                return
            self._aborted = True
        self._end()
        self._wakeups.put(None)

    def discard_results(self) -> None:
        """Forget what is queued: the consumer is gone, only the side effects still matter."""
        # Called by __del__, when the name of the class may be gone already.
        self._queue = type(self._queue)()

    def check_invariants(self) -> None:
        """Raise AssertionError if the counters contradict each other."""
        assert min(self._submitted, self._reserved) >= 0
        assert self._exhausted or not self._aborted, "an aborted feed takes no more input"
        assert 0 < self._window <= WINDOW_ITEMS_MAX

    def _room(self) -> int:
        if self._to_the_end:
            return WINDOW_ITEMS_MAX
        return self._window - (self._submitted - self._reserved)

    def _refill(self) -> None:
        with self._source_lock:
            room = self._room()
            if self._exhausted or room <= 0:
                return
            now_s = time.monotonic()
            if now_s - self._last_refill_s < FAST_REFILL_S:
                self._window = min(self._window * 2, WINDOW_ITEMS_MAX)
                room = self._room()
            self._last_refill_s = now_s
            self._pull(room)

    def _pull(self, room: int) -> None:
        """Submit up to `room` items; the caller holds `_source_lock`."""
        submit, put, ordered, pulled = self._submit, self._queue.put, self._ordered, 0
        try:
            for item in islice(self._items, room):
                if self._aborted:
                    break
                try:
                    future = submit(item)
                except Exception as error:
                    if is_raised_by_handler(error):
                        self._items = chain((item,), self._items)
                        raise
                    if self.aborted:  # meanwhile, by another thread or a signal handler
                        break
                    future = failed_future(error)
                pulled += 1
                if ordered:
                    put(future)
                else:
                    future.add_done_callback(put)
                    if self._awaits is None:
                        self._await(future)
        except Exception as error:
            self._submitted += pulled
            if is_raised_by_handler(error):
                raise
            self._end_with(error)
        except BaseException:
            self._submitted += pulled
            raise
        else:
            self._submitted += pulled
            if pulled < room:
                self._end()

    def _await(self, future: Any) -> None:
        """Have tasks that wait for the queue count as waiting for the pool of this future, which is that of all."""
        if isinstance(future, _native.FutureBase):
            awaits = _native.Awaits()
            awaits.add(future)
            self._awaits = awaits

    def _end_with(self, error: BaseException) -> None:
        """End the input with its exception, in the place of the item it did not give."""
        self._end(failed_future(error))

    def _end(self, failure: Future[Any] | None = None) -> None:
        with self._lock:
            if self._exhausted:
                return
            if failure is not None:
                self._failure = failure
                self._submitted += 1
            self._exhausted = True
            unmet = self._reserved - self._submitted
        if unmet >= 0:
            self._put_failure()
        for _ in range(unmet):
            self._queue.put(END)
        self._on_end(self)

    def _put_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            self._queue.put(failure)

    def _feed_all(self) -> None:
        """Body of the feeding thread: pull while there is room, park while there is none."""
        try:
            while True:
                self._refill()
                self._parked = True
                # Both looked at after parking: whoever changed them before it saw `_parked` has
                # sent no wake-up.
                if self._exhausted:
                    return
                if self._room() <= 0:
                    self._wakeups.get()
                self._parked = False
        except BaseException as error:
            self._end_with(error)
