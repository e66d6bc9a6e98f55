"""`Sharing`: a task that calls ``Parallel`` runs batches itself and gives away what idle cores can take.

So it keeps its own core busy, and a program whose cores are all busy runs nested calls at the cost of
a loop. Whether a core is idle the task learns from *probes*: tasks that do next to nothing and come after all
others. Each that was run makes room for one batch to be given away, then for the next one when that has
ended. If the core was wanted elsewhere and nobody has begun the batch by the time that the task runs out
of others, the task takes it back, and probes again. Threads of a worker process that share its memory are
in no pool of the engine. There the probes are run by its processes, and a place holds for one batch.

Two threads are at it. The task's own runs batches, and waits. The run's thread, once a core was found
idle, is told of the ends of probes and of batches that were given away, and is the only one to settle them.
Nothing waits for a batch that nobody has begun: whoever waits lends its core.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError

from lineshaft import _native
from lineshaft.joblib.announcing import Announcing
from lineshaft.joblib.batch import probe
from lineshaft.joblib.run import WINDOW, Batch, modules_of, timeout_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Sharing"]

#: Options of tasks for which any other task is more urgent.
LAST = _native.TaskOptions(priority=-(1 << 20))


def _is_cancelled(ended: Any) -> bool:
    """Whether a call that has ended was cancelled, also before who cancels it knows."""
    try:
        ended.exception()
    except CancelledError:
        return True
    return False


class Sharing(Announcing):
    """The caller runs batches itself; up to `helpers` others help.

    Parameters
    ----------
    probed
        The pool that tells whether a core is idle, if it is not the one that helps.
    """

    def __init__(self, *args: Any, helpers: int, probed: _native.Pool | None = None, **others: Any) -> None:
        super().__init__(*args, at_once=0, options=LAST, **others)
        self._probed_pool = probed
        self._helpers = helpers
        self._probes: set[Any] = set()
        #: What the functions of the first batch are from.
        self._modules: tuple[str, ...] = ()
        #: Batches that the caller wants back: if they are cancelled, they are its own.
        self._wanted_back: set[Batch] = set()
        #: Futures of batches that could not be taken back, because they have begun.
        self._begun: set[Any] = set()
        #: What went wrong elsewhere than on the caller's thread.
        self._failure: BaseException | None = None
        #: Grows with all that the run's thread has dealt with.
        self._news_count = 0
        self._has_news = threading.Condition()

    def submit(self, calls: Any, callback: Callable[[Batch], object] | None) -> Batch:
        """Take a batch from joblib."""
        batch = super().submit(calls, callback)
        if self._helpers > 0 and self._in_processes:
            self._modules = modules_of(calls)
        while self._helpers > 0:
            self._helpers -= 1
            self._probe()
        return batch

    def close(self) -> None:
        """Drop what is not done."""
        super().close()
        for waiting in list(self._probes):
            waiting.cancel()

    # On the caller's thread.

    def wait_for(self, batch: Batch, timeout_s: float | None) -> None:
        """Wait until the batch is done; raise what any batch raised meanwhile."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while not batch.is_done:
            if self._failure is not None:
                raise self._failure
            if deadline_s is not None and time.monotonic() > deadline_s:
                raise timeout_error()
            news_count = self._news_count
            own = self._next()
            if own is None:
                self._wait_for_news(news_count, deadline_s)
                continue
            # What it raises is raised here: joblib stops at the first failure.
            own.value = own.calls()
            own.is_done = True
            self._tell(own)

    def _next(self) -> Batch | None:
        """Return a batch that nobody runs, if there is one."""
        try:
            return self._kept.popleft()
        except IndexError:
            pass
        # What was given away last has waited least, so it is the likeliest to wait still.
        batch: Batch
        for batch, future in reversed(list(self._open.items())):
            if future is None or future in self._begun or future.done():
                continue
            self._wanted_back.add(batch)
            if future.cancel():
                return batch
            self._wanted_back.discard(batch)
            self._begun.add(future)
        return None

    def _wait_for_news(self, news_count: int, deadline_s: float | None) -> None:
        """Wait until the run's thread has dealt with something more than so much."""

        def left_s() -> float | None:
            return None if deadline_s is None else max(0.0, deadline_s - time.monotonic())

        away = [future for future in list(self._open.values())[:WINDOW] if future is not None]
        if away:
            _native.wait_any(away, left_s())  # whoever waits so lends its core
        with self._has_news:
            self._has_news.wait_for(lambda: self._news_count != news_count, left_s())

    # On the run's thread.

    def _probe(self) -> None:
        waiting = (self._probed_pool or self._pool).submit(probe, (self._modules,), None, LAST)
        self._probes.add(waiting)
        _native.when_done(waiting, lambda probed: self._post(lambda: self._probed(probed)))

    def _probed(self, probed: Any) -> None:
        """Note that a core is idle, if the probe was run."""
        self._probes.discard(probed)
        if not probed.cancelled():
            self._room.release()
            self._feed()
        self._count_news()

    def _end(self, batch: Batch) -> None:
        try:
            future = self._open.get(batch)
            if batch in self._wanted_back and future is not None and _is_cancelled(future):
                del self._open[batch]
                self._probe()
            else:
                super()._end(batch)
        except Exception as error:
            # Of the input, which joblib reads when a batch has ended.
            self._failure = self._failure or error
        self._count_news()

    def _leave_place(self) -> None:
        if self._probed_pool is None:
            super()._leave_place()
        elif not self._aborted:
            self._probe()

    def _tell(self, batch: Batch) -> None:
        if batch.error is not None:
            self._failure = self._failure or batch.error
        else:
            super()._tell(batch)

    def _count_news(self) -> None:
        with self._has_news:
            self._news_count += 1
            self._has_news.notify()
