"""What a task cannot cost less than: the pieces of its path, each alone."""

from __future__ import annotations

import os
import pickle
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future
from statistics import median

from benches.measure import Measure
from benches.tasks import noop


def _each_us(step: Callable[[], object], *, count: int = 100_000) -> float:
    start = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - start) / count * 1e6


def _call() -> float:
    return _each_us(lambda: noop(1))


def _two_pickles() -> float:
    def there_and_back() -> None:
        function, arguments = pickle.loads(pickle.dumps((noop, (1,)), protocol=5))
        pickle.loads(pickle.dumps(function(*arguments), protocol=5))

    return _each_us(there_and_back, count=50_000)


def _future() -> float:
    def life() -> None:
        future: Future[int] = Future()
        future.set_running_or_notify_cancel()
        future.set_result(1)
        future.result()

    return _each_us(life, count=50_000)


def _socket_round_trip() -> float:
    ours, theirs = socket.socketpair()
    cores = sorted(os.sched_getaffinity(0))
    child = os.fork()
    # On one core the two would hand over without waking anything, which is not what workers do.
    os.sched_setaffinity(0, {cores[-1] if child == 0 else cores[0]})
    if child == 0:
        ours.close()
        while message := theirs.recv(64):
            theirs.send(message)
        os._exit(0)
    theirs.close()
    times = []
    for _ in range(3000):
        start = time.perf_counter()
        ours.send(b"x")
        ours.recv(64)
        times.append(time.perf_counter() - start)
    ours.close()
    os.waitpid(child, 0)
    return median(times) * 1e6


MEASURES = [
    Measure(
        name="floors",
        title="what a task's path is made of, each piece alone in plain Python",
        unit="us",
        contestants={
            "a call of a Python function": _call,
            "call and result, pickled and unpickled": _two_pickles,
            "a Future made, resolved, read": _future,
            "a byte to a process on another core and back": _socket_round_trip,
        },
    )
]
