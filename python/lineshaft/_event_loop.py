"""The threads on which coroutine tasks of this process run, many at the same time on each.

One is enough as long as coroutines only await. While one of them waits as ordinary functions do, by `Future.result` or
`map`, nothing else runs on its event loop; what it waits for may be a coroutine, which then runs on another.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from contextlib import suppress
from contextvars import ContextVar

from lineshaft._running import EVENT_LOOP_NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lineshaft import _native

#: How long coroutines that are cancelled because the engine ends have to clean up, in seconds.
STOP_GRACE_S = 5.0

#: The call that this coroutine, or whatever it has started, is part of.
current_call: ContextVar[_native.EventLoopCall] = ContextVar("current_call")


class EventLoops:
    """Runs calls on event loops: the first that is not blocked takes them. The first call starts the first."""

    def __init__(self) -> None:
        #: Calls that no loop has begun. Whoever appends wakes a loop; a loop that is about to be blocked, another.
        self.waiting: deque[_native.EventLoopCall] = deque()
        self._loops: list[_Loop] = []
        self._is_stopped = False

    def start(self, call: _native.EventLoopCall) -> None:
        """Begin a call; returns at once. Called from any thread."""
        if self._is_stopped:
            raise RuntimeError("the event loops have been stopped")
        self.waiting.append(call)
        self.wake_one()

    def cancel(self, task: int) -> None:
        """Cancel the call of a task if a loop has begun it; returns at once. Called from any thread."""
        for loop in self._loops:
            loop.cancel(task)

    def wake_one(self) -> None:
        """Have a loop that is not blocked take the calls that wait."""
        loop = next((loop for loop in self._loops if not loop.is_blocked), None)
        if loop is None:
            loop = _Loop(self)
            self._loops.append(loop)
        loop.wake()

    def stop(self, *, wait: bool) -> None:
        """End the loops and their threads. Calls that still run are cancelled; `wait` until they have cleaned up."""
        self._is_stopped = True
        self.waiting.clear()
        for loop in self._loops:
            loop.stop()
        if wait:
            until_s = time.monotonic() + STOP_GRACE_S
            for loop in self._loops:
                loop.join(max(0.0, until_s - time.monotonic()))


class _Loop:
    """An event loop on a thread of its own. What has no comment is called on that thread."""

    def __init__(self, loops: EventLoops) -> None:
        self._loops = loops
        self._loop = asyncio.new_event_loop()
        #: Calls that have begun, by the numbers of their tasks. The loop itself refers to them weakly.
        self._running: dict[int, asyncio.Task[None]] = {}
        #: Told to take calls, by any thread; and about it.
        self._is_awake = self._is_taking = False
        #: Waits of this thread.
        self._blocks = 0
        self._thread = threading.Thread(target=self._serve, name=EVENT_LOOP_NAME, daemon=True)
        self._thread.start()

    @property
    def is_blocked(self) -> bool:
        """Whether its thread waits, or is about to."""
        return self._blocks > 0

    def wake(self) -> None:
        """Have it take calls; from any thread."""
        if not self._is_awake:
            self._is_awake = True
            self._loop.call_soon_threadsafe(self._begin_taking)

    def cancel(self, task: int) -> None:
        """Cancel a call; from any thread."""
        with suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(self._cancel, task)

    def stop(self) -> None:
        """End the loop; from any thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)

    def join(self, timeout_s: float) -> None:
        """Wait for the end of its thread, which may be the caller's."""
        if self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def block(self) -> None:
        """Note that this thread is about to wait: other loops take the calls, those included that wait already."""
        self._blocks += 1
        if (call := current_call.get(None)) is not None:
            call.begin_block()
        if self._loops.waiting:
            self._loops.wake_one()

    def unblock(self) -> None:
        """Note that this thread has waited."""
        if (call := current_call.get(None)) is not None:
            call.end_block()
        self._blocks -= 1

    def runs(self, task: int) -> bool:
        """Whether a task needs this loop to go on."""
        return task in self._running

    def _serve(self) -> None:
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._cancel_all())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()

    async def _cancel_all(self) -> None:
        running = list(self._running.values())
        for task in running:
            if not task.cancelling():  # or else it cleans up already, and is not to be interrupted in that
                task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _cancel(self, task: int) -> None:
        if (running := self._running.get(task)) is not None:
            running.cancel()

    def _begin_taking(self) -> None:
        # Two threads may have woken it.
        if not self._is_taking:
            self._is_taking = True
            self._take()

    def _take(self) -> None:
        """Begin one call. It runs until it awaits before the next is taken: if it blocks, that is left to others."""
        try:
            call = self._loops.waiting.popleft()
        except IndexError:
            self._is_taking = self._is_awake = False
            if self._loops.waiting:  # appended by who found this loop awake
                self.wake()
            return
        if not call.is_unwanted:
            self._begin(call)
        self._loop.call_soon(self._take)

    def _begin(self, call: _native.EventLoopCall) -> None:
        number = call.task
        task = self._loop.create_task(self._run(call))
        self._running[number] = task

        def forget(_: object) -> None:
            # The next attempt of the same task may have begun, if this one was given up.
            if self._running.get(number) is task:
                del self._running[number]

        task.add_done_callback(forget)

    async def _run(self, call: _native.EventLoopCall) -> None:
        current_call.set(call)
        began_s = time.monotonic()
        try:
            value = await call.coroutine(self)
        except BaseException as error:
            call.fail(error, time.monotonic() - began_s)
        else:
            call.finish(value, time.monotonic() - began_s)
