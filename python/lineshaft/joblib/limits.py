"""Threads of BLAS and OpenMP, kept to a job's share of the cores. What a user has set wins.

In a worker process, libraries that are loaded later read the variables of the environment; those that are
loaded already are told by `threadpoolctl`, if that is installed. Batches that follow find both as they are; before
any other call both are put back. Where jobs are threads of the program, only the libraries are told, and that is
taken back afterwards.
"""

from __future__ import annotations

import os
import sys
import threading

from lineshaft import _process
from lineshaft._startup import THREAD_VARIABLES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Fixed = tuple[tuple[str, str], ...]

__all__ = ["TBB_VARIABLE", "in_force", "limit", "lower", "lower_here", "raise_again", "set_by_user", "unlimit"]

#: Lets the schedulers of TBB in several processes coordinate.
TBB_VARIABLE = "ENABLE_IPC"
#: The module whose functions run batches.
RUNS_BATCHES = "lineshaft.joblib.batch"
#: Which variable is for which library, in the words of `threadpoolctl`.
_VARIABLE_OF = {
    "blis": "BLIS_NUM_THREADS",
    "mkl": "MKL_NUM_THREADS",
    "openblas": "OPENBLAS_NUM_THREADS",
    "openmp": "OMP_NUM_THREADS",
}

#: The limit that is in force in this worker, if there is one.
_limit: tuple[int, Fixed] | None = None
#: What was before, if anything was changed: the variables, and how many threads loaded libraries used.
_before: tuple[dict[str, str | None], list[tuple[Any, int]]] | None = None


def set_by_user() -> Fixed:
    """Return the variables of this process's environment that say how many threads to use; not for workers."""
    return tuple((name, os.environ[name]) for name in THREAD_VARIABLES if name in os.environ)


def in_force() -> tuple[int, Fixed] | None:
    """Return what numerical libraries of this worker are limited to, and what the user has set, while a batch runs."""
    return _limit


def limit(threads: int, fixed: Fixed = ()) -> None:
    """Let numerical libraries use so many threads in calls of this worker, but for what is `fixed`, until `unlimit`."""
    global _before, _limit
    if _limit == (threads, fixed):
        return
    wanted = {**dict.fromkeys(THREAD_VARIABLES, str(threads)), **dict(fixed)}
    # Libraries that a worker was forked with have not read its variables, whatever these say.
    if _limit is None or any(os.environ.get(name) != value for name, value in wanted.items()):
        if _before is None:
            variables = {name: os.environ.get(name) for name in THREAD_VARIABLES}
            _before = variables, [(library, library.num_threads) for library in _loaded()]
            _process.changed.append(_before_call)
        os.environ.update(wanted)
        _tell_loaded(wanted)
    os.environ.setdefault(TBB_VARIABLE, "1")
    _limit = threads, fixed


def unlimit() -> None:
    """Put back what was before there was a limit."""
    global _before, _limit
    if _before is None:
        return
    (variables, used), _before, _limit = _before, None, None
    _process.changed.remove(_before_call)
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    # Those that were loaded meanwhile have found the limit in the environment.
    _tell_loaded({name: value or "" for name, value in variables.items()})
    for library, threads in used:
        library.set_num_threads(threads)


def _before_call(function: Callable[..., Any]) -> None:
    """Unlimit all calls but batches, which set the limit themselves: it often is the one that they find."""
    if getattr(function, "__module__", None) != RUNS_BATCHES:
        unlimit()


def _tell_loaded(wanted: dict[str, str]) -> None:
    for library in _loaded():
        # OMP_NUM_THREADS may be a list, one number per level.
        number = wanted.get(_VARIABLE_OF.get(library.internal_api, ""), "").partition(",")[0]
        if number.isdecimal() and int(number) > 0:
            library.set_num_threads(int(number))


#: What was found when so many modules had been imported: looking takes some milliseconds.
_found: tuple[int, list[Any]] = (0, [])


def _loaded() -> list[Any]:
    """Return the libraries that are loaded, as `threadpoolctl` has them."""
    global _found
    if "numpy" not in sys.modules:
        return []  # there is hardly one, and looking takes time
    if _found[0] != len(sys.modules):
        try:
            import threadpoolctl
        except ImportError:
            return []
        controller: Any = threadpoolctl.ThreadpoolController()
        _found = len(sys.modules), controller.lib_controllers
    return _found[1]


_lock = threading.RLock()  # a finalizer may come here at any time
#: The shares of those whose jobs are threads of this process, at the moment.
_shares: list[int] = []
#: Libraries that were told of them, and how many threads they had used before.
_lowered: list[tuple[Any, int]] = []


def lower(threads: int) -> None:
    """Let libraries of this process use no more threads than that, until `raise_again` is called."""
    with _lock:
        _shares.append(threads)
        if not _lowered:
            free = [each for each in _loaded() if _VARIABLE_OF.get(each.internal_api, "") not in os.environ]
            _lowered.extend((library, library.num_threads) for library in free)
        _tell_lowered()


def raise_again(threads: int) -> None:
    """Take back what `lower` did."""
    with _lock:
        _shares.remove(threads)
        _tell_lowered()
        if not _shares:
            _lowered.clear()


def lower_here() -> None:
    """Do on this thread what `lower` has done: OpenMP has a number of its own for each."""
    with _lock:
        _tell_lowered("openmp")


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.RLock()
    _shares.clear()  # those jobs are the parent's


os.register_at_fork(after_in_child=_after_fork_in_child)


def _tell_lowered(api: str | None = None) -> None:
    share = min(_shares, default=None)
    for library, before in _lowered:
        if api is None or library.user_api == api:
            library.set_num_threads(before if share is None else min(before, share))
