"""Where output and log records of worker processes are shown: where this process shows its own."""

from __future__ import annotations

import codecs
import logging
import pickle
import sys


class Console:
    """Shows output and log records of workers. Called by one thread at a time."""

    def __init__(self) -> None:
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
        record = logging.makeLogRecord(pickle.loads(data))
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)
