"""What a task in a worker process has raised, as Dask raises it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from lineshaft._serial.exceptions import chain_of
from lineshaft.errors import RemoteTraceback

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from lineshaft._serial.exceptions import Frame


def restore(error: BaseException) -> None:
    """Give an exception of a worker process its own cause again.

    Where `tblib` is installed it has its traceback, too, that ends in what the task called, and so have its causes and
    contexts: as with Dask, whose processes use it. Otherwise the last cause is the text of the traceback.
    """
    remote = error.__cause__
    if not isinstance(remote, RemoteTraceback):
        return
    error.__cause__ = remote.cause
    error.__suppress_context__ = remote.suppress_context
    traceback_class = _traceback_class()
    if traceback_class is None:
        _first(error).__cause__ = remote
        return
    for raised, frames in zip(chain_of(error), remote.frames, strict=False):
        if frames:
            raised.__traceback__ = _traceback(frames, traceback_class)


def _traceback_class() -> Callable[[Any], Any] | None:
    try:
        from tblib import Traceback
    except ImportError:
        return None
    found: Callable[[Any], Any] = Traceback
    return found


def _first(error: BaseException) -> BaseException:
    """Return what was raised first of those that are shown with an exception."""
    seen = [error]
    while True:
        last = seen[-1]
        before = last.__cause__ or (None if last.__suppress_context__ else last.__context__)
        if before is None or any(before is other for other in seen):
            return last
        seen.append(before)


def _traceback(frames: list[Frame], traceback_class: Callable[[Any], Any]) -> TracebackType | None:
    made = None
    for file, function, line, module in reversed(frames):
        code = SimpleNamespace(co_filename=file, co_name=function)
        frame = SimpleNamespace(
            f_code=code, f_lineno=line, f_globals={"__name__": module, "__file__": file}, f_locals={}
        )
        made = SimpleNamespace(tb_frame=frame, tb_lineno=line, tb_next=made)
    as_traceback: TracebackType | None = traceback_class(made).as_traceback()
    return as_traceback
