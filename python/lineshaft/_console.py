"""What worker processes print and log: sent from there, shown here where this process shows its own.

A worker's standard output and error are pipes. Its streams are set up as those of the engine's process, whether they
take themselves for a terminal included, so bytes pass unchanged.
"""

from __future__ import annotations

import _pickle as pickle  # what `pickle` exports, without the modules that it imports
import io
import os
import sys
from codecs import utf_8_decode

from lineshaft._modules import imported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from logging import LogRecord
    from types import ModuleType
    from typing import Any

    from lineshaft import _native

#: Types of what every process can load; attributes of log records that the program has not added are of these.
_PLAIN = frozenset((str, int, float, bool, type(None)))

#: Streams of workers of which the last character may be incomplete. A worker that ends in the midst of one leaves it.
TORN_MAX = 1024


class Console:
    """Shows output and log records of workers. Called by one thread at a time."""

    def __init__(self) -> None:
        #: Beginnings of characters, by worker and stream. Workers write at the same time: the rest of one comes
        #: with the same worker's next bytes, not with the next that come.
        self._torn: dict[tuple[int, bool], bytes] = {}

    def output(self, worker: int, is_stderr: bool, data: bytes) -> None:
        """Write what a worker wrote to its standard output or error."""
        stream = sys.stderr if is_stderr else sys.stdout
        if stream is None:
            return
        try:
            # Only the interpreter's own kind of stream: a program's may do something with each text.
            if isinstance(stream, io.TextIOWrapper) and type(stream).write is io.TextIOWrapper.write:
                stream.flush()  # what was written before comes first
                stream.buffer.write(data)
            else:
                stream.write(self._decode((worker, is_stderr), data))
            stream.flush()
        except (OSError, ValueError):
            pass  # closed: the program wants no output any more

    def _decode(self, source: tuple[int, bool], data: bytes) -> str:
        data = self._torn.pop(source, b"") + data
        text, used = utf_8_decode(data, "replace")
        if used < len(data):
            if len(self._torn) == TORN_MAX:
                del self._torn[next(iter(self._torn))]  # the oldest: its worker has most likely ended
            self._torn[source] = data[used:]
        return text

    def log(self, data: bytes) -> None:
        """Call what a worker wants to be called here, such as what handles a log record."""
        function, arguments = pickle.loads(data)
        function(*arguments)


def handle(fields: dict[str, Any], added: dict[str, bytes | str]) -> None:
    """Handle a record that a worker logged, as if it had been logged here."""
    import logging

    record = logging.makeLogRecord({**fields, **{name: _unpacked(value) for name, value in added.items()}})
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


def describe_streams() -> list[tuple[str, str, bool]]:
    """Describe standard output and error to workers, as arguments of `open_stream`."""
    return [_describe(sys.stdout), _describe(sys.stderr)]


def _describe(stream: Any) -> tuple[str, str, bool]:
    encoding, errors = getattr(stream, "encoding", None), getattr(stream, "errors", None)
    try:
        is_terminal = bool(stream.isatty())
    except (AttributeError, OSError, ValueError):
        is_terminal = False  # there is none, or it is closed
    return (
        encoding if isinstance(encoding, str) else "utf-8",
        errors if isinstance(errors, str) else "backslashreplace",
        is_terminal,
    )


#: In a worker: descriptors to which something may have been written and not been sent.
unflushed: list[int] = []

#: In a worker: says at a descriptor that what is written next is the running task's, or that this is over.
mark: Callable[[int, bool], None] | None = None


def _begin(fd: int) -> None:
    if mark is not None:
        mark(fd, True)
    unflushed.append(fd)


class _Bytes(io.BufferedWriter):
    fd = -1

    def write(self, data: Any) -> int:
        if self.fd not in unflushed:
            _begin(self.fd)
        return super().write(data)


class _Text(io.TextIOWrapper):
    fd = -1
    is_terminal = False

    def write(self, text: str) -> int:
        if self.fd not in unflushed:
            _begin(self.fd)
        return super().write(text)

    def isatty(self) -> bool:
        return self.is_terminal


