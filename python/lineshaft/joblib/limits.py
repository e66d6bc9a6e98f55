"""Threads of BLAS and OpenMP in a worker process, kept to its share of the cores.

Libraries that are loaded later read the variables of the environment; those that are loaded already
are told by `threadpoolctl`, if that is installed. A user's own setting is never touched: whoever asks
for a limit has looked at `is_set_by_user` before.
"""

from __future__ import annotations

import os
import sys

from lineshaft._engine import THREAD_VARIABLES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["TBB_VARIABLE", "current", "is_set_by_user", "limit"]

#: Lets the schedulers of TBB in several processes coordinate.
TBB_VARIABLE = "ENABLE_IPC"

#: The limit that is in force in this worker; unknown until the first.
_limit: int | None = None


def is_set_by_user() -> bool:
    """Whether a variable of this process's environment says how many threads to use; not for workers."""
    return any(name in os.environ for name in THREAD_VARIABLES)


def current() -> int | None:
    """Return the limit of this worker, as far as it was set here."""
    return _limit


def limit(threads: int) -> None:
    """Let numerical libraries use so many threads in this process from now on."""
    global _limit
    if threads == _limit:
        return
    text = str(threads)
    before = {os.environ.get(name) for name in THREAD_VARIABLES}
    for name in THREAD_VARIABLES:
        os.environ[name] = text
    os.environ.setdefault(TBB_VARIABLE, "1")
    if before != {text} or _limit is not None:
        _tell_loaded(threads)
    _limit = threads


def _tell_loaded(threads: int) -> None:
    if "numpy" not in sys.modules:
        return  # there is hardly a library to be told, and looking for one takes time
    try:
        import threadpoolctl
    except ImportError:
        return
    controller: Any = threadpoolctl.ThreadpoolController()
    for library in controller.lib_controllers:
        library.set_num_threads(threads)
