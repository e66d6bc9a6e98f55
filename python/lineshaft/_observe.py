"""What an engine does and did, for those who want to see it: traces, numbers, pages.

And what `lineshaft run` was asked to show of the program's default engine.
"""

from __future__ import annotations

import atexit
import errno
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lineshaft._engine import Engine
    from lineshaft._native import Engine as NativeEngine
    from lineshaft._traced import Traced


class Observed:
    """What those who look at an engine may ask of it. The picture is kept from the first call on."""

    #: False: it is never served.
    _dashboard: bool | str | None
    _native: NativeEngine | None
    _native_threads: NativeEngine | None

    def trace(self, path: str | os.PathLike[str]) -> Traced:
        """Write what was run so far, where and when, to a file that Perfetto and ``chrome://tracing`` open.

        A track for each lane (a worker process, or one of the threads of a pool), a slice for each attempt of a
        task, and counters of tasks, cores and memory. What was run before the first call of `trace`, `metrics` or
        the like is there as far as the engine's log of events goes back: about 16,000 tasks. After `shutdown`
        the trace is of the whole run, if one of them was called before it.

        Returns
        -------
        Traced
            A named tuple: ``attempts`` in the trace, ``attempts_missing`` that are not, and ``events_missed``,
            of which nothing is known.

        Raises
        ------
        OSError
            If the file cannot be written.
        RuntimeError
            In a worker process, which has no engine of its own.
        """
        from lineshaft._traced import Traced

        return Traced(*self._observed().trace(os.fspath(path)))

    def report(self, path: str | os.PathLike[str]) -> None:
        """Write what was run so far to one HTML file with the dashboard's pages, which opens without a server.

        What is in it is what `dashboard_url` shows: the last 262,144 tasks and attempts, and what is beyond is
        counted. After `shutdown` it is of the whole run, if `report`, `trace`, `metrics` or the like was called
        before it.

        Raises
        ------
        OSError
            If the file cannot be written, or if this build of Lineshaft has no pages.
        RuntimeError
            In a worker process, which has no engine of its own.
        """
        self._observed().report(os.fspath(path))

    def metrics(self) -> str:
        """Return what the engine does in numbers, in the text format of Prometheus.

        Examples
        --------
        >>> import lineshaft as ls
        >>> with ls.Engine(workers=1) as engine:
        ...     print(engine.metrics().splitlines()[0])
        # HELP lineshaft_tasks Tasks that have not ended.
        """
        return self._observed().metrics()

    @property
    def dashboard_url(self) -> str:
        """Address of pages that show what the engine does, for a browser on this machine.

        They are served from the first time that somebody asks, on the loopback interface or where the engine was
        told to: on port 8787, or the next one that is free. They end with the engine.

        Raises
        ------
        RuntimeError
            If the engine was made with ``dashboard=False`` or has been shut down, or in a worker process.
        OSError
            If no port can be had.
        """
        if self._dashboard is False:
            raise RuntimeError("this engine serves no dashboard: it was made with dashboard=False")
        return self._observed().serve(self._dashboard if isinstance(self._dashboard, str) else "127.0.0.1")

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the engine, and a link to its pages if it may have any."""
        from html import escape

        text = escape(repr(self))
        try:
            url = escape(self.dashboard_url)
        except (RuntimeError, OSError):
            return f"<code>{text}</code>"
        return f'<code>{text}</code> <a href="{url}" target="_blank" rel="noopener">dashboard</a>'

    def _observed(self) -> NativeEngine:
        native = self._native or self._native_threads
        if native is None:
            raise RuntimeError("a worker process has no engine of its own: ask the engine that it belongs to")
        return native


#: The process whose default engine serves its dashboard from the start; its forks do not.
_dashboard_pid: int | None = None
#: What is written of default engines when they end: the file for each kind, and the process whose engines these are.
_files: dict[str, str] = {}
_files_pid: int | None = None
#: Default engines that have ended: each has files of its own.
_ended = 0


def check_dashboard(dashboard: object) -> None:
    """Raise unless this says whether there are pages, or is an address that they can be served at."""
    wanted = "dashboard must be True, False or an address such as '0.0.0.0' or '127.0.0.1:9000'"
    if dashboard is None or isinstance(dashboard, bool):
        return
    if not isinstance(dashboard, str):
        raise TypeError(f"{wanted}, not {dashboard!r}")
    import ipaddress

    host, colon, port = dashboard.rpartition(":")
    is_v6 = host.startswith("[") and host.endswith("]")
    # What has a port after it is in brackets if it has colons itself.
    if colon and (is_v6 or ":" not in host):
        has_port = port.isascii() and port.isdecimal() and int(port) < 2**16
        address = (host[1:-1] if is_v6 else host) if has_port else ""
    else:
        address = dashboard
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise ValueError(f"{wanted}, not {dashboard!r}") from None


def announce(engine: Engine) -> None:
    """Serve the dashboard of an engine, and say where."""
    _say(f"dashboard at {engine.dashboard_url}")


def write_default_engine(*, trace: str | None, report: str | None) -> None:
    """Have the default engine of this process write a trace, a report or both when it ends.

    Raises
    ------
    OSError
        If there is no folder for one of them, or it cannot be written to.
    """
    global _files_pid
    wanted = {"trace": trace, "report": report}
    files = {kind: os.path.abspath(path) for kind, path in wanted.items() if path is not None}
    for path in files.values():
        _check_writable(path)
    _files.update(files)
    _files_pid = os.getpid()
    # Before the program can register anything, so that it runs last: by then engines have ended.
    atexit.register(_say_if_nothing_ran)


def _check_writable(path: str) -> None:
    folder = os.path.dirname(path)
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "there is no such folder", folder)
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def _say_if_nothing_ran() -> None:
    if _ended == 0 and _files_pid == os.getpid():
        for kind, path in _files.items():
            _say(f"no {kind} in {path}: the program made no use of Lineshaft's engine")


def serve_default_engine() -> None:
    """Have the default engine of this process serve its dashboard from the start, and say where."""
    global _dashboard_pid
    _dashboard_pid = os.getpid()


def on_default_start(engine: Engine) -> None:
    """Watch the default engine from the start, if somebody wants to know."""
    if _dashboard_pid == os.getpid() and engine._native is not None:
        try:
            announce(engine)
        except OSError as error:
            _say(f"no dashboard: {error}")
    if _files and _files_pid == os.getpid() and engine._native is not None:
        # A trace has no place for stacks.
        engine._native.observe(stacks="report" in _files)


def on_default_end(engine: Engine) -> None:
    """Write down what the default engine did, now that it has ended."""
    global _ended
    if not _files or _files_pid != os.getpid() or engine._native is None:
        return
    _ended += 1
    for kind, first in _files.items():
        stem, extension = os.path.splitext(first)
        path = first if _ended == 1 else f"{stem}-{_ended}{extension}"
        try:
            if kind == "trace":
                said = f"trace in {path}: {engine.trace(path)}"
            else:
                engine.report(path)
                said = f"report in {path}"
        except OSError as error:
            said = f"no {kind} in {error}"
        _say(said)


def _say(text: str) -> None:
    if sys.stderr is not None:
        try:
            print(f"lineshaft: {text}", file=sys.stderr)
        except (OSError, ValueError):
            return  # closed or gone; there is nobody to tell
