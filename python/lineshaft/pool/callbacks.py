"""The one thread of a pool that runs user callbacks, in order of completion.

It starts with the first callback, so that most pools never have it. Producers (the threads that
complete futures) only append to a queue; a slow or raising callback delays later callbacks and
nothing else.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lineshaft.pool.results import AsyncResult

    Settled = SimpleQueue[AsyncResult[Any] | None]


class CallbackThread:
    """Delivers settled results, one at a time."""

    def __init__(self, name: str) -> None:
        self._name = name
        # A signal handler may join the pool.
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._settled: Settled = SimpleQueue()
        # Results whose callback has not run: what `drain` has to wait for.
        self._expected: set[AsyncResult[Any]] = set()
        self._stopping = False

    def expect(self, result: AsyncResult[Any]) -> None:
        """Announce a result that will be posted when it settles; starts the thread if needed."""
        with self._lock:
            self._expected.add(result)
            if self._thread is None:
                thread = threading.Thread(target=self._deliver_all, name=self._name, daemon=True)
                thread.start()
                self._thread = thread

    @property
    def number_expected(self) -> int:
        """How many results have a callback that has not run."""
        return len(self._expected)

    def post(self, result: AsyncResult[Any]) -> None:
        """Queue a settled result; called by whichever thread completed its last future."""
        self._settled.put(result)

    def drain(self) -> None:
        """Wait until the callback of every expected result has run, unless the caller is one of them."""
        with self._lock:
            if self._thread is threading.current_thread():
                return
            expected = list(self._expected)
        for result in expected:
            result.wait()

    def stop(self) -> None:
        """End the thread once nothing is expected any more; does not wait."""
        self._stopping = True
        self._settled.put(None)

    def join(self) -> None:
        """Wait for a stopping thread to end, unless it is the caller."""
        with self._lock:
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _deliver_all(self) -> None:
        while True:
            result = self._settled.get()
            if result is not None:
                result.deliver()
            with self._lock:
                if result is not None:
                    self._expected.discard(result)
                if self._stopping and not self._expected:
                    return
            del result  # Nothing of a finished call may stay alive while this thread waits.
