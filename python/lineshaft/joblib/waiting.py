"""`Waiting`: the thread that called ``Parallel`` waits for the workers and dispatches what is next."""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from itertools import islice, takewhile

from lineshaft import _native
from lineshaft._failures import cancelled
from lineshaft._serial.parent import all_or_nothing, load_exception, load_result
from lineshaft.errors import SerializationError
from lineshaft.joblib.copies import copied
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
    worker has nothing to do, if what they are given is easily copied. All others are pickled when joblib dispatches
    them. A worker's death is still that of the one batch which it ran.
    """

    def __init__(
        self,
        *args: Any,
        n_jobs: int,
        at_once: int | None,
        dispatch_more: Callable[[], bool] | None,
        options: _native.TaskOptions | None = None,
        **others: Any,
    ) -> None:
        super().__init__(*args, **others)
        self._n_jobs = n_jobs
        #: Batches that may be with the engine at the same time; None leaves it to the pool.
        self._at_once = at_once
        #: Batches that are not with the engine yet.
        self._kept: deque[Batch] = deque()
        #: Has joblib dispatch one more batch ahead of time; None if the user said how many there may be.
        self._dispatch_more = dispatch_more
        self._options = options
        #: What runs batches, as it was last sent, if it refers to nothing that can be changed in place.
        self._settled_code: Any = None
        self._groups: dict[_Group, None] = {}
        #: Batches that are with the engine.
        self._away = 0
        #: Seconds from handing a batch over to its result, lately.
        self._batch_s = LONG_S

    def submit(self, calls: Any, callback: Callable[[Batch], object] | None) -> Batch:
        """Take a batch from joblib."""
        batch = Batch(calls, callback)
        if self._in_processes:
            batch.kept = self._as_dispatched(calls)
        self._kept.append(batch)
        if self._batch_s >= LONG_S or isinstance(batch.kept, _native.KeptCall):
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
        while self._kept and self._has_room():
            self._send(self._take())

    def _has_room(self) -> bool:
        """Whether what comes next may be with the engine, too."""
        most = self._n_jobs if self._may_travel_together(self._kept[0]) else self._at_once
        return most is None or len(self._groups) < most

    def _may_travel_together(self, batch: Batch) -> bool:
        return self._batch_s < LONG_S and isinstance(batch.kept, tuple)

    def _take(self) -> list[Batch]:
        """Take the next batch, and those behind it that are to travel with it: calls of the same."""
        kept = self._kept
        first = kept[0]
        if not self._may_travel_together(first):
            return [kept.popleft()]
        # One worker's share of what there is, so that the caller deals with the results of one
        # while another computes.
        share = -(-(len(kept) + self._away) // self._n_jobs)
        size = min(share, max(1, int(GROUP_S / self._batch_s)))
        code, _ = first.kept
        same = takewhile(lambda batch: isinstance(batch.kept, tuple) and batch.kept[0] is code, islice(kept, size))
        return [kept.popleft() for _ in list(same)]

    def _send(self, batches: list[Batch]) -> None:
        sent_s = time.monotonic()
        kept = batches[0].kept
        if kept is None:
            future = self._pool.submit(*self._call_of(batches[0].calls), None, self._options)
        elif isinstance(kept, _native.KeptCall):
            try:
                future = kept.submit(self._options)
            except SerializationError as error:
                raise to_be_raised(error, batches) from error.__cause__
        else:
            code, _ = kept
            future = self._pool.submit_each(code, [batch.kept[1] for batch in batches], self._options)
        self._away += len(batches)
        self._groups[_Group(batches, future, sent_s)] = None

    def _as_dispatched(self, calls: Any) -> _native.KeptCall | tuple[Any, tuple[Any, ...]]:
        """Return what is to be sent for a batch, whatever is changed before it is.

        If it can travel with others, that is the code of what runs it, and its arguments.
        """
        function, item = self._call_of(calls)
        calls_then = None if self._keeps_state else copied(item[0])
        if calls_then is not None:
            with all_or_nothing(), suppress(SerializationError):
                code = _native.code_of(self._pool, function)
                # What a code refers to is known, and looked at, once it is made.
                if code is self._settled_code or not self._pool.look_again():
                    self._settled_code = code
                    return code, (calls_then, *item[1:])
        return self._keep(function, [item], each=True)

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
            batch.is_done, batch.kept = True, None
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
