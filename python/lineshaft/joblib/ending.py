"""Daemon threads in calls of ``Parallel`` when the program ends: it does not wait for them, and they say nothing."""

from __future__ import annotations

import threading

from lineshaft import _exit, _native

__all__ = ["is_on_daemon", "stop_with_program"]


def is_on_daemon() -> bool:
    """Whether this thread is one of the user's for which the program's end does not wait."""
    return not _native.is_own_thread() and threading.current_thread().daemon


def stop_with_program() -> None:
    """Go no further if engines end with the program, and this thread is one that does not outlive it.

    The interpreter stops such threads a moment later, wherever they are. That their engine was faster is no error of
    theirs.
    """
    if _exit.engines_end and is_on_daemon():
        threading.Event().wait()
