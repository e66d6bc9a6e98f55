"""The error of a result that cannot travel, apart because the module of one of its base classes is slow to import."""

from __future__ import annotations

from multiprocessing.pool import MaybeEncodingError  # type: ignore[attr-defined]

from lineshaft.errors import SerializationError

__all__ = ["UnsendableResult"]


class UnsendableResult(SerializationError, MaybeEncodingError):  # type: ignore[misc]  # noqa: N818 - as the others there
    """What a call returned cannot be sent back: what `multiprocessing.Pool` calls `MaybeEncodingError`.

    Attributes
    ----------
    exc, value
        ``repr()`` of what pickling raised and of what was returned.

    Examples
    --------
    >>> print(UnsendableResult("result is a lock", "TypeError()", "<lock>"))
    cannot send the result back from the worker: result is a lock
    """

    __module__ = "lineshaft.errors"

    def __init__(self, why: str, exc: str, value: str) -> None:
        # Not MaybeEncodingError's, which makes the representations itself: those are made in the worker.
        SerializationError.__init__(self, why, exc, value)
        self.why, self.exc, self.value = why, exc, value

    def __str__(self) -> str:
        return f"cannot send the result back from the worker: {self.why}"

    __repr__ = SerializationError.__repr__
