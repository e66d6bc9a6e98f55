"""A progress bar for any ``Parallel``, whatever its backend, while `lineshaft.progress` wants bars.

joblib tells of progress in one place, the method that prints its own messages: it is called after
each task of a sequential call and after each batch of a parallel one.
"""

from __future__ import annotations

import functools
import threading
import weakref

from lineshaft import _process
from lineshaft._bars import is_wanted
from lineshaft._progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

__all__ = ["install"]

#: Where a ``Parallel`` keeps its bar.
_ATTRIBUTE = "_lineshaft_bar"


class _Open(threading.local):
    """Whether a call on this thread shows a bar: those inside it show none."""

    is_any = False


_open = _Open()


class _Bar:
    """The bar of one call; several threads may tell of progress."""

    def __init__(self, description: str, total: int | None) -> None:
        self._lock = threading.Lock()
        self._progress = Progress(total, description, enabled=True)

    def show(self, parallel: Any) -> None:
        """Take over how far a ``Parallel`` is."""
        with self._lock:
            if self._progress.total is None and parallel._original_iterator is None:
                # The input was read to its end: now it is known how much there is.
                self._progress.total = parallel.n_dispatched_tasks
            self._progress.update(parallel.n_completed_tasks - self._progress.done)

    def close(self) -> None:
        """Draw the last state."""
        with self._lock:
            self._progress.close()


def install(module: ModuleType) -> None:
    """Have ``Parallel`` of `joblib.parallel` show bars; once is enough."""
    cls: Any = module.Parallel
    if hasattr(cls.__call__, _ATTRIBUTE):
        return
    call, print_progress = cls.__call__, cls.print_progress

    @functools.wraps(call)
    def call_with_bar(self: Any, iterable: Any) -> Any:
        is_inner = _open.is_any or _process.is_worker() or (self._backend.nesting_level or 0) > 0
        if not is_wanted() or is_inner:
            return call(self, iterable)
        bar = _Bar(str(self), len(iterable) if hasattr(iterable, "__len__") else None)
        setattr(self, _ATTRIBUTE, bar)
        _open.is_any = True
        try:
            output = call(self, iterable)
        except BaseException:
            bar.close()
            raise
        finally:
            _open.is_any = False
        if self.return_generator:
            weakref.finalize(output, bar.close)
        else:
            bar.close()
        return output

    @functools.wraps(print_progress)
    def print_progress_with_bar(self: Any) -> None:
        bar = getattr(self, _ATTRIBUTE, None)
        if bar is not None:
            bar.show(self)
        print_progress(self)

    setattr(call_with_bar, _ATTRIBUTE, True)
    cls.__call__, cls.print_progress = call_with_bar, print_progress_with_bar
