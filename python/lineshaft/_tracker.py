"""The resource tracker of `multiprocessing`, of which the program's processes have one.

A tracker is a process that unlinks what those who registered it have left behind, once they are gone: shared memory
above all. Processes that `multiprocessing` starts get the program's. A worker is started long before anybody knows
whether there will be one, so it asks the program when it needs it. With one of its own it would take along what the
program still uses.
"""

from __future__ import annotations

import _pickle as pickle  # what `pickle` exports, without the ten modules that it imports
import _signal  # type: ignore[import-not-found] # `signal` would import `enum`
import os
import select

from lineshaft import _process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lineshaft import _native

#: How long a worker waits for the program's answer, in seconds. Then it has a tracker of its own.
PATIENCE_S = 10.0


def share(resource_tracker: Any, session: _native.Session, program_pid: int) -> None:
    """In a worker, have `multiprocessing.resource_tracker` use the program's tracker once it needs one."""

    class Shared(resource_tracker.ResourceTracker):  # type: ignore[misc]
        _fd: int | None

        def ensure_running(self) -> None:
            self._join()
            super().ensure_running()

        # Not all versions of Python call the above for it.
        def _send(self, *message: str) -> None:
            self._join()
            super()._send(*message)

        def _join(self) -> None:
            # A child that a task forked is no worker.
            if self._fd is None and _process.session is session:
                self._fd = _ask(session, program_pid)

    tracker = resource_tracker._resource_tracker
    tracker.__class__ = Shared
    resource_tracker.ensure_running = tracker.ensure_running


def _ask(session: _native.Session, program_pid: int) -> int | None:
    """Open the pipe to the program's tracker, which the program starts if there is none."""
    answer, question = os.pipe()
    try:
        session.log(pickle.dumps((tell, (f"/proc/{os.getpid()}/fd/{question}",))))
        poller = select.poll()
        poller.register(answer, select.POLLIN)
        if not poller.poll(PATIENCE_S * 1000):
            return None
        number = int(os.read(answer, 32))
        return os.open(f"/proc/{program_pid}/fd/{number}", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return None  # the program ends, or may not be looked into
    finally:
        os.close(answer)
        os.close(question)


def tell(path: str) -> None:
    """In the program, write the number of the descriptor that leads to its tracker to a worker that asks."""
    from multiprocessing import resource_tracker

    # Who starts a tracker unblocks signals, which threads of the engine leave to the main thread.
    mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, ())
    try:
        number = resource_tracker.getfd()
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
    with open(path, "w") as answer:
        answer.write(str(number))
