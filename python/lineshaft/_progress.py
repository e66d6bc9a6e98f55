"""A progress bar in plain text, for terminals and notebooks, without dependencies.

The bar appears only when work takes longer than `FIRST_DRAW_S` and only where somebody sees it: on a
stream that is a terminal, or in a notebook. Counting is cheap: the clock is read once per `_step`
updates, where `_step` follows the measured rate and is at most `STEP_MAX`.

A `Progress` belongs to one thread.
"""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING, Any, Final, Self, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

FIRST_DRAW_S: Final = 1.0
REDRAW_S: Final = 0.1
# Where lines cannot be overwritten, each drawing is a line of a log.
REDRAW_LOG_S: Final = 10.0
# Upper limit on updates between two looks at the clock: what a sudden slow-down can hide.
STEP_MAX: Final = 16
BAR_CELLS_MAX: Final = 30
NEVER: Final = sys.maxsize


class Progress:
    """Counts finished tasks and shows how far they are.

    Parameters
    ----------
    total
        Number of tasks, or None if unknown.
    description
        What is being done; starts the line.
    enabled
        True draws in any case, False never; None draws on a terminal or in a notebook.
    stream
        Where to draw; standard error by default.
    clock
        Returns seconds; replaced in tests.

    Examples
    --------
    >>> with Progress(3, "squares", enabled=True, stream=sys.stdout, clock=iter(range(9)).__next__) as bar:
    ...     bar.update(2)
    squares  67% |##############--------| 2/3 [0:01<0:00, 2.0/s]
    squares  67% |##################---------| 2/3 [0:02, 1.0/s]
    """

    def __init__(
        self,
        total: int | None,
        description: str,
        *,
        enabled: bool | None = None,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total
        self._description = description
        self._done = 0
        self._failed = 0
        self._clock = clock
        self._step = 1
        self._next_look = NEVER
        self._surface = _surface(stream if stream is not None else sys.stderr, enabled=enabled)
        if self._surface is not None:
            self._started_s = clock()
            self._next_draw_s = self._started_s + FIRST_DRAW_S
            self._next_look = 1
            self._drawn = False

    @property
    def done(self) -> int:
        """Tasks finished so far, failed ones included."""
        return self._done

    @property
    def failed(self) -> int:
        """Tasks failed so far."""
        return self._failed

    @property
    def total(self) -> int | None:
        """Number of tasks, or None if unknown."""
        return self._total

    @total.setter
    def total(self, total: int | None) -> None:
        self._total = total

    def update(self, n: int = 1) -> None:
        """Count `n` more tasks as finished."""
        done = self._done = self._done + n
        if done >= self._next_look:
            self.refresh()

    def fail(self, n: int = 1) -> None:
        """Count `n` more tasks as finished and failed."""
        self._failed += n
        self.update(n)

    def refresh(self) -> None:
        """Draw if it is time to; for a caller that waits while nothing finishes."""
        if self._surface is None:
            return
        now_s = self._clock()
        elapsed_s = now_s - self._started_s
        if elapsed_s > 0:
            self._step = min(max(1, int(self._done / elapsed_s * REDRAW_S)), STEP_MAX)
        self._next_look = self._done + self._step
        if now_s >= self._next_draw_s:
            self._next_draw_s = now_s + self._surface.redraw_s
            self._draw(elapsed_s, final=False)

    def close(self) -> None:
        """Draw the last state if anything was drawn before; further calls do nothing."""
        surface = self._surface
        if surface is not None and self._drawn:
            self._draw(self._clock() - self._started_s, final=True)
        self._surface = None
        self._next_look = NEVER

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self.close()

    def _draw(self, elapsed_s: float, *, final: bool) -> None:
        assert self._surface is not None, "drawing is for enabled bars"
        line = render(
            done=self._done,
            total=self._total,
            failed=self._failed,
            elapsed_s=elapsed_s,
            description=self._description,
            columns=self._surface.columns(),
            final=final,
        )
        try:
            self._surface.show(line, final=final)
        except (OSError, ValueError):
            # The stream is gone. Progress is no reason to fail the work.
            self._surface = None
            self._next_look = NEVER
        self._drawn = True


def render(
    *,
    done: int,
    total: int | None,
    failed: int,
    elapsed_s: float,
    description: str,
    columns: int,
    final: bool = False,
) -> str:
    """Return the line that shows this state, at most `columns` characters long.

    Examples
    --------
    >>> render(done=25, total=100, failed=2, elapsed_s=5, description="map", columns=60)
    'map  25% |###----------| 25/100 [0:05<0:15, 5.0/s, 2 failed]'
    >>> render(done=7, total=None, failed=0, elapsed_s=2, description="map", columns=60)
    'map 7 [0:02, 3.5/s]'
    """
    rate = done / elapsed_s if elapsed_s > 0 else 0.0
    times = format_time(elapsed_s)
    if total is not None and rate > 0 and not final:
        times += f"<{format_time(max(0, total - done) / rate)}"
    notes = f"[{times}, {format_rate(rate)}" + (f", {failed} failed]" if failed else "]")
    head = f"{description} " if description else ""
    if total is None:
        return f"{head}{done} {notes}"[:columns]
    share = min(1.0, done / total) if total else 1.0
    head += f"{share:4.0%} "
    tail = f"{done}/{total} {notes}"
    cells = min(BAR_CELLS_MAX, columns - len(head) - len(tail) - 3)
    bar = ""
    if cells >= 5:
        full = int(share * cells)
        bar = f"|{'#' * full}{'-' * (cells - full)}| "
    return f"{head}{bar}{tail}"[:columns]


def format_time(seconds: float) -> str:
    """Return a duration as on a clock.

    Examples
    --------
    >>> format_time(7.9), format_time(75), format_time(3700), format_time(100 * 3600)
    ('0:07', '1:15', '1:01:40', '100:00:00')
    """
    minutes, second = divmod(int(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


def format_rate(per_second: float) -> str:
    """Return a rate with two or three digits.

    Examples
    --------
    >>> format_rate(12345.6), format_rate(42.21), format_rate(3.14), format_rate(0.2), format_rate(0)
    ('12346/s', '42/s', '3.1/s', '5.0 s each', '0/s')
    """
    if per_second <= 0:
        return "0/s"
    if per_second < 1:
        return f"{1 / per_second:.1f} s each"
    return f"{per_second:.0f}/s" if per_second >= 10 else f"{per_second:.1f}/s"


class _Terminal:
    """Overwrites one line of a terminal."""

    redraw_s = REDRAW_S

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._width = 0

    def columns(self) -> int:
        # The last column stays free: filling it wraps the line on some terminals.
        return max(20, shutil.get_terminal_size().columns - 1)

    def show(self, line: str, *, final: bool) -> None:
        # Blanks erase the rest of a longer line; not every terminal knows escape sequences.
        self._stream.write(f"\r{line.ljust(self._width)}" + ("\n" if final else ""))
        self._stream.flush()
        self._width = len(line)


class _Log:
    """Writes a line per drawing, for a stream that is not a terminal."""

    redraw_s = REDRAW_LOG_S

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def columns(self) -> int:
        return 60

    def show(self, line: str, *, final: bool) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


class _Notebook:
    """Replaces the output of one display handle of IPython."""

    redraw_s = 2 * REDRAW_S

    def __init__(self, display: Callable[..., Any]) -> None:
        self._display = display
        self._handle: Any = None

    def columns(self) -> int:
        return 100

    def show(self, line: str, *, final: bool) -> None:
        data = {"text/plain": line}
        if self._handle is None:
            self._handle = self._display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)


def _surface(stream: TextIO | None, *, enabled: bool | None) -> _Terminal | _Log | _Notebook | None:
    if enabled is False:
        return None
    display = _notebook_display()
    if display is not None:
        return _Notebook(display)
    if stream is None:
        # Without a console (pythonw) there is no standard error.
        return None
    try:
        terminal = stream.isatty()
    except (AttributeError, ValueError):
        terminal = False
    if terminal:
        return _Terminal(stream)
    return _Log(stream) if enabled else None


def _notebook_display() -> Callable[..., Any] | None:
    # A program in a notebook has imported IPython already; others need not pay for asking.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import display  # type: ignore[import-not-found,unused-ignore]

    show: Callable[..., Any] = display
    return show
