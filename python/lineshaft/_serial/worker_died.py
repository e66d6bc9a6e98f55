"""`lineshaft.errors.WorkerDied`, apart because the module of its base class is slow to import."""

from __future__ import annotations

import signal as _signal
from concurrent.futures.process import BrokenProcessPool

from lineshaft._size import format_size
from lineshaft.errors import LineshaftError

__all__ = ["WorkerDied"]


class WorkerDied(LineshaftError, BrokenProcessPool):  # noqa: N818 - as BrokenProcessPool
    """A worker process died while it ran a task.

    Parameters
    ----------
    task
        Name of the task that was running, if one was.
    pid
        The process.
    signal
        Number of the signal that killed the process.
    exit_code
        Exit status, if the process exited by itself.
    peak_memory_bytes
        Largest resident set size seen.
    oom_killed
        Whether the kernel's out-of-memory killer did it.
    item
        Which item of a batch it was at, counted from 0.
    stack
        Last Python stack, as text, if one was recorded.

    Examples
    --------
    >>> print(WorkerDied(task="train", signal=9, peak_memory_bytes=3 << 30, oom_killed=True))
    a worker process died while running 'train': killed by SIGKILL by the kernel because memory \
ran out; peak memory 3.0 GiB
    """

    __module__ = "lineshaft.errors"

    def __init__(
        self,
        task: str | None = None,
        *,
        pid: int | None = None,
        signal: int | None = None,
        exit_code: int | None = None,
        peak_memory_bytes: int | None = None,
        oom_killed: bool = False,
        item: int | None = None,
        stack: str | None = None,
    ) -> None:
        super().__init__(task)
        self.task = task
        self.pid = pid
        self.item = item
        self.signal = signal
        self.exit_code = exit_code
        self.peak_memory_bytes = peak_memory_bytes
        self.oom_killed = oom_killed
        self.stack = stack

    def __str__(self) -> str:
        text = "a worker process died"
        if self.task is not None:
            text += f" while running {self.task!r}"
        if self.signal is not None:
            text += f": killed by {_signal_name(self.signal)}"
        elif self.exit_code is not None:
            text += f": exited with status {self.exit_code}"
        if self.oom_killed:
            text += " by the kernel because memory ran out"
        if self.peak_memory_bytes is not None:
            text += f"; peak memory {format_size(self.peak_memory_bytes)}"
        if self.stack:
            text += f"\nlast Python stack of the worker:\n{self.stack.rstrip()}"
        return text


def _signal_name(number: int) -> str:
    try:
        return _signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
