"""What `lineshaft run` was asked to write down of the program's engine, and what came of it."""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lineshaft._engine import Engine


class Traced(NamedTuple):
    """What is in a trace, and what is not.

    Parameters
    ----------
    attempts
        Attempts of tasks that are in it.
    attempts_missing
        Attempts that are not: they are older than what is kept, or their beginning was missed.
    events_missed
        Events that were overwritten before they were read. Of what they told nothing is known.
    """

    attempts: int
    attempts_missing: int
    events_missed: int

    def __str__(self) -> str:
        text = f"{self.attempts:,} attempts"
        if self.attempts_missing:
            text += f", without {self.attempts_missing:,} that were too many to keep"
        if self.events_missed:
            text += f"; {self.events_missed:,} events were missed"
        return text


#: The process whose default engine serves its dashboard from the start; its forks do not.
_dashboard_pid: int | None = None
#: Where the trace of the default engine goes, and the process whose engine that is.
_trace: tuple[str, int] | None = None
#: Traces written so far: each default engine has its own.
_written = 0


def trace_default_engine(path: str) -> None:
    """Have the default engine of this process write a trace when it ends."""
    global _trace
    _trace = (os.path.abspath(path), os.getpid())


def serve_default_engine() -> None:
    """Have the default engine of this process serve its dashboard from the start, and say where."""
    global _dashboard_pid
    _dashboard_pid = os.getpid()


def on_default_start(engine: Engine) -> None:
    """Watch the default engine from the start, if somebody wants to know."""
    if _dashboard_pid == os.getpid() and engine._native is not None:
        try:
            engine._announce_dashboard()
        except OSError as error:
            _say(f"no dashboard: {error}")
    if _trace is not None and _trace[1] == os.getpid() and engine._native is not None:
        engine._native.observe()


def on_default_end(engine: Engine) -> None:
    """Write down what the default engine did, now that it has ended."""
    global _written
    if _trace is None or _trace[1] != os.getpid() or engine._native is None:
        return
    _written += 1
    stem, extension = os.path.splitext(_trace[0])
    path = _trace[0] if _written == 1 else f"{stem}-{_written}{extension}"
    try:
        report = f"trace in {path}: {engine.trace(path)}"
    except OSError as error:
        report = f"no trace: {error}"
    _say(report)


def _say(text: str) -> None:
    if sys.stderr is not None:
        try:
            print(f"lineshaft: {text}", file=sys.stderr)
        except (OSError, ValueError):
            return  # closed or gone; there is nobody to tell
