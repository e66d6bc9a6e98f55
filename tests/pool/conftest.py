"""Pools over Lineshaft's engine and over the standard library's executors.

The second kind checks `lineshaft.pool` alone: what fails there is not the engine's fault.
"""

import concurrent.futures
import functools
import gc
import importlib.util
import threading

import pytest
from tests.events import eventually

from lineshaft import pool as front


class _StdlibProcesses(concurrent.futures.ProcessPoolExecutor):
    def terminate_workers(self):
        for process in list((self._processes or {}).values()):
            process.terminate()


def _run_chunk(func, chunk):
    return [func(item) for item in chunk]


def _run_star_chunk(func, chunk):
    return [func(*args) for args in chunk]


class ProcessPoolOverStdlib(front.Pool):
    # The standard library sends functions by name only.
    _over_chunk = staticmethod(lambda func: functools.partial(_run_chunk, func))
    _over_star_chunk = staticmethod(lambda func: functools.partial(_run_star_chunk, func))

    @classmethod
    def _make_executor(cls, processes, initializer, initargs, maxtasksperchild, context):
        context = __import__("multiprocessing").get_context("spawn" if maxtasksperchild else "fork")
        return _StdlibProcesses(
            processes,
            mp_context=context,
            initializer=initializer,
            initargs=initargs,
            max_tasks_per_child=maxtasksperchild,
        )


class ThreadPoolOverStdlib(front.ThreadPool):
    @classmethod
    def _make_executor(cls, processes, initializer, initargs, maxtasksperchild, context):
        return concurrent.futures.ThreadPoolExecutor(processes, initializer=initializer, initargs=initargs)


HAVE_ENGINE = (
    importlib.util.find_spec("lineshaft._native") is not None
    and importlib.util.find_spec("lineshaft.futures") is not None
)
engine = pytest.mark.skipif(not HAVE_ENGINE, reason="lineshaft._native is not built")

PROCESS_POOLS = [
    pytest.param(ProcessPoolOverStdlib, id="processes-stdlib"),
    pytest.param(front.Pool, id="processes", marks=engine),
]
THREAD_POOLS = [
    pytest.param(ThreadPoolOverStdlib, id="threads-stdlib"),
    pytest.param(front.ThreadPool, id="threads", marks=engine),
]


@pytest.fixture(params=PROCESS_POOLS + THREAD_POOLS)
def pool_class(request):
    """Return each kind of pool in turn."""
    return request.param


@pytest.fixture(params=PROCESS_POOLS)
def process_pool_class(request):
    """Return the pools that run calls in other processes."""
    return request.param


@pytest.fixture(params=THREAD_POOLS)
def thread_pool_class(request):
    """Return the pools that run calls in threads."""
    return request.param


@pytest.fixture
def pool(pool_class):
    """Return an open pool of two workers; terminated and joined at the end."""
    made = pool_class(2)
    yield made
    made.terminate()
    made.join()


@pytest.fixture(autouse=True)
def _no_thread_left():
    """Fail a test that leaves a thread of `lineshaft.pool` behind."""
    before = set(threading.enumerate())
    yield
    gc.collect()

    def left():
        return [thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith("lineshaft-")]

    eventually(lambda: not left(), "threads of pools have ended", 5)
