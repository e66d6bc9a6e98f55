"""Memory and processor time of this process and all its descendants, from ``/proc``.

Each page is counted once: private memory by ``Pss_Anon``, which divides a page that several processes share after a
fork, and memory that exists as a file in memory (memfd, ``/dev/shm``) by the machine's ``Shmem``, whether it is mapped
or not. The latter includes other programs of the machine: keep it quiet.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROC = Path("/proc")
SAMPLING_INTERVAL_S = 0.01


def process_tree() -> list[Path]:
    """Return the ``/proc`` directories of this process and its descendants."""
    parents: dict[int, int] = {}
    for directory in PROC.iterdir():
        if directory.name.isdigit():
            with suppress(OSError):
                # The name of the command is in parentheses and may hold anything, parentheses included.
                parents[int(directory.name)] = int((directory / "stat").read_text().rpartition(")")[2].split()[1])
    own = int((PROC / "self").readlink().name)
    tree, found = [own], True
    while found:
        found = False
        for pid, parent in parents.items():
            if parent in tree and pid not in tree:
                tree.append(pid)
                found = True
    return [PROC / str(pid) for pid in tree]


def _field_kb(file: Path, name: str) -> int:
    for line in file.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise LookupError(f"{file} has no field {name}")


def memory_mb() -> float:
    """Return the memory of the process tree in million bytes."""
    private_kb = 0
    for directory in process_tree():
        with suppress(OSError, LookupError):
            private_kb += _field_kb(directory / "smaps_rollup", "Pss_Anon")
    return (private_kb + _field_kb(PROC / "meminfo", "Shmem")) * 1024 / 1e6


def cpu_ms() -> float:
    """Return the processor time that the process tree's living threads have used so far, in milliseconds."""
    nanoseconds = 0
    for directory in process_tree():
        for thread in directory.glob("task/*/schedstat"):
            with suppress(OSError):
                nanoseconds += int(thread.read_text().split()[0])
    return nanoseconds / 1e6


class Peak:
    """The highest memory seen while `watching` was open, beyond what there was before."""

    def __init__(self) -> None:
        self.before_mb = memory_mb()
        self.extra_mb = 0.0

    def look(self) -> None:
        """Take one look."""
        self.extra_mb = max(self.extra_mb, memory_mb() - self.before_mb)


@contextmanager
def watching() -> Iterator[Peak]:
    """Sample the memory of the process tree from a thread until the block ends."""
    peak, done = Peak(), threading.Event()

    def sample() -> None:
        while not done.wait(SAMPLING_INTERVAL_S):
            peak.look()

    thread = threading.Thread(target=sample, name="memory", daemon=True)
    thread.start()
    try:
        yield peak
        peak.look()
    finally:
        done.set()
        thread.join()


def cpu_over(seconds: float) -> float:
    """Return the processor time that the process tree uses in the given time, in milliseconds."""
    before = cpu_ms()
    looking = cpu_ms() - before
    time.sleep(seconds)
    # The second look costs what the first one did, and that is not the pools' doing.
    return max(0.0, cpu_ms() - before - 2 * looking)
