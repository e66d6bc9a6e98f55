"""`copied`: what small calls are given, as it is now, for less than pickling each of them by itself costs.

So calls that are pickled together, later, have what they were dispatched with, and none of them shares anything with
another.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["copied"]

#: Types whose instances nobody can change.
_UNCHANGING = frozenset({int, float, complex, bool, str, bytes, type(None)})
#: Values in all that is copied of a batch, and bytes of an array: beyond them, a message of its own costs little more.
VALUES_MAX = 100
ARRAY_BYTES_MAX = 4096


def copied(calls: list[tuple[Any, ...]]) -> list[tuple[Any, ...]] | None:
    """Return a copy of the arguments of some calls; None if it would cost much, or not be the same.

    Parameters
    ----------
    calls
        Positional and keyword arguments of each.

    Examples
    --------
    >>> first = [1, 2]
    >>> calls = copied([((first,), {"key": first})])
    >>> first.append(3)
    >>> calls
    [(([1, 2],), {'key': [1, 2]})]
    >>> copied([((object(),), {})]) is None
    True
    """
    try:
        copies: list[tuple[Any, ...]] = _Copies().of(calls)
    except _NoCopyError:
        return None
    return copies


class _NoCopyError(Exception):
    """It would cost much, or not be the same."""


class _Copies:
    """Copies of what belongs together: what is one object stays one."""

    __slots__ = ("_known", "_left")

    def __init__(self) -> None:
        self._known: dict[int, Any] = {}
        self._left = VALUES_MAX

    def of(self, value: Any) -> Any:
        """Return a copy of a value, or the value itself if nobody can change it."""
        kind = type(value)
        if kind in _UNCHANGING:
            return value
        known = self._known.get(id(value))
        if known is not None:
            return known
        copy: Any
        if kind is tuple:
            self._count(value)
            copy = tuple([self.of(each) for each in value])
        elif kind is list:
            self._count(value)
            copy = self._known[id(value)] = []  # it may be in itself
            copy.extend([self.of(each) for each in value])
        elif kind is dict:
            self._count(value)
            copy = self._known[id(value)] = {}
            copy.update({self.of(key): self.of(each) for key, each in value.items()})
        elif (numpy := sys.modules.get("numpy")) is None:
            raise _NoCopyError
        elif issubclass(kind, numpy.generic) and kind is not numpy.void:
            return value
        elif kind is numpy.ndarray:
            if value.nbytes > ARRAY_BYTES_MAX or value.dtype.hasobject or not value.flags.writeable:
                raise _NoCopyError
            copy = value.copy("K")
        else:
            raise _NoCopyError
        self._known[id(value)] = copy
        return copy

    def _count(self, values: Any) -> None:
        self._left -= len(values)
        if self._left < 0:
            raise _NoCopyError