def open_stream(fd: int, encoding: str, errors: str, is_terminal: bool) -> io.TextIOWrapper:
    """Make a worker's standard output or error."""
    binary = _Bytes(io.FileIO(fd, "w", closefd=False))
    try:
        stream = _Text(binary, encoding, errors, line_buffering=True)
    except LookupError:
        stream = _Text(binary, "utf-8", "backslashreplace", line_buffering=True)
    binary.fd = stream.fd = fd
    stream.is_terminal = is_terminal
    return stream


def inherit_streams(streams: list[tuple[str, str, bool]]) -> None:
    """Make the streams of a fork of the program, from what `describe_streams` returned there.

    A program's own kind of stream stays if it writes to the descriptor, which is a pipe by now. Others, of a test
    runner or a notebook, write to where nobody in this process reads.
    """
    for fd, (name, description) in enumerate(zip(("stdout", "stderr"), streams, strict=True), 1):
        inherited = getattr(sys, name)
        try:
            is_ours = inherited.fileno() == fd
        except (AttributeError, OSError, ValueError):
            is_ours = False
        if is_ours and isinstance(inherited, io.TextIOWrapper):
            inherited.reconfigure(line_buffering=True)  # for whoever has kept it, such as a log handler
        elif is_ours:
            continue
        stream = open_stream(fd, *description)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def flush() -> None:
    """Send what this worker's streams hold back."""
    written = unflushed.copy()
    unflushed.clear()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass  # replaced or closed by a task
    if mark is not None:
        for fd in written:
            mark(fd, False)


def log_levels() -> dict[str, int]:
    """Return the levels that loggers of this process were given, by name; of the root, whose name is empty, always."""
    logging = imported("logging")
    if logging is None:
        return {}
    root = logging.getLogger()
    levels = {"": root.level}
    for name, logger in list(root.manager.loggerDict.items()):
        # A name of which only longer ones are in use stands for no logger.
        level = getattr(logger, "level", 0)
        if level:
            levels[name] = level
    return levels


def _added(fields: dict[str, Any]) -> list[str]:
    return [name for name, value in fields.items() if type(value) not in _PLAIN]


def _packed(value: object) -> bytes | str:
    """Pickle an attribute of a record; what cannot be pickled is sent as the text that stands for it."""
    try:
        return pickle.dumps(value)
    except Exception:
        try:
            return repr(value)
        except Exception as error:
            return f"<{type(value).__name__}: its repr() raised {type(error).__name__}>"


def _unpacked(data: bytes | str) -> Any:
    if isinstance(data, str):
        return data
    try:
        return pickle.loads(data)
    except Exception as error:
        return f"<cannot be loaded: {type(error).__name__}: {error}>"


def forward_records(logging: ModuleType, session: _native.Session, levels: dict[str, int]) -> None:
    """Have a worker's log records handled by the engine's process, as its own.

    Parameters
    ----------
    logging
        The module, in the worker, which has just imported it.
    session
        The worker's session.
    levels
        What `log_levels` returned in the engine's process before the worker started.
    """

    class Forward(logging.Handler):  # type: ignore[misc, name-defined]
        def emit(self, record: LogRecord) -> None:
            try:
                fields = dict(record.__dict__, msg=record.getMessage(), args=None)
                if record.exc_info:
                    formatter = self.formatter or logging.Formatter()
                    fields["exc_text"] = record.exc_text or formatter.formatException(record.exc_info)
                    fields["exc_info"] = None
                # Each by itself: one that cannot be sent is no reason to lose the record.
                added = {name: _packed(fields.pop(name)) for name in _added(fields)}
                session.log(pickle.dumps((handle, (fields, added))))
            except Exception:
                self.handleError(record)

    root, forward = logging.getLogger(), Forward()
    root.addHandler(forward)
    # What a child that a task forks logs is not the worker's to send: it goes where that of a program
    # without handlers does.
    os.register_at_fork(after_in_child=lambda: root.removeHandler(forward))
    for name, level in levels.items():
        logging.getLogger(name or None).setLevel(level)
