"""Private attributes of the standard library's executors and pools that programs read all the same.

Each is a snapshot: workers are the engine's, which starts and replaces them as it needs them.
"""

from __future__ import annotations

import os
import signal
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lineshaft import _native

__all__ = ["Backlog", "WorkerProcess", "name_of_worker", "processes_of", "threads_named"]


class WorkerProcess:
    """A worker as programs know it from `multiprocessing.Process`; its `pid` is None until it is started.

    Examples
    --------
    >>> WorkerProcess(os.getpid()).is_alive(), WorkerProcess(None).is_alive()
    (True, False)
    """

    daemon = True
    exitcode = None

    def __init__(self, pid: int | None) -> None:
        self.pid = pid
        self.ident = pid
        self.name = name_of_worker(pid)

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._signal(0)

    def terminate(self) -> None:
        """End it by SIGTERM; the call that it runs fails, and another worker takes its place."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> bool:
        try:
            if self.pid is not None:
                os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return self.pid is not None

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


def processes_of(pool: _native.Pool) -> dict[int, WorkerProcess]:
    """Return the worker processes that a pool has right now, by their ids."""
    pids, _ = pool.stats()
    return {pid: WorkerProcess(pid) for pid in sorted(pids)}


def threads_named(prefix: str) -> set[threading.Thread]:
    """Return the threads of a pool, which have names that start so."""
    return {thread for thread in threading.enumerate() if thread.name.startswith(f"{prefix}_")}
