"""Errors that Lineshaft raises, and the ones that carry what happened in a worker.

Every class here derives from `LineshaftError` and, where Python's own libraries have a name for
the same event, from that class too, so that existing ``except`` clauses keep working. All of them
can be pickled: they travel between nested levels of workers.
"""

from __future__ import annotations

import _pickle as pickle  # what `pickle` exports, without the ten modules that it imports
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lineshaft._serial.unsendable_result import UnsendableResult
    from lineshaft._serial.worker_died import WorkerDied

__all__ = [
    "EngineClosed",
    "LineshaftError",
    "RemoteError",
    "RemoteTraceback",
    "SerializationError",
    "TaskTimeout",
    "UnsendableResult",
    "WorkerDied",
]


class LineshaftError(Exception):
    """Base of all errors that Lineshaft itself raises."""


class SerializationError(LineshaftError, pickle.PicklingError, TypeError):
    """A value cannot travel between processes; the message names the value and the path to it.

    `pickle.PicklingError` and `TypeError` are what the standard library raises for that. What a value itself raises
    when it is pickled, such as a `RuntimeError`, is the error's cause, and the error is one of that class too.

    Attributes
    ----------
    was_sent
        Whether the call may have run: False if it is the call that could not be sent.
    """

    was_sent = True


class TaskTimeout(LineshaftError, TimeoutError):  # noqa: N818 - the short name is the API
    """A task ran longer than its limit."""


class EngineClosed(LineshaftError, RuntimeError):  # noqa: N818 - the short name is the API
    """The engine was shut down before, or while, it was asked to do something."""


class RemoteTraceback(Exception):  # noqa: N818 - as concurrent.futures calls its own
    """The traceback of a worker as text; the ``__cause__`` of an exception that came from there.

    Attributes
    ----------
    text
        The traceback as the worker would have printed it.
    cause
        What ``__cause__`` of the exception was in the worker, since this object now sits there.
    suppress_context
        What ``__suppress_context__`` was there; a cause sets it.
    frames
        The tracebacks of the exception and of its causes and contexts: file, function, line and module of each frame.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
        self.cause: BaseException | None = None
        self.suppress_context = False
        self.frames: list[list[tuple[str, str, int, str]]] = []

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'

    @property  # type: ignore[misc]
    def __class__(self) -> type[RemoteTraceback]:
        """Say to `isinstance` that it is one of theirs as well, if the program has imported those."""
        return _remote_traceback_class()

    @property
    def tb(self) -> str:
        """The same under the name that `concurrent.futures` and `multiprocessing` use."""
        return str(self)


#: The same in the standard library.
_REMOTE_TRACEBACKS = (("multiprocessing.pool", "RemoteTraceback"), ("concurrent.futures.process", "_RemoteTraceback"))

_remote_traceback_classes: dict[tuple[type, ...], type[RemoteTraceback]] = {(): RemoteTraceback}


def _remote_traceback_class() -> type[RemoteTraceback]:
    """Return a class that derives from `RemoteTraceback` and from those of the standard library that are imported."""
    found = [getattr(sys.modules.get(module), name, None) for module, name in _REMOTE_TRACEBACKS]
    theirs = tuple(cls for cls in found if cls is not None)
    if theirs not in _remote_traceback_classes:
        _remote_traceback_classes[theirs] = type("RemoteTraceback", (RemoteTraceback, *theirs), {})
    return _remote_traceback_classes[theirs]


class RemoteError(LineshaftError):
    """Stands for an exception of a worker that cannot be rebuilt in this process.

    Attributes
    ----------
    type_name
        Module and name of the original class.
    message
        ``str()`` of the original.
    representation
        ``repr()`` of the original.
    traceback
        Its traceback in the worker, as text; empty for causes and contexts.
    reason
        Why the original could not be rebuilt.

    Examples
    --------
    >>> print(RemoteError("app.Odd", "it broke", "Odd('it broke')"))
    app.Odd: it broke
    """

    def __init__(
        self,
        type_name: str,
        message: str,
        representation: str,
        traceback: str = "",
        reason: str = "",
    ) -> None:
        super().__init__(type_name, message, representation, traceback, reason)
        self.type_name = type_name
        self.message = message
        self.representation = representation
        self.traceback = traceback
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.type_name}: {self.message}"


#: Errors whose base classes live in modules that take tens of milliseconds to import.
_HOMES = {"UnsendableResult": "unsendable_result", "WorkerDied": "worker_died"}


def __getattr__(name: str) -> type[BaseException]:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    found: type[BaseException] = getattr(importlib.import_module(f"lineshaft._serial.{_HOMES[name]}"), name)
    globals()[name] = found
    return found
