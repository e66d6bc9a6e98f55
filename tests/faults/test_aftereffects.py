"""What goes wrong once does not stay wrong."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import lineshaft as ls

#: So large that it travels in memory of its own, which the worker maps.
SIZE_BYTES = 100_000_000

_SPAWN = multiprocessing.get_context("spawn")


def leave_room(size_bytes: int) -> None:
    """Limit the address space of this process to so much more than it has."""
    taken_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken_bytes + size_bytes, resource.RLIM_INFINITY))


def open_a_pool_without_workers() -> None:
    from lineshaft import _process

    assert _process.session is not None
    _process.session.process_pool(workers=0)


def fail_at_length() -> None:
    raise ValueError("x" * 100_000)


def test_a_worker_without_memory_for_a_definition_is_replaced(make_engine: Callable[..., ls.Engine]) -> None:
    engine = make_engine(workers=1)
    held = bytes(SIZE_BYTES)

    def size() -> int:
        return len(held)

    engine.submit(leave_room, 20_000_000).result()
    with pytest.raises((OSError, MemoryError)):
        engine.submit(size).result()
    assert engine.submit(size).result() == SIZE_BYTES


def test_a_pool_without_workers_is_refused(make_engine: Callable[..., ls.Engine]) -> None:
    engine = make_engine(workers=1)
    with pytest.raises(Exception, match="at least one worker"):
        engine._native.process_pool(name="none", workers=0)
    with pytest.raises(RuntimeError, match="at least one worker"):
        engine.submit(open_a_pool_without_workers).result()
    assert engine.submit(abs, -1).result() == 1


def test_broken_pools_leave_nothing(make_engine: Callable[..., ls.Engine]) -> None:
    engine = make_engine(workers=1)
    assert engine.submit(abs, -1).result() == 1
    before = psutil.Process().num_fds()
    for _ in range(10):
        with ls.ProcessPoolExecutor(1, _SPAWN, initializer=fail_at_length, _engine=engine) as executor:
            assert executor.submit(abs, -1).exception() is not None
    assert engine._native.stats()["memory_bytes"] == 0
    assert psutil.Process().num_fds() <= before
