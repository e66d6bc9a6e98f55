"""Whether the threads of a call are asleep, looked at now and then.

A thread that sleeps takes no core, and it may sleep until something is done that nobody has begun: what it waits
for only the user's code knows. So who has calls left that nobody has begun asks to be looked after, and is called
again and again, on a thread that is the process's own.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["AWAKE_S", "LOOK_S", "QUIET_S", "Seen", "has_slept", "look_after"]

#: From one look to the next. Who waits for the interpreter's lock tries to get it twice as often, so it is seen to
#: take some time. If its process takes less than a share of a core, nobody has that lock. Who waits for a core for more
#: than that share of the time would compute.
LOOK_S = 0.01
BUSY_SHARE = 0.25
#: Who wakes up now and then, to see whether it may go on, is asleep if it takes less than a part of this time. Who
#: waits for the interpreter's lock gets it within that time, unless it is one of very many.
QUIET_S = 0.1
AWAKE_SHARE = 0.05
#: From one look to the next at who is awake time and again; and at nobody.
AWAKE_S = 0.05
IDLE_S = 0.02
#: Looks in a row with nothing to be looked after until the thread ends.
IDLE_LOOKS_MAX = 50


class Seen:
    """What has been seen of the thread that makes this."""

    __slots__ = ("_clock", "_folder", "_is_asleep", "_is_quiet", "_last", "_window", "thread")

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self._clock = time.pthread_getcpuclockid(self.thread)
        self._folder = f"/proc/self/task/{threading.get_native_id()}/"
        #: When it was last seen, the processor time that it and its process had taken, and its wait for a core.
        self._last = time.monotonic(), time.thread_time(), time.process_time(), self._waited_s()
        #: When a time began after which it is known whether it is quiet.
        self._window = self._last
        self._is_quiet = self._is_asleep = False

    def is_asleep(self) -> bool:
        """Whether it has slept since the last look."""
        try:
            now_s, took_s, all_took_s = time.monotonic(), time.clock_gettime(self._clock), time.process_time()
        except OSError:
            return False  # it has ended
        last_s, last_took_s, last_all_took_s, last_waited_s = self._last
        if now_s - last_s < LOOK_S / 2:
            return self._is_asleep  # somebody has just looked
        waited_s = self._waited_s()
        self._last = now_s, took_s, all_took_s, waited_s
        window_s, used_s = now_s - self._window[0], took_s - self._window[1]
        if window_s >= QUIET_S or used_s > AWAKE_SHARE * QUIET_S:
            self._is_quiet = used_s <= AWAKE_SHARE * window_s
            self._window = self._last
        is_idle = max(all_took_s - last_all_took_s, waited_s - last_waited_s) < BUSY_SHARE * (now_s - last_s)
        # Who is ready to run, and has not been given a core, is not asleep.
        self._is_asleep = (self._is_quiet or is_idle or took_s == last_took_s) and self._state() == "S"
        return self._is_asleep

    def _state(self) -> str:
        return self._read("stat").rpartition(") ")[2][:1]

    def _waited_s(self) -> float:
        """How long it has waited for a core although it could have run; 0 if the kernel does not say."""
        _, _, after = self._read("schedstat").partition(" ")
        return int(after.partition(" ")[0] or 0) * 1e-9

    def _read(self, name: str) -> str:
        try:
            return Path(self._folder + name).read_text(errors="replace")
        except OSError:
            return ""


def has_slept(since_s: float, took_s: float) -> bool:
    """Whether this thread, which had taken so much processor time then, has slept nearly all the time since."""
    return time.thread_time() - took_s <= AWAKE_SHARE * (time.monotonic() - since_s)


_lock = threading.RLock()  # a finalizer may come here at any time
#: What the thread calls, until it returns None.
_looked_after: set[Callable[[], float | None]] = set()
_thread: threading.Thread | None = None


def look_after(look: Callable[[], float | None]) -> None:
    """Have `look` called soon, on a thread of this process, and again within the time that it returns, if any."""
    global _thread
    with _lock:
        _looked_after.add(look)
        if _thread is None:
            thread = threading.Thread(target=_serve, name="lineshaft-joblib", daemon=True)
            # If there can be no thread, none can stand in either.
            with suppress(RuntimeError):
                thread.start()
                _thread = thread


def _serve() -> None:
    global _thread
    idle_looks = 0
    pause_s = LOOK_S
    while True:
        time.sleep(pause_s)
        with _lock:
            looks = list(_looked_after)
            # Whoever asks from now on may have more than what is seen below.
            _looked_after.clear()
            idle_looks = 0 if looks else idle_looks + 1
            if idle_looks > IDLE_LOOKS_MAX:
                _thread = None
                return
        pause_s = _call(looks)
        del looks


def _call(looks: list[Callable[[], float | None]]) -> float:
    """Call each; return in how many seconds the first of them is to be called again."""
    pauses_s = []
    for look in looks:
        try:
            again_s = look()
        except Exception:
            sys.excepthook(*sys.exc_info())  # the others are looked after all the same
            continue
        if again_s is not None:
            pauses_s.append(again_s)
            with _lock:
                _looked_after.add(look)
    return min(pauses_s, default=IDLE_S)


def _after_fork_in_child() -> None:
    global _lock, _thread
    _lock, _thread = threading.RLock(), None
    _looked_after.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)
