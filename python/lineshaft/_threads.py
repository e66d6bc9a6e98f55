"""An executor on threads, without the standard library's as a base: its module can be imported too late.

That module registers what the interpreter does when the main thread ends, which is impossible once it has.
"""

from __future__ import annotations

import itertools
import math

from lineshaft._startup import COUNT_END
from lineshaft.futures import Executor, usable_cores

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from typing import Any

    from lineshaft import _native
    from lineshaft._engine import Engine
    from lineshaft._members import Backlog

__all__ = ["Threads"]

#: Numbers the thread pools without a name, as `concurrent.futures` does.
_counter = itertools.count()


class Threads(Executor):
    """Runs calls on threads; see `lineshaft.futures.ThreadPoolExecutor`."""

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        _engine: Engine | None = None,
        _is_of_pool: bool = False,
    ) -> None:
        workers = max_workers if max_workers is not None else min(32, usable_cores() + 4)
        super().__init__(workers, initializer, _engine, is_of_pool=_is_of_pool)
        self._thread_name_prefix = thread_name_prefix or f"ThreadPoolExecutor-{next(_counter)}"
        # Those of a `multiprocessing.pool.ThreadPool` are daemons.
        self._options: dict[str, Any] = {
            "initializer": initializer,
            "initargs": tuple(initargs),
            "for_pool": _is_of_pool,
        }
        self._pool = self._open_pool()
        self._shutdown = False

    def _open_pool(self) -> _native.Pool:
        # A number of any type will do, as ever, and any size: threads start when they are needed.
        workers = math.ceil(min(self._max_workers, COUNT_END - 1))
        return self._engine._open_threads(workers, name=self._thread_name_prefix, **self._options)

    def _interrupt_calls(self) -> None:
        """Interrupt the calls in worker processes that calls on the threads may wait for, as the terminal would."""
        if self._pool is None:
            return
        self._pool.cancel_all(False)
        if not self._pool.wait_idle(0):
            self._engine._interrupt_calls(self._pool)

    def _broken_error(self) -> Exception:
        from lineshaft._failures import thread_pool_broken

        return thread_pool_broken()

    @property
    def _threads(self) -> set[threading.Thread]:
        from lineshaft._members import threads_named

        return threads_named(self._thread_name_prefix)

    @property
    def _work_queue(self) -> Backlog:
        from lineshaft._members import Backlog

        assert self._pool is not None, "threads see the program anyway: their pool is opened at once"
        return Backlog(self._pool, self._max_workers)
