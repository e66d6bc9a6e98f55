"""`lineshaft.futures.ThreadPoolExecutor`, apart because the module of its base class takes time to import."""

from __future__ import annotations

import concurrent.futures.thread
import itertools
import math

from lineshaft.futures import Executor, usable_cores

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lineshaft._engine import Engine

    _Original = concurrent.futures.thread.ThreadPoolExecutor
else:
    # Under `lineshaft run` the attribute is the class below.
    _Original = vars(concurrent.futures.thread)["ThreadPoolExecutor"]

#: Numbers the thread pools without a name, as `concurrent.futures` does.
_counter = itertools.count()


class ThreadPoolExecutor(Executor, _Original):  # type: ignore[override]
    """Runs calls on threads; a drop-in for `concurrent.futures.ThreadPoolExecutor`.

    Parameters
    ----------
    max_workers
        Threads at most; by default 4 more than cores are usable, at most 32.
    thread_name_prefix
        Start of the threads' names.
    initializer, initargs
        Called on each thread before its first call. If it raises, the pool is broken.

    Examples
    --------
    >>> with ThreadPoolExecutor(2) as executor:
    ...     list(executor.map(len, ["a", "bb"]))
    [1, 2]
    """

    # `isinstance` is all that the base class is for: `loop.set_default_executor` insists on it.
    __module__ = "lineshaft.futures"

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        _engine: Engine | None = None,
    ) -> None:
        super().__init__(max_workers if max_workers is not None else min(32, usable_cores() + 4), initializer, _engine)
        self._thread_name_prefix = thread_name_prefix or f"ThreadPoolExecutor-{next(_counter)}"
        self._pool = self._engine._open_threads(
            math.ceil(self._max_workers),  # a number of any type will do, as ever
            name=self._thread_name_prefix,
            initializer=initializer,
            initargs=tuple(initargs),
        )
        self._shutdown = False

    def _broken_error(self) -> Exception:
        from lineshaft._failures import thread_pool_broken

        return thread_pool_broken()
