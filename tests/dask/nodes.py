"""What the tasks of the tests call; importable by workers."""

import os
import threading
from pathlib import Path


def inc(x):
    return x + 1


def add(x, y):
    return x + y


def fail(x):
    raise ValueError(f"cannot work on {x!r}")


def where(*_):
    """The process and the thread that this runs in."""
    return os.getpid(), threading.get_ident()


def place(_):
    """The working folder, and a variable of the environment."""
    return Path.cwd(), os.environ.get("LINESHAFT_TEST_PLACE")


class Tracked:
    """Counts how many of its kind there are, now and at most."""

    lock = threading.Lock()
    now = most = 0

    def __init__(self, *_):
        with Tracked.lock:
            Tracked.now += 1
            Tracked.most = max(Tracked.most, Tracked.now)

    def __del__(self):
        with Tracked.lock:
            Tracked.now -= 1


class LoadedIn:
    """Knows in which process it was loaded."""

    def __init__(self, pid=None):
        self.pid = pid

    def __reduce__(self):
        return LoadedIn._load, ()

    @staticmethod
    def _load():
        return LoadedIn(os.getpid())

    def again(self):
        return LoadedIn()

    def process(self):
        return self.pid
