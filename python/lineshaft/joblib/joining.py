"""`Joining`: a task that calls ``Parallel`` on threads runs batches itself, and others join in on cores that are idle.

Each of these runs one batch, the next that nobody has begun, and then the core is looked for anew: in the program by
a call of a thread pool that takes a core and comes after all others. Threads of a worker process are in no budget.
There the call that comes after all others is a *probe*, which its engine's processes run, and tells of an idle core.
"""

from __future__ import annotations

from collections import deque

from lineshaft import _native
from lineshaft.joblib.batch import probe
from lineshaft.joblib.inside import OFFER, PROBE, Inside
from lineshaft.joblib.run import Batch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Joining"]


class Joining(Inside):
    """The caller runs batches itself; threads of this process take what it has not begun.

    Parameters
    ----------
    probed
        The pool that tells whether a core is idle, if it is not the one that helps.
    """

    def __init__(self, *args: Any, probed: _native.Pool | None = None, **others: Any) -> None:
        super().__init__(*args, **others)
        self._probed_pool = probed
        self._kept = deque()
        #: How many more may ask for a core; guarded by `_has_news`.
        self._may_ask = self._n_jobs - 1

    def submit(self, calls: Any, callback: Callable[[Batch], object] | None) -> Batch:
        """Take a batch from joblib."""
        batch = Batch(calls, callback)
        self._kept.append(batch)
        self._offer(batch)
        self._ask()
        self._count_news()
        return batch

    def close(self) -> None:
        """Drop what is not done."""
        super().close()
        self._kept.clear()

    def _can_lend_core(self) -> bool:
        # Of a worker's own threads its engine knows nothing.
        return self._probed_pool is None and bool(self._in_batch)

    def _ask(self) -> None:
        """Ask for a core, unless enough have asked."""
        with self._has_news:
            if self._may_ask == 0:
                return
            self._may_ask -= 1
        if self._probed_pool is None:
            self._start(self._pool, self._help, OFFER)
            return
        waiting = self._probed_pool.submit(probe, ((),), None, PROBE)
        self._futures[waiting] = waiting
        _native.when_done(waiting, self._probed)

    def _probed(self, probed: Any) -> None:
        """Have a thread help, now that a core is idle. The engine calls."""
        self._futures.pop(probed, None)
        if not probed.cancelled() and not self._is_over():
            self._start(self._pool, self._help)

    def _help(self, call: object) -> None:
        """Run a batch on the core that was found."""
        batch = self._begin()
        if batch is not None:
            self._run_beside(call, batch)
            self._beside.pop(call, None)
        with self._has_news:
            self._may_ask += 1
        if self._kept and self._free() > 0 and not self._is_over():
            self._ask()
