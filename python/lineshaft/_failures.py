"""Exceptions for what happened to tasks. Called from Rust, which knows what happened, not how Python says it."""

from __future__ import annotations

import logging
from concurrent.futures import BrokenExecutor, CancelledError

from lineshaft.errors import EngineClosed, LineshaftError, SerializationError, TaskTimeout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# The name under which concurrent.futures logs the same events.
_LOG = logging.getLogger("concurrent.futures")

#: Kinds of ends of nested calls, as the engine numbers them.
_CANCELLED, _TIMED_OUT, _POOL_BROKEN, _NO_WORKER = 1, 2, 3, 5


def same(value: Any) -> Any:
    """Give back `value`: how the result of a finished future pickles."""
    return value


def cancelled() -> CancelledError:
    """Make the error of a task that was cancelled."""
    return CancelledError()


def timed_out(stack: str | None) -> TaskTimeout:
    """Make the error of a task that exceeded its time limit and had to be stopped by force."""
    message = "the task ran longer than its time limit"
    if stack:
        message += f"; its last stack:\n{stack.rstrip()}"
    return TaskTimeout(message)


def worker_died(
    task: str,
    pid: int,
    signal: int | None,
    exit_code: int | None,
    peak_memory_bytes: int | None,
    oom_killed: bool,
    item: int | None,
    stack: str | None,
) -> Exception:
    """Make the error of a task whose worker died under it."""
    from lineshaft.errors import WorkerDied

    return WorkerDied(
        task=task,
        pid=pid,
        item=item,
        signal=signal,
        exit_code=exit_code,
        peak_memory_bytes=peak_memory_bytes,
        oom_killed=oom_killed,
        stack=stack,
    )


def pool_broken(cause: BaseException | str) -> Exception:
    """Make the error of a task whose pool can start no worker; `cause` is what the initializer raised."""
    from concurrent.futures.process import BrokenProcessPool

    if isinstance(cause, str):
        return BrokenProcessPool(f"no worker process can be started: {cause}")
    error = BrokenProcessPool(f"the initializer of the worker processes raised {type(cause).__name__}: {cause}")
    error.__cause__ = cause
    return error


def thread_pool_broken() -> BrokenExecutor:
    """Make the error of a task whose thread pool has an initializer that raised."""
    from concurrent.futures.thread import BrokenThreadPool

    return BrokenThreadPool("A thread initializer failed, the thread pool is not usable anymore")


def no_worker(text: str) -> LineshaftError:
    """Make the error of a task for which no worker could be started; the system may grant one later."""
    return LineshaftError(f"no worker process could be started: {text}")


def transfer(text: str) -> LineshaftError:
    """Make the error of a task that could not be sent, or whose result could not be taken over."""
    return SerializationError(text)


def poisoned(text: str) -> LineshaftError:
    """Make the error of a task whose engine stopped because of a defect in itself."""
    return LineshaftError(f"the engine stopped after an internal error: {text}")


def closed(text: str) -> EngineClosed:
    """Make the error of using an engine that was shut down."""
    return EngineClosed(f"cannot schedule new futures after shutdown: {text}")


def pool_closed(text: str) -> RuntimeError:
    """Make the error of submitting to an executor that was shut down."""
    return RuntimeError(f"cannot schedule new futures after shutdown: {text}")


def lost(kind: int, message: str) -> BaseException:
    """Make the error of a nested call that did not run to an end."""
    if kind == _CANCELLED:
        return cancelled()
    if kind == _TIMED_OUT:
        return timed_out(message)
    if kind == _POOL_BROKEN:
        return pool_broken(message)
    if kind == _NO_WORKER:
        return no_worker(message)
    return transfer(message)


def callback_raised(future: object, error: BaseException) -> None:
    """Tell that a callback of a future raised."""
    _LOG.error("exception calling callback for %r", future, exc_info=error)


def initializer_raised(error: BaseException) -> None:
    """Tell that the initializer of a pool raised."""
    _LOG.critical("Exception in initializer:", exc_info=error)
