"""`Waiting`: the thread that called ``Parallel`` waits for the workers and dispatches what is next."""

from __future__ import annotations

import time
from collections import deque
from itertools import islice

from lineshaft import _native
from lineshaft._failures import cancelled
from lineshaft._serial.parent import all_or_nothing, load_exception, load_result
from lineshaft.joblib.mapped import by_name
from lineshaft.joblib.run import Batch, Run, timeout_error, to_be_raised, was_killed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Waiting"]

#: Groups that are waited for at a time: the oldest. They begin in the order in which they were sent, so
#: those that end next are among them.
WINDOW = 64
#: Batches that take this many seconds need not travel together.
LONG_S = 0.0003
#: Work of those that do, in seconds.
GROUP_S = 0.002
#: Batches that take less may be dispatched ahead, per job.
AHEAD = 16


class _Group:
    """Batches that travel in one message; each has its own outcome."""

    __slots__ = ("batches", "future", "sent_s")

    def __init__(self, batches: list[Batch], future: Any, sent_s: float) -> None:
        self.batches = batches
        self.future = future
        self.sent_s = sent_s


class Waiting(Run):
    """The caller waits for the workers itself.

    Batches that take less time than a message does travel together, as many as there are when a
    worker has nothing to do. A worker's death is still that of the one batch which it ran.
    """

    def __init__(
        self, *args: Any, n_jobs: int, at_once: int | None, dispatch_more: Callable[[], bool] | None, **others: Any
    ) -> None:
        super().__init__(*args, **others)
        self._n_jobs = n_jobs
        #: Batches that may be with the engine at the same time; None leaves it to the pool.
        self._at_once = at_once
        #: Batches that are not with the engine yet.
        self._kept: deque[Batch] = deque()
        #: Has joblib dispatch one more batch ahead of time; None if the user said how many there may be.
        self._dispatch_more = dispatch_more
        self._groups: dict[_Group, None] = {}
        #: Batches that are with the engine.
        self._away = 0
        #: Seconds from handing a batch over to its result, lately.
        self._batch_s = LONG_S

    def submit(self, calls: Any, callback: Callable[[Batch], object] | None) -> Batch:
        """Take a batch from joblib."""
        batch = Batch(calls, callback)
        self._kept.append(batch)
        if self._batch_s >= LONG_S:
            self._feed()
        return batch

    def close(self) -> None:
        """Drop what is not done."""
        super().close()
        self._kept.clear()
        groups, self._groups = list(self._groups), {}
        if groups:
            _native.cancel_running([group.future for group in groups])

    def wait_for(self, batch: Batch, timeout_s: float | None) -> None:
        """Wait until the batch is done; raise what any batch raised meanwhile."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while not batch.is_done:
            self._feed()
            if not self._groups:
                raise cancelled()
            oldest = list(self._groups) if len(self._groups) <= WINDOW else list(islice(self._groups, WINDOW))
            left_s = None if deadline_s is None else deadline_s - time.monotonic()
            if not _native.wait_any([group.future for group in oldest], left_s):
                raise timeout_error()
            for group in oldest:
                if group.future.done():
                    del self._groups[group]
                    self._away -= len(group.batches)
                    self._end(group)

    def _feed(self) -> None:
        kept = self._kept
        if not kept:
            return
        if self._batch_s >= LONG_S:
            while kept and (self._at_once is None or len(self._groups) < self._at_once):
                self._send([kept.popleft()])
            return
        while kept and len(self._groups) < self._n_jobs:
            # One worker's share of what there is, so that the caller deals with the results of one
            # while another computes.
            share = -(-(len(kept) + self._away) // self._n_jobs)
            size = min(len(kept), share, max(1, int(GROUP_S / self._batch_s)))
            self._send([kept.popleft() for _ in range(size)])

    def _send(self, batches: list[Batch]) -> None:
        sent_s = time.monotonic()
        if not self._in_processes:
            future = self._pool.submit(*self._call_of(batches[0].calls), None, None)
        else:
            runner = None
            items: list[Any] = []
            for batch in batches:
                function, item = self._call_of(batch.calls)
                if runner is None:
                    runner = function
                elif function is not runner:
                    break
                items.append(item)
                if self._keeps_state:
                    break  # what is sent together is loaded together
            self._kept.extendleft(reversed(batches[len(items) :]))
            del batches[len(items) :]
            assert runner is not None, "a group has a batch"
            with by_name(), all_or_nothing():
                future = self._pool.submit_each(runner, items)
        self._away += len(batches)
        self._groups[_Group(batches, future, sent_s)] = None

    def _end(self, group: _Group) -> None:
        """Take over the outcomes of a group."""
        try:
            outcome = group.future.result()
        except BaseException as error:
            self._fail(group, error)
            return
        failed: dict[int, bytes] = {}
        values: Any = [outcome]
        if self._in_processes:
            values, failed, _ = outcome
            took_s = (time.monotonic() - group.sent_s) / len(group.batches)
            self._batch_s += 0.25 * (min(took_s, LONG_S) - self._batch_s)
            if isinstance(values, bytes):
                values = load_result(values)
        for index, batch in enumerate(group.batches):
            batch.is_done = True
            if index in failed:
                # joblib stops at the first failure, whichever batch it waits for.
                raise load_exception(failed[index])
            batch.value = values[index]
            if batch.callback is not None:
                batch.callback(batch)
        if self._dispatch_more is not None:
            ahead = AHEAD * self._n_jobs
            while self._batch_s < LONG_S and len(self._kept) + self._away < ahead and self._dispatch_more():
                pass

    def _fail(self, group: _Group, error: BaseException) -> None:
        """Deal with a group without outcomes: it could not be sent, or its worker died."""
        from lineshaft.errors import WorkerDied

        if not isinstance(error, WorkerDied):
            raise to_be_raised(error, group.batches)
        culprit = group.batches[error.item or 0]
        if culprit.deaths >= self._surroundings.retries or not was_killed(error):
            raise to_be_raised(error, [culprit])
        culprit.deaths += 1
        self._send([culprit])
        self._kept.extendleft(batch for batch in reversed(group.batches) if batch is not culprit)
