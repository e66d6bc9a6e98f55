"""Threads of BLAS and OpenMP in a worker process, kept to its share of the cores.

Libraries that are loaded later read the variables of the environment; those that are loaded already
are told by `threadpoolctl`, if that is installed. What a user has set wins.
"""

from __future__ import annotations

import os
import sys

from lineshaft._startup import THREAD_VARIABLES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Fixed = tuple[tuple[str, str], ...]

__all__ = ["TBB_VARIABLE", "limit", "set_by_user"]

#: Lets the schedulers of TBB in several processes coordinate.
TBB_VARIABLE = "ENABLE_IPC"
#: Which variable is for which library, in the words of `threadpoolctl`.
_VARIABLE_OF = {
    "blis": "BLIS_NUM_THREADS",
    "mkl": "MKL_NUM_THREADS",
    "openblas": "OPENBLAS_NUM_THREADS",
    "openmp": "OMP_NUM_THREADS",
}

#: The limit that is in force in this worker, once there is one.
_limit: tuple[int, Fixed] | None = None


def set_by_user() -> Fixed:
    """Return the variables of this process's environment that say how many threads to use; not for workers."""
    return tuple((name, os.environ[name]) for name in THREAD_VARIABLES if name in os.environ)


def limit(threads: int, fixed: Fixed = ()) -> None:
    """Let numerical libraries use so many threads in this process from now on, but for what is `fixed`."""
    global _limit
    if _limit == (threads, fixed):
        return
    wanted = {**dict.fromkeys(THREAD_VARIABLES, str(threads)), **dict(fixed)}
    is_new = any(os.environ.get(name) != value for name, value in wanted.items())
    os.environ.update(wanted)
    os.environ.setdefault(TBB_VARIABLE, "1")
    if is_new:
        _tell_loaded(wanted)
    _limit = threads, fixed


def _tell_loaded(wanted: dict[str, str]) -> None:
    if "numpy" not in sys.modules:
        return  # there is hardly a library to be told, and looking for one takes time
    try:
        import threadpoolctl
    except ImportError:
        return
    controller: Any = threadpoolctl.ThreadpoolController()
    for library in controller.lib_controllers:
        # OMP_NUM_THREADS may be a list, one number per level.
        number = wanted.get(_VARIABLE_OF.get(library.internal_api, ""), "").partition(",")[0]
        if number.isdecimal() and int(number) > 0:
            library.set_num_threads(int(number))
