"""A process without descriptors left gets errors that say so, and goes on when there are some again."""

import itertools
import multiprocessing
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.events import eventually
from tests.faults.conftest import worker_pids, zygote_of

import lineshaft as ls
from lineshaft.errors import LineshaftError, SerializationError, WorkerDied

#: What the engine sends for each worker.
WORKER_DESCRIPTORS = 6
#: What the engine opens for a zygote before it starts it, for itself and for the other end.
ZYGOTE_DESCRIPTORS = 2


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    """Let this process open nothing; what is open stays so."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def make(count: int) -> bytearray:
    return bytearray(count)


def numbers(count: int) -> list[int]:
    return list(range(count, count + 40_000))


def table(count: int) -> dict[str, bytearray]:
    return {"small": bytearray(b"1234"), "large": bytearray(count), "larger": bytearray(b"x") * (2 * count)}


@pytest.fixture
def engine() -> Iterator[ls.Engine]:
    with ls.Engine(workers=1) as made:
        assert len(made.submit(make, 10**6).result()) == 10**6  # everything is imported and connected
        yield made


def test_a_worker_that_cannot_be_started(engine):
    with no_more_descriptors():
        died = engine.submit(os._exit, 1).exception(30)
        errors = [future.exception(30) for future in [engine.submit(pow, 2, 2) for _ in range(3)]]
    assert isinstance(died, WorkerDied)
    for error in errors:
        assert isinstance(error, LineshaftError)
        assert "Too many open files" in str(error)
    assert engine.submit(pow, 2, 2).result(30) == 4


def test_a_result_that_cannot_be_received(engine):
    with no_more_descriptors():
        error = engine.submit(make, 10**6).exception(30)
    assert isinstance(error, SerializationError)
    assert "too many open files" in str(error)
    assert "no sense" not in str(error)
    assert engine.submit(pow, 2, 2).result(30) == 4


@pytest.mark.parametrize("function", [make, numbers, table])
def test_more_results_than_descriptors(engine, function):
    """Each has a descriptor while there are enough; the others are copied. They can be arguments all the same."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = 60
    free = (fd for fd in itertools.count() if not os.path.lexists(f"/proc/self/fd/{fd}"))
    *_, last = itertools.islice(free, spare)
    resource.setrlimit(resource.RLIMIT_NOFILE, (last + 1, hard))
    try:
        futures = [engine.submit(function, 10**5 + index) for index in range(2 * spare)]
        lengths = [engine.submit(len, future) for future in futures]
        results = [future.result(30) for future in futures]
        assert [future.result(30) for future in lengths] == list(map(len, results))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert results == [function(10**5 + index) for index in range(2 * spare)]


def test_an_argument_that_cannot_be_stored(engine):
    argument = bytearray(10**6)
    with no_more_descriptors():
        error = engine.submit(len, argument).exception(30)
    assert isinstance(error, OSError)
    assert "Too many open files" in str(error)
    assert engine.submit(len, argument).result(30) == 10**6


def test_a_zygote_that_cannot_watch_a_worker(engine):
    """It has room for what a worker is sent, and none for what tells of the worker's end."""
    (survivor,) = worker_pids(engine)
    zygote = zygote_of(engine)
    limits = zygote.rlimit(resource.RLIMIT_NOFILE)
    free = (fd for fd in itertools.count() if not os.path.lexists(f"/proc/{zygote.pid}/fd/{fd}"))
    *_, last = itertools.islice(free, WORKER_DESCRIPTORS)
    zygote.rlimit(resource.RLIMIT_NOFILE, (last + 1, limits[1]))
    spawn = multiprocessing.get_context("spawn")
    with ls.ProcessPoolExecutor(1, spawn, _engine=engine) as executor:
        assert "Too many open files" in str(executor.submit(pow, 2, 2).exception(30))
    zygote.rlimit(resource.RLIMIT_NOFILE, limits)
    with ls.ProcessPoolExecutor(1, spawn, _engine=engine) as executor:
        assert executor.submit(pow, 2, 2).result(30) == 4
    assert engine.submit(os.getpid).result(30) == survivor
    assert zygote.is_running()


def test_a_zygote_that_cannot_be_started(engine):
    """There is room for its socket and for no more. The other one, and its workers, go on."""
    zygote_of(engine).kill()
    eventually(lambda: not worker_pids(engine), "its workers are gone")
    fork = multiprocessing.get_context("fork")
    with ls.ProcessPoolExecutor(1, fork, _engine=engine) as forked:
        pid = forked.submit(os.getpid).result()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = (fd for fd in itertools.count() if not os.path.lexists(f"/proc/self/fd/{fd}"))
        *_, last = itertools.islice(free, ZYGOTE_DESCRIPTORS)
        resource.setrlimit(resource.RLIMIT_NOFILE, (last + 1, limits[1]))
        try:
            error = engine.submit(pow, 2, 2).exception(30)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert "Too many open files" in str(error)
        assert forked.submit(os.getpid).result() == pid
    assert engine.submit(pow, 2, 2).result(30) == 4
