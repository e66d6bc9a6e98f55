"""The engines of this process that run, and which of them is the default one; what a fork leaves of them."""

from __future__ import annotations

import os
import sys
import threading

from lineshaft import _exit, _native, _observe, _process
from lineshaft.errors import EngineClosed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lineshaft._engine import Engine

__all__ = ["EVENT_LOOP_NAME", "default", "default_engine", "discard", "engines", "lock"]

#: Name of the threads that run coroutine functions.
EVENT_LOOP_NAME = "lineshaft-event-loop"

#: Modules that are imported when an engine starts or a call is submitted that needs them.
_IMPORTED_LATE = (
    "inspect",
    "lineshaft._chunks",
    "lineshaft._console",
    "lineshaft._engine",
    "lineshaft._machine",
    "lineshaft._map",
    "lineshaft._task",
    "lineshaft._threads",
    "lineshaft._serial.exceptions",
    "lineshaft._serial.explain",
    "lineshaft._serial.main_module",
    "lineshaft._serial.namespace",
    "lineshaft._tracker",
    "multiprocessing.resource_tracker",
)

#: Held while an engine starts, and by whoever forks.
lock = threading.RLock()
#: The one that calls without an engine use, if it was started; it may have been closed since.
default: Engine | None = None
#: Those to be ended when the interpreter ends.
engines: set[Engine] = set()


def default_engine(*, for_pool: bool = False) -> Engine:
    """Return the engine that calls without an engine use; start it if there is none.

    Parameters
    ----------
    for_pool
        It is for a `lineshaft.Pool`, which works until the interpreter takes down its modules.
    """
    global default
    if _exit.main_thread_has_ended and not for_pool:
        _check_exit()
    engine = default
    if engine is None or engine.closed:
        with lock:
            from lineshaft._engine import Engine

            if default is None or default.closed:
                default = Engine()
                _observe.on_default_start(default)
            engine = default
    return engine


def discard(engine: Engine) -> None:
    """Forget an engine that ends."""
    global default
    with lock:
        engines.discard(engine)
        if default is engine:
            default = None


def _check_exit() -> None:
    """Refuse what submits although the interpreter ends, except calls that run until then."""
    runs_calls = _native.is_own_thread() or threading.current_thread().name == EVENT_LOOP_NAME
    if default is None or default.closed or not runs_calls:
        raise EngineClosed("cannot schedule new futures after interpreter shutdown")


def _before_fork() -> None:
    # A module whose import another thread has begun can never be imported in the child. So what engines
    # and those who submit import late is imported before, and no engine is just being started.
    lock.acquire()
    if engines and not _is_alone():
        for name in _IMPORTED_LATE:
            __import__(name)


def _is_alone() -> bool:
    """Whether no other thread runs Python code, nor will for a call that ends, so that none imports anything."""
    if _process.is_worker():
        return False  # what answers its nested calls is not its own
    natives = [engine._native for engine in engines]
    is_idle = all(native is None or native.stats()["is_idle"] for native in natives)
    return is_idle and len(sys._current_frames()) == 1


def _after_fork_in_parent() -> None:
    lock.release()


def _after_fork_in_child() -> None:
    global default, lock
    lock = threading.RLock()
    default = None
    engines.clear()


_exit.register()
# After that of `_process`, from which copies of engines know that they are copies, and wait for none of their threads.
os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
