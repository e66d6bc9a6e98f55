"""Daemon threads in calls of ``Parallel`` when the program ends: it does not wait for them, and they say nothing."""

from __future__ import annotations

import functools
import threading

from lineshaft import _exit, _native
from lineshaft.errors import EngineClosed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")

__all__ = ["is_on_daemon", "stops_with_program"]


def is_on_daemon() -> bool:
    """Whether this thread is one of the user's for which the program's end does not wait."""
    return not _native.is_own_thread() and threading.current_thread().daemon


def stops_with_program(step: Callable[P, R]) -> Callable[P, R]:
    """Have a step of a call go no further once engines end with the program, on a thread that does not outlive it.

    The interpreter stops such threads a moment later, wherever they are. That their engine was faster is no error of
    theirs, nor that it ended in the middle of the step.
    """

    @functools.wraps(step)
    def step_until_then(*args: P.args, **kwargs: P.kwargs) -> R:
        _stop_with_program()
        try:
            return step(*args, **kwargs)
        except EngineClosed:
            _stop_with_program()
            raise

    return step_until_then


def _stop_with_program() -> None:
    if _exit.engines_end and is_on_daemon():
        threading.Event().wait()
