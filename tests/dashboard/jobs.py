"""What the tests have workers run: a module that imports next to nothing, since workers import it too."""

import os
import signal
import threading
import time


def double(number):
    return 2 * number


def nap(seconds):
    time.sleep(seconds)
    return seconds


class SlowToLoad:
    def __init__(self, seconds):
        self.seconds = seconds

    def __reduce__(self):
        return nap, (self.seconds,)


class SlowToImport:
    """Loading the first one in a process takes so long, as if modules were imported."""

    def __init__(self, seconds):
        self.seconds = seconds

    def __reduce__(self):
        return once, (self.seconds,)


def once(seconds, done=[]):  # noqa: B006 - the list is there to be kept
    if not done:
        done.append(nap(seconds))
    return 0


class SlowToStore:
    def __init__(self, seconds):
        self.seconds = seconds

    def __reduce__(self):
        return abs, (nap(self.seconds),)


def move(load_s, store_s):
    return SlowToStore(store_s)


def total(numbers):
    return sum(numbers)


def fail(number):
    raise ValueError(number)


def shout(word, event=None):
    print(word.upper(), flush=True)
    if event is not None:
        event.wait()


def crash():
    os.kill(os.getpid(), signal.SIGKILL)


def wait_inside(event):
    return event.wait()


def inner(until):
    while time.monotonic() < until:
        pass


def outer(seconds):
    inner(time.monotonic() + seconds)
    return seconds


def deep(frames, threads, seconds):
    """Compute so deep, beside threads that sleep so deep."""
    over = threading.Event()
    sleeping = [threading.Thread(target=descend, args=(frames, over.wait)) for _ in range(threads)]
    for thread in sleeping:
        thread.start()
    descend(frames, lambda: inner(time.monotonic() + seconds))
    over.set()
    for thread in sleeping:
        thread.join()


def descend(frames, call):
    return descend(frames - 1, call) if frames else call()


def nested(seconds):
    """Waits for a call that takes so long."""
    import lineshaft

    return lineshaft.submit(time.sleep, seconds).result() if seconds else None


def wait_for_call(event):
    """Waits for a call that waits for an event."""
    import lineshaft

    return lineshaft.submit(event.wait).result()
