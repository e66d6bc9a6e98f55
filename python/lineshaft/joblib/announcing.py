"""`Announcing`: a thread of the run's own is told of each batch that has ended, and dispatches what is next.

For results as a generator, whose consumer may be busy elsewhere. The thread is not the engine's: joblib
reads the user's input on it, which may take as long as it likes, or wait for another call's results.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from functools import partial
from queue import SimpleQueue

from lineshaft import _native
from lineshaft.joblib.run import Batch
from lineshaft.joblib.singles import Singles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["DAEMON", "Announcing"]

#: A program ends with its last thread, and not when all results are there that nobody reads any more.
DAEMON = _native.TaskOptions(daemon=True)


class Announcing(Singles):
    """Batches whose ends are announced; at most `at_once` of them are with the engine, if that is a number."""

    #: Whether workers are to find the batches as they are when joblib dispatches them.
    _as_dispatched = True

    def __init__(self, *args: Any, at_once: int | None, **others: Any) -> None:
        super().__init__(*args, **others)
        #: Batches that are not with the engine yet.
        self._kept: deque[Batch] = deque()
        #: How many more of them may be. Counted here because two threads hand batches over.
        self._room = threading.Semaphore(sys.maxsize if at_once is None else at_once)
        #: What the thread is to do, one after the other, until there is a None.
        self._news: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def submit(self, calls: Any, callback: Callable[[Batch], object] | None) -> Batch:
        """Take a batch from joblib."""
        batch = Batch(calls, callback)
        if self._in_processes and self._as_dispatched:
            try:
                batch.kept = self._keep(*self._call_of(calls))
            except Exception as error:
                batch.error = error  # said when it is the batch's turn
        self._kept.append(batch)
        self._feed()
        return batch

    def close(self) -> None:
        """Drop what is not done."""
        self._kept.clear()
        super().close()
        self._news.put(None)

    def _feed(self) -> None:
        while (batch := self._take()) is not None:
            try:
                self._hand_over(batch, self._announce)
            except Exception as error:
                # Raised on our thread it would reach nobody, and joblib would wait for ever.
                batch.error, batch.is_done = error, True
                self._announce(batch)

    def _take(self) -> Batch | None:
        """Take a batch that there is room for."""
        # Whoever fails to get a place may rely on the one that has it to look again.
        while self._kept and self._room.acquire(blocking=False):
            try:
                return self._kept.popleft()
            except IndexError:
                self._room.release()
        return None

    def _announce(self, batch: Batch) -> None:
        """Have the thread deal with a batch that has ended. The engine calls."""
        self._post(partial(self._end, batch))

    def _end(self, batch: Batch) -> None:
        """Deal with a batch that has ended, unless it has to run again."""
        if batch.is_done or self._settle(batch, self._announce):
            self._leave_place()
            self._feed()
            self._tell(batch)

    def _leave_place(self) -> None:
        """Let another batch take the place of one that has ended."""
        self._room.release()

    def _post(self, news: Callable[[], object]) -> None:
        self._news.put(news)
        if self._thread is None:
            # One that comes too late to be needed ends by the None in the queue.
            with self._starting:
                if self._thread is None:
                    thread = threading.Thread(target=self._serve, name="lineshaft-joblib", daemon=True)
                    thread.start()
                    self._thread = thread

    def _serve(self) -> None:
        while (news := self._news.get()) is not None:
            news()
            del news  # a batch's results are the consumer's
