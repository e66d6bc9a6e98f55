"""Pools that the program leaves open are terminated when the interpreter exits.

The standard library does the same, when all threads that it waits for have ended: until then they may
use their pools. The hook here is registered after the engine's (`lineshaft._exit`) and therefore runs
before it.
"""

from __future__ import annotations

import atexit
import os
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
        atexit.register(terminate_all)
    _live.add(pool)


def terminate_all() -> None:
    """Terminate the pools of this process that were not yet."""
    for pool in list(_live):
        # A process forked by the program owns none of the workers.
        if pool._owner_pid == os.getpid() and pool._state != "TERMINATE":
            pool.terminate()
