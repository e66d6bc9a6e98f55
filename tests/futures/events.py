"""Events between processes that share nothing: a file that exists or not."""

import time
from collections.abc import Callable
from pathlib import Path


class FileEvent:
    """Like `threading.Event`, for any process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def set(self) -> None:
        self.path.touch()

    def is_set(self) -> bool:
        return self.path.exists()

    def wait(self, timeout_s: float = 30) -> bool:
        """Return True once it is set; raise where a test would otherwise hang."""
        deadline = time.monotonic() + timeout_s
        while not self.is_set():
            if time.monotonic() > deadline:
                raise TimeoutError(f"nobody set {self.path.name} in {timeout_s} s")
            time.sleep(0.002)
        return True


def enter_and_wait(entered: FileEvent, leave: FileEvent) -> str:
    """Tell that a call has begun and hold it until told otherwise."""
    entered.set()
    leave.wait()
    return "left"


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Fail with `what` if `condition` does not come true in half a minute."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)
