"""`task`: a function with options for running it on the engine."""

from __future__ import annotations

import copy
import functools
import inspect
from types import FunctionType

from lineshaft import _native
from lineshaft._engine import Engine, check_engine
from lineshaft._modules import imported
from lineshaft._running import default_engine
from lineshaft._serial.definition import group_of, is_found_by_name, shown_as
from lineshaft._startup import COUNT_END

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, ParamSpec, TypeVar

    from lineshaft.futures import Future

    P = ParamSpec("P")
    T = TypeVar("T")

#: Coroutines that one event loop runs at the same time, unless told otherwise.
COROUTINES_MAX = 1000

#: How long a coroutine may clean up after its time limit, in seconds, until it is given up as a thread's call is.
CLEANUP_S = 10.0

#: Every priority is below this, and none below its negative.
PRIORITY_END = 1 << 31

#: Every number of retries is below this.
RETRIES_END = 1 << 16

#: What futures are looked for in.
CONTAINERS = (dict, list, tuple, set, frozenset)


class Task:
    """A function with options; made by `task`.

    Calling it calls the function, here and now. `submit` and `map` run it on the engine.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        engine: Engine | None = None,
        retries: int = 0,
        backoff: float = 0.0,
        timeout: float | None = None,
        priority: int = 0,
        processes: bool | None = None,
        threads: bool | int | None = None,
    ) -> None:
        _check(
            function,
            retries=retries,
            backoff=backoff,
            timeout=timeout,
            priority=priority,
            processes=processes,
            threads=threads,
        )
        check_engine(engine)
        functools.update_wrapper(self, function)
        self.function = function
        self._engine = engine
        self.retries = retries
        self.backoff = float(backoff)
        self.priority = priority
        self.timeout = timeout
        is_coroutine = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(_call_of(function))
        self._is_coroutine = is_coroutine and not processes
        #: Calls it with the results of futures among its arguments.
        self._call_with_results = _caller_of(function, _await_results if is_coroutine else _call_with_results)
        #: What runs on the engine. It travels to a worker once, so it stays the same.
        self._body = function
        engine_timeout_s = None if timeout is None else float(timeout)
        if is_coroutine and processes:
            self._body = _on_own_loop(function)
        elif is_coroutine and engine_timeout_s is not None:
            self._body = _within(engine_timeout_s, function)
            engine_timeout_s += CLEANUP_S
        self._processes = processes
        self._threads = threads
        self._options = None
        if retries or backoff or timeout is not None or priority:
            self._options = _native.TaskOptions(
                priority=priority,
                retries=retries,
                death_retries=retries,
                backoff_s=float(backoff),
                timeout_s=engine_timeout_s,
            )

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function, here and now."""
        return self.function(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Task:
        """Bind a method that was made a task to its instance, as functions do."""
        bind = getattr(type(self.function), "__get__", None)
        if instance is None or bind is None:
            return self
        return Task(bind(self.function, instance, owner), engine=self._engine, **self._named_options())

    def submit(self, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run ``function(*args, **kwargs)`` on the engine; return its future."""
        return self._submit(self._engine or default_engine(), args, kwargs)

    def _submit(self, engine: Engine, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future[Any]:
        return self._send(self._pool(engine), args, kwargs)

    def _send(self, pool: _native.Pool, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Future[Any]:
        if self._runs_here and (futures := list(_futures((args, kwargs)))):
            # The engine starts it after its own futures; those of another engine it waits for itself.
            return pool.submit(self._call_with_results, (self._body, args, kwargs or {}), None, self._options, futures)  # type: ignore[return-value]
        return pool.submit(self._body, args, kwargs, self._options)  # type: ignore[return-value]

    def map(self, /, *iterables: Iterable[Any], progress: bool | None = None) -> Iterator[Any]:
        """Run the function for each item on the engine; see `lineshaft.map`."""
        from lineshaft._map import map_task

        return map_task(self, iterables, progress=progress)

    def _options_after_failure(self) -> _native.TaskOptions:
        """Make the options of an item that has failed once already, and whose retries need not wait."""
        again = self.retries - 1
        return _native.TaskOptions(priority=self.priority, retries=again, death_retries=again)

    @property
    def _runs_here(self) -> bool:
        return self._is_coroutine or bool(self._threads)

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Go to other processes, where calling it is calling the function, and nested submits keep the options.

        Where a module has it, it goes by name, as its function would: that cannot, for its name is the task's.
        """
        name = getattr(self, "__qualname__", None)
        if isinstance(name, str) and _is_importable(self, name):
            return name
        return functools.partial(Task, **self._named_options()), (self.function,)

    def _named_options(self) -> dict[str, Any]:
        return {
            "retries": self.retries,
            "backoff": self.backoff,
            "timeout": self.timeout,
            "priority": self.priority,
            "processes": self._processes,
            "threads": self._threads,
        }

    def _pool(self, engine: Engine | None = None) -> _native.Pool:
        engine = engine or self._engine or default_engine()
        if self._is_coroutine:
            return engine._pool("coroutines", self._coroutines_max)
        if self._threads:
            return engine._pool("threads", engine.workers if self._threads is True else int(self._threads))
        return engine._pool("processes", engine.workers)

    @property
    def _coroutines_max(self) -> int:
        # One is not True.
        return COROUTINES_MAX if self._threads is None or isinstance(self._threads, bool) else int(self._threads)

    def _slots(self) -> int:
        engine = self._engine or default_engine()
        if self._is_coroutine:
            return self._coroutines_max
        return int(self._threads) if self._threads and self._threads is not True else engine.workers


def _check(
    function: object,
    *,
    retries: Any,
    backoff: Any,
    timeout: Any,
    priority: Any,
    processes: object,
    threads: Any,
) -> None:
    """Raise `TypeError` or `ValueError` for what `Task` cannot be made with."""
    if not callable(function):
        raise TypeError(f"a task needs something to call, not {type(function).__name__}")
    for name, value, kind, what in (
        ("retries", retries, "__index__", "an integer"),
        ("backoff", backoff, "__float__", "a number of seconds"),
        ("timeout", 0 if timeout is None else timeout, "__float__", "a number of seconds"),
        ("priority", priority, "__index__", "an integer"),
        ("threads", 0 if threads is None else threads, "__index__", "an integer, True or False"),
    ):
        if not hasattr(value, kind):
            raise TypeError(f"{name} must be {what}, not {value!r}")
    if not -PRIORITY_END <= priority < PRIORITY_END:
        raise ValueError(f"priority must be an integer of 32 bits, not {priority!r}")
    if not 0 <= retries < RETRIES_END:
        raise ValueError(f"retries must be a small non-negative integer, not {retries!r}")
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout must be a positive number of seconds, not {timeout!r}")
    if processes and threads:
        raise ValueError("a task runs in processes or on threads, not both")
    if threads is not None and not isinstance(threads, bool) and not 1 <= threads < COUNT_END:
        raise ValueError(f"threads must be positive and below 2**32, not {threads!r}")


def task(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Give a function options for running it on the engine; a decorator.

    Parameters
    ----------
    retries
        How often it runs again after it raised, ran out of time, or lost its worker.
    backoff
        Seconds to wait before the first of these runs; doubled for each further one.
    timeout
        Seconds that one run may take. In a worker process `lineshaft.errors.TaskTimeout` is raised
        inside the function; if that does not end it, its worker is killed. A coroutine is cancelled, as
        by `asyncio.timeout`; the future fails, or the next run begins, when it has cleaned up, for which it
        has ten seconds. A thread cannot be stopped: the future fails, what the function still does is ignored.
    priority
        Greater runs earlier.
    processes
        Run it in worker processes; the default, except for coroutine functions: these run together on an
        event loop of this process. If told to, each call runs in a worker process by `asyncio.run`.
    threads
        Run it on threads of this process: True for as many as the engine has workers, or a number.

    Raises
    ------
    TypeError
        If there is no such option or its value has the wrong type.
    ValueError
        If an option makes no sense.

    Examples
    --------
    >>> @task(retries=2, threads=True)
    ... def double(x):
    ...     return 2 * x
    >>> double(4)
    8
    >>> double.submit(4).result()
    8
    >>> list(double.map([1, 2, 3]))
    [2, 4, 6]
    """
    if function is None:
        inspect.signature(Task).bind(function, **options)  # a wrong name is told here, not where the function is
        return functools.partial(task, **options)
    return Task(function, **options)


def _is_importable(task: Task, qualname: str) -> bool:
    """Whether other processes find this very task under its name. Not all of them have the program's main module."""
    cloudpickle = imported("cloudpickle")
    by_value = cloudpickle.list_registry_pickle_by_value() if cloudpickle is not None else ()
    if any(f"{task.__module__}.".startswith(f"{name}.") for name in by_value):
        return False
    return is_found_by_name(task, task.__module__, qualname)


def _futures(value: Any) -> Iterator[Future[Any]]:
    """Yield the futures in `value`, in containers too."""
    stack, seen = [value], set()
    while stack:
        value = stack.pop()
        if isinstance(value, _native.FutureBase):
            yield value  # type: ignore[misc]
        elif isinstance(value, CONTAINERS) and id(value) not in seen:
            seen.add(id(value))
            stack.extend(value.values() if isinstance(value, dict) else value)


def _results(value: Any) -> Any:
    """`value` with the results of futures in their places, in containers too.

    Containers without a future stay the objects that they are: the function may be meant to change them.
    """
    if isinstance(value, _native.FutureBase):
        return value.result()
    if next(_futures(value), None) is None:
        return value
    if isinstance(value, (tuple, frozenset)):
        make = getattr(value, "_make", type(value))  # named tuples take no iterable
        return make(_results(item) for item in value)
    # As a copy it keeps what its type adds, such as the default of a `defaultdict`.
    replaced = copy.copy(value)
    if isinstance(value, dict):
        for key, item in value.items():
            replaced[key] = _results(item)
    elif isinstance(value, list):
        replaced[:] = [_results(item) for item in value]
    else:
        replaced.clear()
        replaced.update(_results(item) for item in value)
    return replaced


def _call_with_results(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    return function(*_results(args), **_results(kwargs))


def _caller_of(function: Callable[..., Any], caller: Any) -> FunctionType:
    """Return what does the same as a function of this module, and is shown as the one that it calls."""
    return shown_as(caller, caller.__name__, group_of(function))


def _call_of(function: object) -> object:
    return getattr(type(function), "__call__", None)  # noqa: B004 - not to ask whether there is one


def _within(timeout_s: float, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def run(*args: Any, **kwargs: Any) -> Any:
        import asyncio

        try:
            async with asyncio.timeout(timeout_s) as limit:
                return await function(*args, **kwargs)
        except TimeoutError:
            if not limit.expired():
                raise  # the function's own
            from lineshaft._event_loop import current_call
            from lineshaft._failures import timed_out

            current_call.get().time_out()

            raise timed_out(None) from None

    return run


def _on_own_loop(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        import asyncio

        return asyncio.run(function(*args, **kwargs))

    return run


async def _await_results(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    for future in _futures((args, kwargs)):
        await future
    return await function(*_results(args), **_results(kwargs))
