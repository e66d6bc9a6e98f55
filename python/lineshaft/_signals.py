"""Exceptions that the program's signal handlers raise, such as those of time limits, while our own code runs.

They are whoever's the main thread works for just then, not the outcome of a call that is being submitted.
"""

from __future__ import annotations

import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

__all__ = ["is_raised_by_handler"]


def is_raised_by_handler(error: BaseException) -> bool:
    """Whether an exception came through a function that is a signal handler now."""
    traceback = error.__traceback__
    frames: set[CodeType] = set()
    while traceback is not None:
        frames.add(traceback.tb_frame.f_code)
        traceback = traceback.tb_next
    return any(_code(signal.getsignal(number)) in frames for number in signal.valid_signals())


def _code(handler: object) -> object:
    if callable(handler) and not hasattr(handler, "__code__"):
        handler = getattr(handler, "__func__", type(handler).__call__)
    return getattr(handler, "__code__", None)
