"""The thread on which coroutine tasks of this process run, many at the same time."""

from __future__ import annotations

import asyncio
import threading
import time

from lineshaft._engine import EVENT_LOOP_NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lineshaft import _native


class EventLoop:
    """An event loop on a thread of its own, started with the first call and ended by `stop`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        #: Keeps running calls alive; the loop itself refers to them weakly.
        self._running: set[asyncio.Task[None]] = set()
        threading.Thread(target=self._serve, name=EVENT_LOOP_NAME, daemon=True).start()

    def start(self, call: _native.EventLoopCall) -> None:
        """Begin a call; returns at once. Called from any thread."""
        self._loop.call_soon_threadsafe(self._begin, call)

    def stop(self) -> None:
        """End the loop and its thread; returns at once. Calls that still run are cancelled."""
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _serve(self) -> None:
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._cancel_all())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()

    async def _cancel_all(self) -> None:
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _begin(self, call: _native.EventLoopCall) -> None:
        task = self._loop.create_task(self._run(call))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, call: _native.EventLoopCall) -> None:
        began_s = time.monotonic()
        try:
            value = await call.coroutine()
        except BaseException as error:
            call.fail(error, time.monotonic() - began_s)
        else:
            call.finish(value, time.monotonic() - began_s)
