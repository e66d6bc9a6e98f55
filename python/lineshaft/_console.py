"""What worker processes print and log: sent from there, shown here where this process shows its own."""

from __future__ import annotations

import _pickle as pickle  # what `pickle` exports, without the modules that it imports
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from logging import LogRecord
    from types import ModuleType

    from lineshaft import _native


class Console:
    """Shows output and log records of workers. Called by one thread at a time."""

    def __init__(self) -> None:
        import codecs

        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = (decoder("replace"), decoder("replace"))

    def output(self, is_stderr: bool, data: bytes) -> None:
        """Write what a worker wrote to its standard output or error."""
        stream = sys.stderr if is_stderr else sys.stdout
        if stream is None:
            return
        try:
            stream.write(self._decoders[is_stderr].decode(data))
            stream.flush()
        except (OSError, ValueError):
            pass  # closed: the program wants no output any more

    def log(self, data: bytes) -> None:
        """Handle a record that a worker logged, as if it had been logged here."""
        import logging

        record = logging.makeLogRecord(pickle.loads(data))
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)


def forward_records(logging: ModuleType, session: _native.Session, level: int | None) -> None:
    """Have a worker's log records handled by the engine's process, as its own.

    Parameters
    ----------
    logging
        The module, in the worker, which has just imported it.
    session
        The worker's session.
    level
        Level of the root logger in the engine's process, if it had one when the worker started.
    """

    class Forward(logging.Handler):  # type: ignore[misc, name-defined]
        def emit(self, record: LogRecord) -> None:
            try:
                fields = dict(record.__dict__, msg=record.getMessage(), args=None)
                if record.exc_info:
                    formatter = self.formatter or logging.Formatter()
                    fields["exc_text"] = record.exc_text or formatter.formatException(record.exc_info)
                    fields["exc_info"] = None
                session.log(pickle.dumps(fields))
            except Exception:
                self.handleError(record)

    root = logging.getLogger()
    root.addHandler(Forward())
    if level is not None:
        root.setLevel(level)
