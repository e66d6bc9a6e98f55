"""The batches of one ``Parallel`` call: from joblib's dispatch to their outcomes.

A batch is a `Batch` from `Run.submit` on. Of four ways of running them `backend` chooses one:

* `Waiting`: the thread that called ``Parallel`` waits for the workers itself and dispatches what is
  next. Nobody else is woken for a batch, and the input is read on the user's own thread.
* `Sharing`, for a call inside a batch that names no backend, as joblib's own runs on threads: the batch's thread runs
  inner ones itself, and gives some away as long as other cores are idle. `Joining` is the same on threads, in any task.
* `Announcing`, for results as a generator: a thread of its own is told of each batch that has ended,
  because the caller may be busy elsewhere.
"""

from __future__ import annotations

from lineshaft import _native
from lineshaft._serial.definition import group_of
from lineshaft._serial.parent import all_or_nothing
from lineshaft.joblib.batch import bind, on_thread, under_name
from lineshaft.joblib.mapped import by_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lineshaft.joblib.batch import Surroundings

__all__ = ["Batch", "Run", "modules_of", "timeout_error", "to_be_raised", "was_killed"]

#: Functions whose batches are told apart at a time. Each may be a closure of its own, with much that it holds.
RUNNERS_MAX = 16


class Batch:
    """One batch of calls, as joblib knows it; also the future-like object that joblib keeps."""

    __slots__ = ("callback", "calls", "deaths", "error", "is_done", "kept", "value")

    def __init__(self, calls: Any, callback: Callable[[Batch], object] | None) -> None:
        #: joblib's `BatchedCalls`, or anything else to be called.
        self.calls = calls
        self.callback = callback
        #: What is sent to a worker for them, as they were when joblib dispatched them.
        self.kept: Any = None
        self.deaths = 0
        self.is_done = False
        self.value: Any = None
        self.error: BaseException | None = None

    def result(self) -> Any:
        """Return the results of the calls, or raise what went wrong; only once it is done."""
        try:
            if self.error is not None:
                raise self.error
            return self.value
        finally:
            self.error = self.value = None


class Run:
    """What the ways of running have in common.

    Parameters
    ----------
    pool
        Where batches are submitted.
    in_processes
        Whether that is a pool of worker processes.
    surroundings
        For calls in worker processes.
    """

    def __init__(self, pool: _native.Pool, *, in_processes: bool, surroundings: Surroundings) -> None:
        self._pool = pool
        self._in_processes = in_processes
        self._surroundings = surroundings
        #: The batches of a call are often given the same arrays.
        self._arrays = pool.keep_arrays()
        #: What runs batches of one function, by the function's identity or by its group.
        self._runners: dict[object, Callable[..., Any]] = {}
        #: Whether calls of the batch that was looked at last could see what other calls changed in place.
        self._keeps_state = False
        self._aborted = False

    def submit(self, calls: Any, callback: Callable[[Batch], object] | None) -> Batch:
        """Take a batch from joblib."""
        raise NotImplementedError

    def wait_for(self, batch: Batch, timeout_s: float | None) -> None:
        """Wait until the batch is done; raise what any batch raised meanwhile."""
        raise NotImplementedError

    def close(self) -> None:
        """Drop what is not done, also what runs in worker processes of this process's engine."""
        self._aborted = True
        self._arrays = None

    def _call_of(self, calls: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Return what a worker or a thread is to call for a batch."""
        items = getattr(calls, "items", None)
        if not isinstance(items, list) or not items:
            self._keeps_state = True
            return calls, ()
        functions = [function for function, _, _ in items]
        function = functions[0]
        group = group_of(function)
        if not self._in_processes:
            return self._runner(group, group, on_thread), (calls,)
        # joblib's users rely on it that a batch finds globals as they are when it is dispatched.
        identity = _identity(function)
        self._keeps_state = self._pool.look_again() or identity is None
        if identity is None or any(_identity(other) != identity for other in functions):
            return self._runner(group, group, under_name), (items, self._surroundings)
        calls_of_it = [(args, kwargs) for _, args, kwargs in items]
        return self._runner(identity, function, bind), (calls_of_it, self._surroundings)

    def _keep(self, function: Callable[..., Any], arguments: Any, *, each: bool = False) -> _native.KeptCall:
        """Pickle a call as it is now; what cannot be sent is said once it is submitted."""
        with by_name(), all_or_nothing():
            return _native.KeptCall(self._pool, function, arguments, each=each)

    def _runner(self, key: object, of: Any, make: Callable[[Any], Callable[..., Any]]) -> Callable[..., Any]:
        runner = self._runners.get(key)
        if runner is None:
            # A bound function is kept by its runner, so its identity stays its own as long as that is here.
            runner = self._runners[key] = make(of)
            if len(self._runners) > RUNNERS_MAX:
                del self._runners[next(iter(self._runners))]
        return runner


def to_be_raised(error: BaseException, batches: list[Batch]) -> BaseException:
    """Return the error of batches in the words of who called ``Parallel``.

    What cannot be sent is an argument of one of the calls; the death of a worker is caught as joblib's as well, and so
    is an initializer that raised.
    """
    from concurrent.futures.process import BrokenProcessPool

    from lineshaft.errors import SerializationError, WorkerDied

    if isinstance(error, WorkerDied):
        from lineshaft.joblib import died

        error.__class__ = died.WorkerDied
    elif isinstance(error, BrokenProcessPool):
        from lineshaft.joblib import died

        error.__class__ = died.TerminatedWorkerError
    if isinstance(error, SerializationError) and not error.was_sent:
        from lineshaft._serial.unsendable import unsendable_call

        for batch in batches:
            for function, args, kwargs in getattr(batch.calls, "items", ()):
                found = unsendable_call(function, args, kwargs, error)
                if found is not None:
                    return found
    return error


def was_killed(error: BaseException) -> bool:
    """Whether the worker was killed from outside or for want of memory, and not by what it ran."""
    import signal

    from lineshaft.errors import WorkerDied

    from_outside = (signal.SIGKILL, signal.SIGTERM)
    return isinstance(error, WorkerDied) and (error.oom_killed or error.signal in from_outside)


def timeout_error() -> BaseException:
    """Make the error that joblib raises when results take too long."""
    from multiprocessing import TimeoutError as JoblibTimeout

    return JoblibTimeout()


def _plain() -> None: ...


#: Types whose instances never change in a way that workers have to hear of.
_FUNCTIONS = (type(_plain), type(len), type)
#: Where scikit-learn wraps each function anew for each call, with the configuration of the caller.
_WRAPPERS = "sklearn.utils.parallel"


def modules_of(calls: Any) -> tuple[str, ...]:
    """Return the names of the modules that the functions of a batch are from, but for the main module."""
    functions = [item[0] for item in getattr(calls, "items", ())]
    functions += [vars(it).get("function") for it in functions if type(it).__module__ == _WRAPPERS]
    names = {getattr(it, "__module__", None) for it in functions} - {"__main__", "builtins"}
    return tuple(sorted(name for name in names if isinstance(name, str)))


def _identity(function: Any) -> object | None:
    """Return what two functions have in common that are as good as the same; None if that cannot be known."""
    if isinstance(function, _FUNCTIONS):
        return id(function)
    if type(function).__module__ == _WRAPPERS:
        return tuple(id(vars(function).get(part)) for part in ("function", "config", "warning_filters"))
    return None
