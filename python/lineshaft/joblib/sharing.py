"""`Sharing`: a batch that calls ``Parallel`` runs inner ones itself and gives away what idle cores can take.

So a program whose cores are all busy runs nested calls at the cost of a loop. Whether a core is idle the task learns
from *probes*: tasks that do next to nothing and come after all others. Each that was run makes room for one batch
to be given away, then for the next one when that has ended. If the core was wanted elsewhere and nobody has begun the
batch by the time that the task runs out of others, the task takes it back, and probes again.

Two threads are at it. The task's own runs batches, and waits. The run's thread, once a core was found
idle, is told of the ends of probes and of batches that were given away, and is the only one to settle them.
Nothing waits for a batch that nobody has begun: whoever waits lends its core.
"""

from __future__ import annotations

from concurrent.futures import CancelledError

from lineshaft import _native
from lineshaft.joblib.announcing import Announcing
from lineshaft.joblib.batch import probe
from lineshaft.joblib.inside import OFFER, PROBE, Inside
from lineshaft.joblib.run import Batch, modules_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Sharing"]


def _is_cancelled(ended: Any) -> bool:
    """Whether a call that has ended was cancelled, also before who cancels it knows."""
    try:
        ended.exception()
    except CancelledError:
        return True
    return False


class Sharing(Inside, Announcing):
    """The caller runs batches itself; worker processes help."""

    # Those that the caller runs itself are the caller's own objects, so they are pickled for those who help alone.
    _as_dispatched = False

    def __init__(self, *args: Any, **others: Any) -> None:
        super().__init__(*args, at_once=0, options=OFFER, **others)
        self._helpers = self._n_jobs - 1
        self._probes: set[Any] = set()
        #: What the functions of the first batch are from.
        self._modules: tuple[str, ...] = ()
        #: Batches that threads of this process want back: if they are cancelled, they are theirs.
        self._wanted_back: set[Batch] = set()
        #: Futures of batches that could not be taken back, because they have begun.
        self._begun: set[Any] = set()

    def submit(self, calls: Any, callback: Callable[[Batch], object] | None) -> Batch:
        """Take a batch from joblib."""
        batch = super().submit(calls, callback)
        self._offer(batch)
        if self._helpers > 0:
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

    def _take_back(self) -> Batch | None:
        for batch, future in self._unbegun():
            self._wanted_back.add(batch)
            if future.cancel():
                return batch
            self._wanted_back.discard(batch)
            if batch in self._open:
                self._begun.add(future)
        return None

    def _take(self) -> Batch | None:
        with self._has_news:
            batch = super()._take() if self._running < self._n_jobs else None
            self._running += batch is not None
            return batch

    def _leave_place(self) -> None:
        super()._leave_place()
        self._leave()

    def _left(self) -> int:
        return super()._left() + len(self._unbegun())

    def _free(self) -> int:
        return super()._free() + len(self._unbegun())

    def _unbegun(self) -> list[tuple[Batch, Any]]:
        """Return batches that were given away and may not have begun, with their futures."""
        # What was given away last has waited least, so it is the likeliest to wait still.
        given = reversed(list(self._open.items()))
        taken = self._wanted_back
        return [
            (batch, future)
            for batch, future in given
            if future is not None and batch not in taken and future not in self._begun and not future.done()
        ]

    def _probe(self) -> None:
        waiting = self._pool.submit(probe, (self._modules,), None, PROBE)
        self._probes.add(waiting)
        _native.when_done(waiting, lambda probed: self._post(lambda: self._probed(probed)))

    # On the caller's thread.

    def _can_lend_core(self) -> bool:
        return bool(self._open) and not self._in_batch

    # On a thread that stands in.

    def _stand_in(self, call: object) -> None:
        super()._stand_in(call)
        self._feed()  # for the place that it had, a core may be idle

    # On the run's thread.

    def _probed(self, probed: Any) -> None:
        """Note that a core is idle, if the probe was run."""
        self._probes.discard(probed)
        if not probed.cancelled():
            self._room.release()
            self._feed()
        self._count_news()

    def _end(self, batch: Batch) -> None:
        future = self._open.get(batch)
        try:
            if batch in self._wanted_back and future is not None and _is_cancelled(future):
                del self._open[batch]
                self._probe()
            else:
                super()._end(batch)
        except Exception as error:
            # Of the input, which joblib reads when a batch has ended.
            self._failure = self._failure or error
        with self._has_news:
            self._wanted_back.discard(batch)
            self._begun.discard(future)
        self._count_news()
