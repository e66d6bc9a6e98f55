"""`Inside`: what calls of ``Parallel`` inside tasks have in common: the task's thread runs batches itself.

So it keeps its own core busy. It cannot if a batch sleeps: waits for an answer, or for what a batch does that nobody
has begun. Then threads of the same process *stand in* for it: whenever all threads of a call are asleep and batches are
left, as many more begin some of these as there are threads asleep, up to as many as the call has jobs. One whose batch
has slept goes on with the next. One that found something to compute ends, and from then on they are no more at a time
than there are cores.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import nullcontext
from functools import partial

from lineshaft import _native
from lineshaft._serial.definition import group_of
from lineshaft.joblib.asleep import AWAKE_S, LOOK_S, Seen, has_slept, look_after
from lineshaft.joblib.batch import on_thread
from lineshaft.joblib.run import Batch, Run, timeout_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable
    from typing import Any

__all__ = ["OFFER", "PROBE", "Inside"]

#: Options of tasks for workers that have nothing better to do, and of those of them that are no call of the program's.
OFFER = _native.TaskOptions(priority=_native.OFFER_PRIORITY)
PROBE = _native.TaskOptions(priority=_native.OFFER_PRIORITY, internal=True)

#: Threads that wait for others to help them, and in which call.
_waiting: dict[int, Inside] = {}


class Inside(Run):
    """The caller runs batches itself; others help, as subclasses have it.

    Parameters
    ----------
    n_jobs
        Batches that run at the same time, at most.
    cores
        Cores of the engine.
    beyond
        Returns a pool of any number of threads of this process, which take no cores.
    """

    #: Batches that nobody runs.
    _kept: deque[Batch]

    def __init__(self, *args: Any, n_jobs: int, cores: int, beyond: Callable[[], _native.Pool], **others: Any) -> None:
        super().__init__(*args, **others)
        self._n_jobs = n_jobs
        self._cores = cores
        self._beyond = beyond
        #: What the first batch calls.
        self._group = ("", "")
        self._caller = Seen()
        #: How many run batches, or have taken one; guarded by `_has_news`.
        self._running = 0
        #: From the last look to the next, while a thread is awake: longer and longer.
        self._awake_s = LOOK_S / 2
        #: Whether one that stood in has found something to compute.
        self._has_computed = False
        #: Whether the engine lends the caller's core to others, because the caller waits for them.
        self._lends_core = False
        #: Calls that run batches on other threads of this process, or are about to: what is seen of the threads.
        self._beside: dict[object, Seen | None] = {}
        #: Those that run one now.
        self._in_batch: set[object] = set()
        #: Their futures, and those of calls that may never begin.
        self._futures: dict[object, Any] = {}
        #: What went wrong elsewhere than on the caller's thread.
        self._failure: BaseException | None = None
        #: Grows with all that others have done.
        self._news_count = 0
        self._has_news = threading.Condition()

    def close(self) -> None:
        """Drop what is not done."""
        with self._has_news:
            self._aborted = True  # from now on nothing is begun
        super().close()
        running = self._running_beside()
        if running:
            _native.cancel_running(running)
        for future in list(self._futures.values()):
            future.cancel()

    def _is_over(self) -> bool:
        """Whether no batch is to be begun any more."""
        return self._aborted or self._failure is not None

    # On the caller's thread.

    def wait_for(self, batch: Batch, timeout_s: float | None) -> None:
        """Wait until the batch is done; raise what any batch raised meanwhile."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            # What is not seen below is news later.
            news_count = self._news_count
            if batch.is_done:
                return
            if self._failure is not None:
                raise self._failure
            if deadline_s is not None and time.monotonic() > deadline_s:
                raise timeout_error()
            own = self._begin()
            if own is None:
                self._wait_for_news(news_count, deadline_s)
                continue
            # What it raises is raised here: joblib stops at the first failure.
            try:
                own.value = own.calls()
            finally:
                self._leave()
            own.is_done = True
            self._tell(own)

    def _wait_for_news(self, news_count: int, deadline_s: float | None) -> None:
        """Wait until others have done more than so much."""
        thread = threading.get_ident()
        _waiting[thread] = self
        self._lends_core = self._can_lend_core()
        left_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
        try:
            with self._pool.lend_core() if self._lends_core else nullcontext(), self._has_news:
                self._has_news.wait_for(lambda: self._news_count != news_count, left_s)
        finally:
            self._lends_core = False
            del _waiting[thread]

    def _can_lend_core(self) -> bool:
        """Whether what the caller waits for needs cores of the engine, and not the caller's."""
        raise NotImplementedError

    # On any thread.

    def _begin(self) -> Batch | None:
        """Take a batch that nobody runs, if there is one and one more may run; `_leave` when it has ended."""
        with self._has_news:
            if self._is_over():
                return None
            if self._kept and self._running < self._n_jobs:
                self._running += 1
                return self._kept.popleft()
            return self._take_back()

    def _take_back(self) -> Batch | None:
        """Take a batch that counts as running, although nobody has begun it."""
        return None

    def _leave(self) -> None:
        """Let one more run in the place of a batch that has ended."""
        with self._has_news:
            self._running -= 1

    def _left(self) -> int:
        """Return how many batches nobody runs, as far as that is known."""
        return len(self._kept)

    def _free(self) -> int:
        """Return how many more may run, as far as that is known."""
        return self._n_jobs - self._running

    def _offer(self, batch: Batch) -> None:
        """Let others help with a batch that was kept."""
        if not self._group[1]:
            self._group = _group_of(batch)
        look_after(self._look)

    def _tell(self, batch: Batch) -> None:
        """Have joblib dispatch what is next."""
        if batch.error is not None:
            self._failure = self._failure or batch.error
        elif batch.callback is not None and not self._aborted:
            batch.callback(batch)

    def _count_news(self) -> None:
        with self._has_news:
            self._news_count += 1
            self._has_news.notify()

    # Threads beside the caller's.

    def _look(self) -> float | None:
        """Have others stand in, if all threads of the call are asleep; when to look again, if anything is left."""
        left = self._left()
        if left == 0 or self._is_over():
            return None
        free = self._free()
        if free <= 0:
            return AWAKE_S
        threads = [self._caller, *list(self._beside.values())]
        if any(self._is_awake(each) for each in threads):
            self._awake_s = min(2 * self._awake_s, AWAKE_S)
            return self._awake_s
        self._awake_s = LOOK_S / 2
        try:
            # As the others sleep, so will these, until one is found that does not.
            more = min(len(threads), self._cores) if self._has_computed else len(threads)
            for _ in range(min(more, free, left)):
                self._start(self._beyond(), self._stand_in, is_awake=True)
        except Exception as error:  # the engine was shut down
            self._failure = self._failure or error
            self._count_news()
        return LOOK_S

    def _is_awake(self, seen: Seen | None) -> bool:
        """Whether a thread uses its core, or lets another use it."""
        if seen is None or not seen.is_asleep():
            return True
        inner = _waiting.get(seen.thread)
        return inner is not None and inner._is_used()

    def _is_used(self) -> bool:
        """Whether the core of the caller, which waits, is used otherwise."""
        return self._lends_core or any(self._is_awake(each) for each in list(self._beside.values()))

    def _start(
        self,
        pool: _native.Pool,
        help_out: Callable[[object], None],
        options: _native.TaskOptions | None = None,
        *,
        is_awake: bool = False,
    ) -> None:
        """Submit a call that runs batches; `is_awake` if it is sure to begin at once."""
        call = object()
        if is_awake:
            self._beside[call] = None
        runner = self._runner((on_thread, self._group), self._group, on_thread)
        future = pool.submit(runner, (partial(help_out, call),), None, options)
        self._futures[call] = future
        _native.when_done(future, lambda _: self._forget(call))

    def _forget(self, call: object) -> None:
        self._beside.pop(call, None)
        self._futures.pop(call, None)

    def _stand_in(self, call: object) -> None:
        while (batch := self._begin()) is not None:
            if not self._run_beside(call, batch):
                self._has_computed = True
                return

    def _run_beside(self, call: object, batch: Batch) -> bool:
        """Run a batch on this thread; whether it has slept."""
        self._beside[call] = self._beside.get(call) or Seen()
        self._in_batch.add(call)
        begun_s, took_s = time.monotonic(), time.thread_time()
        try:
            batch.value = batch.calls()
        except BaseException as error:
            batch.error = error
        slept = has_slept(begun_s, took_s)
        batch.is_done = True
        self._in_batch.discard(call)
        self._leave()
        try:
            self._tell(batch)
        except Exception as error:
            # Of the input, which joblib reads when a batch has ended.
            self._failure = self._failure or error
        self._count_news()
        return slept

    def _running_beside(self) -> list[Any]:
        """Return the futures of those that run a batch."""
        running = [self._futures.get(call) for call in list(self._in_batch)]
        return [future for future in running if future is not None]


os.register_at_fork(after_in_child=_waiting.clear)


def _group_of(batch: Batch) -> tuple[str, str]:
    items = getattr(batch.calls, "items", None)
    return group_of(items[0][0] if isinstance(items, list) and items else batch.calls)
