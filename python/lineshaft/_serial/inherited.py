"""What forked workers have of this process's ``__main__`` already, and so is not sent to them.

A function or class that was there when they were forked, and still is the same object, goes by
reference, as it does with `pickle`: the worker uses its own, with its own globals, and what this
process assigns later does not reach it. What was defined later, and what has no name, goes by value
as ever. Such code finds this process's values of the globals that were assigned since, and for all
others the worker's.
"""

from __future__ import annotations

import io
import pickle
from types import FunctionType

from lineshaft._serial.definition import ABSENT, holder, main_namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType
    from typing import Any

__all__ = ["Inherited"]


class Inherited:
    """The globals of ``__main__`` as they are when this is made."""

    def __init__(self) -> None:
        self._globals: dict[str, tuple[Callable[[], object], CodeType | None]] = {
            name: (holder(value), _body(value)) for name, value in main_namespace().items()
        }

    def has(self, name: str) -> bool:
        """Whether the global has the same object as then."""
        found = self._globals.get(name)
        if found is None:
            return False
        value = main_namespace().get(name, ABSENT)
        return found[0]() is value and found[1] is _body(value)

    def has_all_of(self, obj: object) -> bool:
        """Whether a value that can be pickled refers only to functions and classes that workers have."""
        try:
            _Searcher(self).dump(obj)
        except _Missing:
            return False
        return True


class _Missing(Exception):  # noqa: N818 - never leaves this module
    """There is a function or class that workers do not have."""


class _Nowhere(io.RawIOBase):
    """Takes what is written, for those who only want to know whether it can be."""

    def write(self, data: Any) -> int:
        return len(data)


class _Searcher(pickle.Pickler):
    """Pickles, and stops at what workers do not have."""

    def __init__(self, inherited: Inherited) -> None:
        super().__init__(_Nowhere(), 5, buffer_callback=lambda _: None)
        self._inherited = inherited

    def reducer_override(self, obj: Any) -> Any:
        if (
            isinstance(obj, (FunctionType, type))
            and obj.__module__ == "__main__"
            and not self._inherited.has(obj.__qualname__.partition(".")[0])
        ):
            raise _Missing
        return NotImplemented


def _body(value: object) -> CodeType | None:
    # Tools that reload code replace it in place.
    return value.__code__ if isinstance(value, FunctionType) else None
