"""`Sharing`: a task that calls ``Parallel`` runs batches itself and gives away what idle cores can take.

So it keeps its own core busy, and a program whose cores are all busy runs nested calls at the cost of
a loop. Whether a core is idle the task learns from *probes*: tasks that do nothing and come after all
others. Each that was run is a permit to give one batch away, and so is each batch that comes back.
Batches are given away, and come back, on a thread of the engine, while the task computes.

Nothing waits for a batch that nobody has begun: whoever waits lends its core.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from lineshaft import _native
from lineshaft.joblib.batch import probe
from lineshaft.joblib.run import WINDOW, Batch, timeout_error
from lineshaft.joblib.singles import Singles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Sharing"]

#: Options of tasks for which any other task is more urgent.
LAST = _native.TaskOptions(priority=-(1 << 20))
#: How long to wait while another thread deals with the last batches, in seconds.
MOMENT_S = 0.0005


class Sharing(Singles):
    """The caller runs batches itself; up to `helpers` others help."""

    def __init__(self, *args: Any, helpers: int, **others: Any) -> None:
        super().__init__(*args, options=LAST, **others)
        self._helpers = helpers
        #: Batches that nobody runs yet.
        self._kept: deque[Batch] = deque()
        #: Batches that were given away and could not be taken back.
        self._begun: set[Batch] = set()
        self._permits = 0
        self._probing = False
        self._lock = threading.Lock()
        #: What went wrong on another thread.
        self._failure: BaseException | None = None

    def submit(self, calls: Any, callback: Callable[[Batch], object] | None) -> Batch:
        """Take a batch from joblib."""
        batch = Batch(calls, callback)
        self._kept.append(batch)
        if not self._probing:
            self._probing = True
            for _ in range(self._helpers):
                _native.when_done(self._pool.submit(probe, (), None, LAST), self._permit)
        else:
            self._give_away()
        return batch

    def close(self) -> None:
        """Drop what is not done."""
        self._kept.clear()
        super().close()

    def wait_for(self, batch: Batch, timeout_s: float | None) -> None:
        """Wait until the batch is done; raise what any batch raised meanwhile."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while not batch.is_done:
            if self._failure is not None:
                raise self._failure
            if deadline_s is not None and time.monotonic() > deadline_s:
                raise timeout_error()
            try:
                own = self._kept.popleft()
            except IndexError:
                taken_back = self._take_back()
                if taken_back is None:
                    self._wait_for_helpers(deadline_s)
                    continue
                own = taken_back
            # What it raises is raised here: joblib stops at the first failure.
            own.value = own.calls()
            own.is_done = True
            self._tell(own)

    def _take_back(self) -> Batch | None:
        """Take back a batch that was given away and that nobody has begun: the core was not idle for long."""
        for batch, future in list(self._open.items())[::-1]:
            if future is None or batch in self._begun or future.done():
                continue
            # Ours from here on, so that its cancellation is not taken for its end.
            if self._open.pop(batch, None) is None:
                continue
            if future.cancel():
                return batch
            self._begun.add(batch)
            self._open[batch] = future
        return None

    def _wait_for_helpers(self, deadline_s: float | None) -> None:
        away = [(batch, future) for batch, future in list(self._open.items())[:WINDOW] if future is not None]
        if not away:
            # Another thread is between settling a batch and dispatching the next.
            time.sleep(MOMENT_S)
            return
        left_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
        if _native.wait_any([future for _, future in away], left_s):
            for batch, future in away:
                if future.done():
                    self._came_back(batch)

    def _permit(self, probed: Any) -> None:
        """Note that a probe was run, so a core is idle. Called by the engine."""
        if not probed.cancelled():
            with self._lock:
                self._permits += 1
            self._give_away()

    def _came_back(self, batch: Batch) -> None:
        """Deal with a batch that was given away and has ended. The engine calls, or the caller if it is sooner."""
        try:
            if not self._settle(batch, self._came_back):
                return
            if batch.error is not None:
                self._failure = self._failure or batch.error
                return
            with self._lock:
                self._permits += 1
            self._tell(batch)
        except Exception as error:
            self._failure = self._failure or error
        self._give_away()

    def _give_away(self) -> None:
        while True:
            with self._lock:
                if self._permits == 0 or self._aborted or self._failure is not None:
                    return
                try:
                    batch = self._kept.popleft()
                except IndexError:
                    return  # the caller was quicker
                self._permits -= 1
            try:
                self._hand_over(batch, self._came_back)
            except Exception as error:
                self._failure = self._failure or error
