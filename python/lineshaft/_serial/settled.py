"""Which objects calls may change in place, and which are pickled alike as long as a few parts of them are the same."""

from __future__ import annotations

from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    ModuleType,
)

from lineshaft._serial.definition import ABSENT, contents, is_found_by_name, main_namespace
from lineshaft._serial.globals_of import assigned_names, taken_along

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["is_settled", "keeps_state", "parts_of_settled"]

_NUMBERS = (bool, int, float, complex, range)
_TEXTS = (str, bytes)
_CODE = (BuiltinFunctionType, CodeType, ModuleType)
_SINGLE = (type(None), type(...), type(NotImplemented), type(ABSENT))
_ATOMS = frozenset((*_NUMBERS, *_TEXTS, *_CODE, *_SINGLE))
_ALL_OF = frozenset((tuple, frozenset))
_DESCRIPTORS = (GetSetDescriptorType, MemberDescriptorType)
#: Deeper than this nobody looks.
_DEPTH_MAX = 4


def parts_of_settled(value: Any) -> tuple[object, ...] | None:
    """Return all of `value` that can be assigned anew; None if more of it, or of that, might change in place."""
    if type(value) is not FunctionType:
        return () if is_settled(value) else None
    if is_found_by_name(value, value.__module__, value.__qualname__):
        return ()
    if value.__dict__ or assigned_names(value.__code__)[1] or _taken_along(value):
        return None
    if not (value.__defaults__ or value.__kwdefaults__ or value.__closure__):
        return (value.__code__,)
    keywords = value.__kwdefaults__ or {}
    cells = [contents(cell) for cell in value.__closure__ or ()]
    parts = (value.__code__, *(value.__defaults__ or ()), *keywords, *keywords.values(), *cells)
    return parts if all(is_settled(part) for part in parts) else None


def is_settled(value: Any, depth: int = 0) -> bool:
    """Whether nobody can change `value`."""
    kind = type(value)
    if kind in _ATOMS:
        return True
    if kind in _ALL_OF:
        return depth < _DEPTH_MAX and all(is_settled(item, depth + 1) for item in value)
    # What an importable module has goes by its name.
    return kind is type and value.__module__ != "__main__"


def keeps_state(value: Any, depth: int = 0) -> bool:
    """Whether a call may change `value` in place, and calls after it would see that; no if that cannot be.

    A function does by its defaults, its attributes, what it captures and what it takes along; a class by its
    attributes. What a function within another takes along may also be assigned anew, and nobody would know.
    """
    if depth > _DEPTH_MAX:
        return True
    if type(value) is FunctionType:
        if is_found_by_name(value, value.__module__, value.__qualname__):
            return False
        of_globals, captured = assigned_names(value.__code__)
        # What functions are shown as is nothing that they look at.
        attributes = value.__dict__.keys() - {"__wrapped__", "shown_module"}
        taken = _taken_along(value)
        parts = [*_parts(value), *taken.values()]
        is_changed = of_globals or captured or attributes or (taken and depth > 0)
        return bool(is_changed) or any(keeps_state(it, depth + 1) for it in parts)
    if isinstance(value, type):
        return any(_is_data(it) or keeps_state(it, depth + 1) for it in _attributes(value))
    if isinstance(value, (staticmethod, classmethod)):
        return keeps_state(value.__func__, depth + 1)
    if isinstance(value, property):
        return any(keeps_state(part, depth + 1) for part in (value.fget, value.fset, value.fdel))
    if is_settled(value) or isinstance(value, _DESCRIPTORS):
        return False
    wrapped = getattr(value, "__wrapped__", None)
    return not isinstance(wrapped, FunctionType) or keeps_state(wrapped, depth + 1)


def _taken_along(function: FunctionType) -> dict[str, object]:
    """Return the globals that a function takes along; those of ``__main__`` are sent by themselves."""
    return {} if function.__globals__ is main_namespace() else taken_along(function)


def _attributes(cls: type) -> list[object]:
    own = vars(cls)
    if cls.__module__ != "__main__" or "_member_map_" in own or (issubclass(cls, tuple) and "_fields" in own):
        return []  # imported, an enum, a named tuple
    fields = own.get("__dataclass_fields__", ())
    return [it for name, it in own.items() if not name.startswith("__") and name != "_abc_impl" and name not in fields]


def _is_data(value: object) -> bool:
    """Whether an attribute of a class is what an assignment replaces."""
    return type(value) in _ATOMS.difference(_CODE) or type(value) in _ALL_OF


def _parts(function: FunctionType) -> list[object]:
    keywords = (function.__kwdefaults__ or {}).values()
    cells = (contents(cell) for cell in function.__closure__ or ())
    return [*function.__dict__.values(), *(function.__defaults__ or ()), *keywords, *cells]
