"""Which objects are sure to be pickled alike as long as a few parts of them are the same objects."""

from __future__ import annotations

from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType

from lineshaft._serial.definition import ABSENT, contents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["parts_of_settled"]

_NUMBERS = (bool, int, float, complex, range)
_TEXTS = (str, bytes)
_CODE = (BuiltinFunctionType, CodeType, ModuleType)
_SINGLE = (type(None), type(...), type(NotImplemented), type(ABSENT))
_ATOMS = frozenset((*_NUMBERS, *_TEXTS, *_CODE, *_SINGLE))
_ALL_OF = frozenset((tuple, frozenset))
#: Deeper than this nobody looks.
_DEPTH_MAX = 4


def parts_of_settled(value: Any) -> tuple[object, ...] | None:
    """Return all of `value` that can be assigned anew; None if more of it, or of that, might change in place."""
    if type(value) is not FunctionType:
        return () if _is_settled(value) else None
    if value.__dict__:
        return None
    if not (value.__defaults__ or value.__kwdefaults__ or value.__closure__):
        return (value.__code__,)
    keywords = value.__kwdefaults__ or {}
    cells = [contents(cell) for cell in value.__closure__ or ()]
    parts = (value.__code__, *(value.__defaults__ or ()), *keywords, *keywords.values(), *cells)
    return parts if all(_is_settled(part) for part in parts) else None


def _is_settled(value: Any, depth: int = 0) -> bool:
    kind = type(value)
    if kind in _ATOMS:
        return True
    if kind in _ALL_OF:
        return depth < _DEPTH_MAX and all(_is_settled(item, depth + 1) for item in value)
    # What an importable module has goes by its name.
    return kind is type and value.__module__ != "__main__"
