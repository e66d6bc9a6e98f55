"""`Entry`: what an encoder knows about a function or class, and whether that still holds."""

from __future__ import annotations

from types import FunctionType
from weakref import ref

from lineshaft._serial.definition import ABSENT, Code, contents, holder, main_namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lineshaft._serial.namespace import Closure

__all__ = ["Entry"]


class Entry:
    """What is known about a function or class: its `Code`, and what that was made from."""

    __slots__ = ("body", "cells", "closure", "code", "defaults", "globals", "keeps_state", "ref")

    def __init__(self, fn: Any, forget: Callable[[ref[Any]], None], code: Code, closure: Closure | None) -> None:
        self.ref = ref(fn, forget)
        self.code = code
        #: None: goes by reference, nothing about it can change.
        self.closure = closure
        self.body = getattr(fn, "__code__", None)
        self.defaults = getattr(fn, "__defaults__", None)
        cells = getattr(fn, "__closure__", None)
        self.cells = [holder(contents(cell)) for cell in cells or ()]
        #: Those of an importable module, whichever it looks up.
        self.globals = [] if closure is None else _module_globals(fn)
        #: What one call changes in it, those after it see.
        self.keeps_state = closure is not None and _keeps_state(fn)

    def is_current(self, fn: Any) -> bool:
        """Whether `fn` would be encoded the same way again, in-place changes aside."""
        closure = self.closure
        if closure is None:
            return True
        if self.body is not None:
            if fn.__code__ is not self.body or fn.__defaults__ is not self.defaults:
                return False
            if self.cells:
                for cell, held in zip(fn.__closure__, self.cells, strict=True):
                    if contents(cell) is not held():
                        return False
            for name, held in self.globals:
                if fn.__globals__.get(name, ABSENT) is not held():
                    return False
        return closure.is_current()


def _module_globals(fn: Any) -> list[tuple[str, Callable[[], object]]]:
    if not isinstance(fn, FunctionType) or fn.__globals__ is main_namespace():
        return []
    from lineshaft._serial.globals_of import global_names  # which imports `dis`

    return [(name, holder(fn.__globals__.get(name, ABSENT))) for name in global_names(fn.__code__)]


def _keeps_state(fn: object) -> bool:
    from lineshaft._serial.settled import keeps_state  # which imports `dis`

    return keeps_state(fn)
