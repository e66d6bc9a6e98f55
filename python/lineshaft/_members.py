"""Private attributes of the standard library's executors and pools that programs read all the same.

Each is a snapshot: workers are the engine's, which starts and replaces them as it needs them.
"""

from __future__ import annotations

import os
import select
import signal
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lineshaft import _native
    from lineshaft.futures import Executor

__all__ = ["Backlog", "PendingCalls", "WorkerProcess", "name_of_worker", "processes_of", "threads_named"]


class WorkerProcess:
    """A worker as programs know it from `multiprocessing.Process`; its `pid` is None until it is started.

    Examples
    --------
    >>> WorkerProcess(os.getpid()).is_alive(), WorkerProcess(None).is_alive()
    (True, False)
    """

    daemon = True

    def __init__(self, pid: int | None) -> None:
        self.pid = pid
        self.ident = pid
        self.name = name_of_worker(pid)
        #: A pidfd, from the first time on that it is needed: whoever counts workers needs none.
        self._descriptor: int | None = None
        self._signalled_by: int | None = None
        self._closed = False

    @property
    def sentinel(self) -> int:
        """A descriptor that can be read once it has ended, for `multiprocessing.connection.wait`."""
        self._check_open()
        if self.pid is None:
            raise ValueError("process not started")
        if self._descriptor is None:
            try:
                self._descriptor = os.pidfd_open(self.pid)
            except ProcessLookupError:
                # It can be read at once, and nothing can be sent to it.
                self._descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        return self._descriptor

    @property
    def exitcode(self) -> int | None:
        """None until it has ended. Then minus the signal that ended it, if that was sent from here.

        Otherwise 255, by which `multiprocessing` says that it cannot know: workers are no children of the
        program.
        """
        if self.pid is None or not self._has_ended_within(0):
            return None
        return 255 if self._signalled_by is None else -self._signalled_by

    def is_alive(self) -> bool:
        """Whether it runs."""
        self._check_open()
        return self.pid is not None and not self._has_ended_within(0)

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, at most `timeout` seconds; one that is not started has."""
        self._check_open()
        if self.pid is not None:
            self._has_ended_within(timeout)

    def terminate(self) -> None:
        """End it by SIGTERM; the call that it runs fails, and another worker takes its place."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._signal(signal.SIGKILL)

    def close(self) -> None:
        """Give back what it takes to look after it.

        Raises
        ------
        ValueError
            If it still runs.
        """
        if self._closed:
            return
        if self.is_alive():
            raise ValueError("Cannot close a process while it is still running. Join or terminate it first.")
        self._closed = True
        self._close_descriptor()

    def _signal(self, number: int) -> None:
        if self.is_alive():
            try:
                signal.pidfd_send_signal(self.sentinel, number)
            except ProcessLookupError:
                return
            self._signalled_by = number

    def _has_ended_within(self, timeout_s: float | None) -> bool:
        poll = select.poll()
        poll.register(self.sentinel, select.POLLIN)
        return bool(poll.poll(None if timeout_s is None else max(0.0, timeout_s * 1000)))

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("process object is closed")

    # The default keeps the name reachable while the interpreter shuts down.
    def _close_descriptor(self, _close: Callable[[int], None] = os.close) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            _close(descriptor)

    __del__ = _close_descriptor

    def __repr__(self) -> str:
        return f"<{type(self).__name__} pid={self.pid}>"


def name_of_worker(pid: int | None) -> str:
    """Return what `multiprocessing` calls a worker, in it and in the program."""
    return f"lineshaft-worker-{pid}"


class Backlog:
    """The calls of a pool that have not begun, as far as its workers are all at work."""

    def __init__(self, pool: _native.Pool, workers: float) -> None:
        self._pool = pool
        self._workers = workers

    def qsize(self) -> int:
        """How many there are."""
        _, unfinished = self._pool.stats()
        return max(0, unfinished - int(self._workers))

    def empty(self) -> bool:
        """Whether there is none."""
        return self.qsize() == 0


class PendingCalls:
    """The calls of an executor that have not ended, of which there is only the number."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def __len__(self) -> int:
        return self._executor._unfinished


def processes_of(pool: _native.Pool) -> dict[int, WorkerProcess]:
    """Return the worker processes that a pool has right now, by their ids."""
    pids, _ = pool.stats()
    return {pid: WorkerProcess(pid) for pid in sorted(pids)}


def threads_named(prefix: str) -> set[threading.Thread]:
    """Return the threads of a pool, which have names that start so."""
    return {thread for thread in threading.enumerate() if thread.name.startswith(f"{prefix}_")}
