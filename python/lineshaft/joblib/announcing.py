"""`Announcing`: a thread of the run's own is told of each batch that has ended, and dispatches what is next.

For results as a generator, whose consumer may be busy elsewhere. The thread is not the engine's: joblib
reads the user's input on it, which may take as long as it likes, or wait for another call's results.
"""

from __future__ import annotations

import threading
from collections import deque
from queue import SimpleQueue

from lineshaft.joblib.run import Batch
from lineshaft.joblib.singles import Singles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Announcing"]


class Announcing(Singles):
    """Batches whose ends are announced; at most `at_once` of them are with the engine, if that is a number."""

    def __init__(self, *args: Any, at_once: int | None, **others: Any) -> None:
        super().__init__(*args, **others)
        self._at_once = at_once
        #: Batches that are not with the engine yet.
        self._kept: deque[Batch] = deque()
        self._ended: SimpleQueue[Batch | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, calls: Any, callback: Callable[[Batch], object] | None) -> Batch:
        """Take a batch from joblib."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="lineshaft-joblib", daemon=True)
            self._thread.start()
        batch = Batch(calls, callback)
        self._kept.append(batch)
        self._feed()
        return batch

    def close(self) -> None:
        """Drop what is not done."""
        self._kept.clear()
        super().close()
        self._ended.put(None)

    def _feed(self) -> None:
        while self._at_once is None or len(self._open) < self._at_once:
            try:
                batch = self._kept.popleft()
            except IndexError:
                return
            try:
                self._hand_over(batch, self._ended.put)
            except Exception as error:
                # Raised on our thread it would reach nobody, and joblib would wait for ever.
                batch.error, batch.is_done = error, True
                self._ended.put(batch)

    def _serve(self) -> None:
        while (batch := self._ended.get()) is not None:
            if batch.is_done or self._settle(batch, self._ended.put):
                self._feed()
                self._tell(batch)
            del batch  # its results are the consumer's
