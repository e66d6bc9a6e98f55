"""What tests have workers do. Apart, because every worker that does it imports this module."""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any, NoReturn

from tests.events import PATIENCE_S

import lineshaft as ls
from lineshaft.errors import TaskTimeout


class Mailbox:
    """Messages between processes, whichever comes first, sender or receiver."""

    _RECORD_BYTES = 256

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        # What was sent stays in the pipe as long as somebody has it open.
        self._fd: int | None = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_fd": None}

    def _open(self) -> int:
        if self._fd is None:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        return self._fd

    def send(self, text: object = "") -> None:
        """Leave a message for one receiver."""
        record = str(text).encode().ljust(self._RECORD_BYTES)
        if os.write(self._open(), record) != self._RECORD_BYTES:
            raise OSError("a pipe takes small messages whole")

    def receive(self) -> str:
        """Wait for a message. There must be no more receivers at a time than messages will be sent."""
        fd = self._open()
        if not select.select([fd], [], [], PATIENCE_S)[0]:
            raise TimeoutError(f"nothing was sent to {self.path.name}")
        return os.read(fd, self._RECORD_BYTES).decode().rstrip()

    def receive_int(self) -> int:
        """Wait for a message that is a number."""
        return int(self.receive())

    def close(self) -> None:
        """Close this process's end."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def hold(arrived: Mailbox, leave: Mailbox) -> int:
    """Say which process this is, and stay until told to leave."""
    arrived.send(os.getpid())
    leave.receive()
    return os.getpid()


def identity(x: Any) -> Any:
    return x


def square(n: int) -> int:
    return n * n


def slow_square(n: int) -> int:
    time.sleep(0.000_2)
    return n * n


def pid_and_square(n: int) -> tuple[int, int]:
    return os.getpid(), n * n


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def exit_at_once(code: int) -> None:
    os._exit(code)


def read_null() -> None:
    import ctypes

    ctypes.string_at(0)


def abort() -> None:
    os.abort()


def leave_line(path: str, n: int) -> int:
    """Leave a line in a file each time it runs."""
    with Path(path).open("a") as file:
        file.write(f"{n}\n")
    return n


def divide_by_zero() -> None:
    os.kill(os.getpid(), signal.SIGFPE)


def raise_lookup_error(*args: object) -> NoReturn:
    raise LookupError("no such thing", *args)


def raise_system_exit() -> NoReturn:
    raise SystemExit(4)


def spin_forever() -> NoReturn:
    while True:
        pass


def sleep_forever() -> None:
    time.sleep(1e6)


def wait_forever() -> None:
    threading.Event().wait()


def return_at_the_limit() -> str:
    try:
        time.sleep(1e6)
    except TaskTimeout:
        return "partial"
    return "the limit never came"


def ignore_the_limit() -> NoReturn:
    while True:
        with contextlib.suppress(TaskTimeout):
            time.sleep(1e6)


def compute_without_end() -> None:
    """Call into C what neither returns, nor looks for signals, nor lets another thread run."""
    deque(itertools.repeat(0), maxlen=0)


def say_and_compute_without_end(began: Mailbox) -> None:
    began.send(os.getpid())
    compute_without_end()


def compute_without_end_if_told(attempts: Mailbox) -> str:
    if attempts.receive() == "stay":
        compute_without_end()
    return "done"


def sleep_forever_if_told(attempts: Mailbox, else_s: float) -> str:
    if attempts.receive() == "stay":
        time.sleep(1e6)
    time.sleep(else_s)
    return "done"


def die_if_told(attempts: Mailbox) -> str:
    if attempts.receive() == "die":
        kill_self()
    return "done"


def say_and_sleep(began: Mailbox) -> None:
    began.send(os.getpid())
    time.sleep(1e6)


def nap(duration_s: float) -> float:
    time.sleep(duration_s)
    return duration_s


def fill_and_die(megabytes: int) -> None:
    _kept = b"x" * (megabytes << 20)
    kill_self()


def kill_self_at(n: int, fatal: int) -> int:
    if n == fatal:
        kill_self()
    return n


def kill_self_at_each_tenth(n: int) -> int:
    return kill_self_at(n % 10, 9)


def sum_of_nested_squares(n: int, retries: int) -> int:
    task = ls.task(square, retries=retries)
    return sum(future.result() for future in [task.submit(k) for k in range(n)])


def report_of_a_nested_death() -> tuple[int | None, str | None, str | None]:
    from lineshaft.errors import WorkerDied  # slow to import

    try:
        ls.submit(read_null).result()
    except WorkerDied as error:
        return error.signal, error.task, error.stack
    raise AssertionError("the nested task lived")


def leave_nested_tasks_behind(arrived: Mailbox, leave: Mailbox, count: int) -> None:
    _inner = [ls.submit(hold, arrived, leave) for _ in range(count)]
    arrived.receive()
    os._exit(count)


def blob(n: int) -> bytes:
    return bytes([n]) * 200_000


def join(blobs: list[bytes]) -> bytes:
    return b"".join(blobs)


def set_mark() -> None:
    os.environ["MARK"] = str(os.getpid())


def has_mark() -> bool:
    return os.environ.get("MARK") == str(os.getpid())


def raise_pid() -> NoReturn:
    raise LookupError(os.getpid())


def say_line(n: int) -> None:
    print("line", n)


def leak(size_bytes: int) -> int:
    _leaked.append(b"x" * size_bytes)
    return os.getpid()


_leaked: list[bytes] = []
