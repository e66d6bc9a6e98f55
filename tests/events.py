"""Waiting for what happens elsewhere: in other processes, in other threads, in the kernel.

Tests wait for events, never for a time to pass. Where nothing tells that something is so, they look again and again.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Limit of every wait for something that must happen.
PATIENCE_S = 60.0


def eventually(condition: Callable[[], Any], what: str, within_s: float = PATIENCE_S) -> Any:
    """Wait until something is so; return the condition's value."""
    deadline_s = time.monotonic() + within_s
    while not (value := condition()):
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not within {within_s} s: {what}")
        time.sleep(0.002)
    return value


class FileEvent:
    """Like `threading.Event`, for processes that share nothing: a file that exists or not."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def set(self) -> None:
        self.path.touch()

    def is_set(self) -> bool:
        return self.path.exists()

    def wait(self, within_s: float = PATIENCE_S) -> bool:
        """Return True once it is set; raise where a test would otherwise hang."""
        return bool(eventually(self.is_set, f"somebody sets {self.path.name}", within_s))


def enter_and_wait(entered: FileEvent, leave: FileEvent) -> str:
    """Tell that a call has begun and hold it until told otherwise."""
    entered.set()
    leave.wait()
    return "left"
