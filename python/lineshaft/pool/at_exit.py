"""Pools that the program leaves open are terminated when the interpreter exits.

The standard library does the same, whereas executors wait for their work at exit. An executor's
hook is registered when the first pool makes its executor; the hook here is registered after it and
therefore runs before it.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lineshaft.pool import Pool

_live: weakref.WeakSet[Pool] = weakref.WeakSet()
_registered = False


def terminate_at_exit(pool: Pool) -> None:
    """Have `pool` terminated at exit, if it still exists then."""
    global _registered
    if not _registered:
        _registered = True
        # Private, and the only hook that runs before threads are joined; it may be gone one day.
        register = getattr(threading, "_register_atexit", None)
        if register is not None:
            register(_terminate_all)
    _live.add(pool)


def _terminate_all() -> None:
    for pool in list(_live):
        # A process forked by the program owns none of the workers.
        if pool._owner_pid == os.getpid() and pool._state != "TERMINATE":
            pool.terminate()
