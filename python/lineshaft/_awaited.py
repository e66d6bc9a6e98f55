"""What tasks of this process wait for by means of Python, so that it counts neither as run nor for their core.

`Future.result` says itself that it waits. `concurrent.futures.wait` and `as_completed` wait for an event of their own,
`asyncio` for whatever its loop is told. Both reach for something of the future first: its waiters, or its callbacks.
There the engine's futures call what is here, in tasks on threads, in coroutines and in worker processes only.
"""

from __future__ import annotations

import sys
import threading

from lineshaft import _native

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = ["Waiters", "note"]


class Waiters:
    """The waiters of a future, for a task that is going to wait for it.

    Parameters
    ----------
    future
        The future.
    waiters
        Its waiters.
    """

    __slots__ = ("_future", "_waiters")

    def __init__(self, future: _native.FutureBase, waiters: list[Any]) -> None:
        self._future = future
        self._waiters = waiters

    def append(self, waiter: Any) -> None:
        """Add a waiter; if it has an event or `awaits`, the task counts as blocked while it waits by means of these."""
        event = getattr(waiter, "event", None)
        if type(event) is threading.Event:
            event.__class__ = _Event
            vars(event)["awaits"] = _native.Awaits()
        awaits: _native.Awaits | None = getattr(waiter if event is None else event, "awaits", None)
        if awaits is not None:
            awaits.add(self._future)
        self._waiters.append(waiter)

    def remove(self, waiter: Any) -> None:
        """Take a waiter away."""
        self._waiters.remove(waiter)

    def __contains__(self, waiter: object) -> bool:
        return waiter in self._waiters

    def __iter__(self) -> Iterator[Any]:
        return iter(self._waiters)

    def __len__(self) -> int:
        return len(self._waiters)


class _Event(threading.Event):
    """The event of a waiter of `concurrent.futures`, for which a task waits."""

    awaits: _native.Awaits

    def wait(self, timeout: float | None = None) -> bool:
        wait = super().wait
        if self.is_set() or (timeout is not None and timeout <= 0):
            return wait(timeout)
        is_set: bool = self.awaits.call(wait, timeout)
        return is_set


def note(future: _native.FutureBase, callback: Callable[..., object], in_coroutine: bool) -> bool:
    """Note that a task awaits a future, if `callback` is that by which a future of `asyncio` follows it.

    Parameters
    ----------
    future
        What is awaited.
    callback
        A callback that is about to be added.
    in_coroutine
        Whether this thread is that of an event loop of the engine.

    Returns
    -------
    bool
        Whether it is so, and the event loop says when it waits.
    """
    if getattr(callback, "__module__", None) != "asyncio.futures":
        return False
    asyncio = sys.modules["asyncio"]
    # A function within `asyncio.wrap_future`.
    cells = getattr(callback, "__closure__", None) or ()
    follower = next((cell.cell_contents for cell in cells if asyncio.isfuture(cell.cell_contents)), None)
    if follower is None or follower.get_loop() is not asyncio._get_running_loop():
        return False
    if in_coroutine:
        from lineshaft._event_loop import current_call

        if (call := current_call.get(None)) is not None:
            call.begin_await()
            follower.add_done_callback(lambda _: call.end_await())
        return False
    selector = getattr(follower.get_loop(), "_selector", None)
    try:
        _Select.of(selector).expect(future, follower)
    except AttributeError:  # of loops that are not made in Python
        return False
    return True


class _Select:
    """Stands in for the `select` of a task's event loop, on a thread or in a worker process, while it awaits others.

    An event loop with nothing to do sleeps in there, and there only.
    """

    def __init__(self, selector: Any) -> None:
        self._selector = selector
        self._select = selector.select
        self._awaits = _native.Awaits()
        self._count = 0

    @classmethod
    def of(cls, selector: Any) -> _Select:
        select = selector.select
        if not isinstance(select, cls):
            select = selector.select = cls(selector)
        return select

    def expect(self, future: _native.FutureBase, follower: asyncio.Future[Any]) -> None:
        self._count += 1
        self._awaits.add(future)
        follower.add_done_callback(self._forget)

    def _forget(self, _: object) -> None:
        self._count -= 1
        if self._count == 0:
            del self._selector.select

    def __call__(self, timeout: float | None = None) -> Any:
        if timeout is not None and timeout <= 0:
            return self._select(timeout)
        return self._awaits.call(self._select, timeout)
