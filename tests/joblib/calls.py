"""What the tests have `Parallel` call; importable by workers."""

import os
import signal
import threading
import time
from pathlib import Path

from tests.events import FileEvent

from joblib import Parallel, delayed


def square(x):
    return x * x


def fail_at(bad, x):
    if x == bad:
        raise ValueError(f"at {x}")
    return x


def make_lock():
    return {"lock": threading.Lock()}


def where(_=None):
    return os.getpid()


def thread_name(_=None):
    return threading.current_thread().name


def append(to, value):
    to.append(value)
    return value


def wait_for(event, value=None):
    event.wait()
    return value


def enter_and_wait(entered, leave):
    entered.set()
    leave.wait()
    return os.getpid()


def meet(folder, own, others, patience_s=30):
    """Return once all `others` are here too, so at the same time as this; compute until then."""
    FileEvent(folder / own).set()
    deadline_s = time.monotonic() + patience_s
    while not all(FileEvent(folder / name).is_set() for name in others):
        if time.monotonic() > deadline_s:
            return False
        sum(range(2000))
    return True


def meet_asleep(folder, own, others, patience_s=30):
    """Return once all `others` are here too; sleep until then."""
    FileEvent(folder / own).set()
    try:
        return all(FileEvent(folder / name).wait(patience_s) for name in others)
    except AssertionError:
        return False


def die(how, mark=None, value=None):
    """Die by signal `how`; with `mark`, a file, only the first time."""
    if mark is not None:
        try:
            Path(mark).touch(exist_ok=False)
        except FileExistsError:
            return value
    os.kill(os.getpid(), how)
    return signal.pause()


def inner(n_jobs, tasks, **options):
    return Parallel(n_jobs=n_jobs, **options)(delayed(square)(x) for x in range(tasks))


def inner_sum(depth, n_jobs):
    """Nest `depth` levels of calls; every leaf counts 1."""
    if depth == 0:
        return 1
    return sum(Parallel(n_jobs=n_jobs)(delayed(inner_sum)(depth - 1, n_jobs) for _ in range(3)))


def inner_pair(folder, names, **options):
    """Run two calls that only return when both run at the same time."""
    return Parallel(n_jobs=2, **options)(delayed(meet)(folder, name, names, 20) for name in names)
