"""What a worker process runs for joblib: the calls of one batch, in the surroundings that joblib gives them.

Imports neither joblib nor anything else that takes time. Calls of a batch that use joblib themselves
find the nested backend as the active one, whether the module was there before or they import it.
"""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from importlib import import_module

from lineshaft._modules import imported
from lineshaft._serial.definition import group_of, show_as, shown_as
from lineshaft.joblib import limits
from lineshaft.joblib.results import to_be_sent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType, TracebackType
    from typing import Any

    #: A function, its positional and its keyword arguments.
    Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

__all__ = ["Surroundings", "bind", "on_thread", "probe", "run", "set_config", "under_name"]


class Surroundings:
    """What the calls of a batch find around them; small, because it travels with each batch.

    Parameters
    ----------
    level
        How deep a ``Parallel`` among the calls is nested: 1 below the first.
    threads
        Threads that BLAS and OpenMP may use in each call.
    fixed
        What the user has set of the variables of the environment that say so.
    retries
        How often a batch runs again after its worker was killed.
    """

    __slots__ = ("fixed", "level", "retries", "threads")

    def __init__(self, level: int, threads: int, fixed: tuple[tuple[str, str], ...], retries: int) -> None:
        self.level = level
        self.threads = threads
        self.fixed = fixed
        self.retries = retries

    def __reduce__(self) -> tuple[type[Surroundings], tuple[object, ...]]:
        return Surroundings, (self.level, self.threads, self.fixed, self.retries)


def run(calls: list[Call], surroundings: Surroundings) -> list[Any]:
    """Run the calls of a batch, one after the other; return their results."""
    with _Inside(surroundings):
        return to_be_sent(_call_each(calls))


def bind(function: Callable[..., Any]) -> Callable[..., list[Any]]:
    """Make a function that runs a batch of calls of `function`.

    It is sent to each worker once, so that the batches hold arguments only; and it is shown as
    `function` in summaries and reports of deaths.
    """

    def run_bound(calls: list[tuple[tuple[Any, ...], dict[str, Any]]], surroundings: Surroundings) -> list[Any]:
        with _Inside(surroundings):
            return to_be_sent(_call_each_of(function, calls))

    show_as(run_bound, group_of(function))
    return run_bound


def _call_each(chunk: list[Call]) -> list[Any]:
    # Where a call raises it has come to that one: `_arguments` looks at it.
    items = iter(chunk)
    return [function(*args, **kwargs) for function, args, kwargs in items]


def _call_each_of(function: Callable[..., Any], chunk: list[tuple[tuple[Any, ...], dict[str, Any]]]) -> list[Any]:
    items = iter(chunk)
    return [function(*args, **kwargs) for args, kwargs in items]


def run_here(calls: Callable[[], list[Any]]) -> list[Any]:
    """Run the calls of a batch on a thread of the program; joblib's own object gives them their surroundings."""
    limits.lower_here()
    return calls()


def under_name(group: tuple[str, str]) -> Callable[..., list[Any]]:
    """Make a function that does what `run` does and is shown as one of this module and name."""
    return shown_as(run, group[1], group)


def on_thread(group: tuple[str, str]) -> Callable[..., list[Any]]:
    """Make a function that does what `run_here` does and is shown as one of this module and name."""
    return shown_as(run_here, group[1], group)


def probe(modules: tuple[str, ...]) -> None:
    """Tell, by being run, that a core is idle, and its process ready for calls of functions from these modules.

    A new process has yet to import them, which may take longer than the calls.
    """
    for module in modules:
        # What is wrong with it the calls will say, if they come here.
        with suppress(Exception):
            import_module(module)


class _Active(threading.local):
    surroundings: Surroundings | None = None


_active = _Active()


class _Inside:
    """The calls of a batch run within this."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings

    def __enter__(self) -> None:
        self._outer = _active.surroundings
        _active.surroundings = self._surroundings
        limits.limit(self._surroundings.threads, self._surroundings.fixed)
        parallel = imported("joblib.parallel")
        #: The active backend of joblib as it was; None as long as joblib is not imported.
        self._config: Any = None
        if parallel is not None:
            self._config = getattr(parallel._backend, "config", parallel.default_parallel_config)
            set_config(parallel)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _active.surroundings = self._outer
        parallel = sys.modules.get("joblib.parallel")
        if parallel is not None:
            parallel._backend.config = self._config or parallel.default_parallel_config


def set_config(parallel: ModuleType) -> None:
    """Make the nested backend the active one on this thread, if it runs a batch.

    From then on all other backends mean the engine here, too: threads that a task starts itself do not
    see the active one, and keep to the budget all the same.
    """
    surroundings = _active.surroundings
    if surroundings is None:
        return
    from lineshaft.joblib.backend import LineshaftBackend, serve

    serve(parallel)
    backend = LineshaftBackend.nested(surroundings)
    parallel._backend.config = {**parallel.default_parallel_config, "backend": backend, "n_jobs": None}
