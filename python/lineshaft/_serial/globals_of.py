"""Which names a code object looks up or assigns outside of itself, and which submodules it reaches."""

from __future__ import annotations

import sys
from dis import get_instructions
from types import CodeType, FunctionType, ModuleType
from weakref import WeakKeyDictionary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["assigned_names", "global_names", "imported_submodules", "taken_along"]

_GLOBAL_OPERATIONS = frozenset(
    # LOAD_NAME: the body of a class inside a function looks up its globals with it. Stores count:
    # a function that sets a global works on the version that the readers of that global see.
    ("LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
)

# What every module has by itself; a worker's `__main__` has its own.
_MODULE_NAMES = frozenset(vars(ModuleType("m"))) | frozenset(
    ("__annotations__", "__builtins__", "__cached__", "__class__", "__file__", "__module__", "__qualname__")
)

_ASSIGNING_GLOBALS = frozenset(("STORE_GLOBAL", "DELETE_GLOBAL"))
_ASSIGNING_CAPTURED = frozenset(("STORE_DEREF", "DELETE_DEREF"))

_known: WeakKeyDictionary[CodeType, tuple[str, ...]] = WeakKeyDictionary()
_assigned: WeakKeyDictionary[CodeType, tuple[frozenset[str], frozenset[str]]] = WeakKeyDictionary()


def global_names(code: CodeType) -> tuple[str, ...]:
    """List the names of the globals that `code`, or code nested in it, reads, sets or deletes.

    Examples
    --------
    >>> def work(i):
    ...     return lambda: shared[i] + offset
    >>> global_names(work.__code__)
    ('shared', 'offset')
    """
    names = _known.get(code)
    if names is None:
        found = {
            str(step.argval): None
            for nested in _with_nested(code)
            for step in get_instructions(nested)
            if step.opname in _GLOBAL_OPERATIONS
        }
        names = _known[code] = tuple(name for name in found if name not in _MODULE_NAMES)
    return names


def assigned_names(code: CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """List the globals that `code`, or code nested in it, sets or deletes, and the variables that it captured.

    Examples
    --------
    >>> def work(i):
    ...     global total
    ...     total = i
    >>> assigned_names(work.__code__)
    (frozenset({'total'}), frozenset())
    """
    names = _assigned.get(code)
    if names is None:
        steps = [step for nested in _with_nested(code) for step in get_instructions(nested)]
        of_globals = frozenset(str(step.argval) for step in steps if step.opname in _ASSIGNING_GLOBALS)
        captured = frozenset(str(step.argval) for step in steps if step.opname in _ASSIGNING_CAPTURED)
        names = _assigned[code] = of_globals, captured.intersection(code.co_freevars)
    return names


def imported_submodules(code: CodeType, values: Iterable[object]) -> list[ModuleType]:
    """List the loaded submodules that `code` reaches by attribute from the packages among `values`.

    ``import xml; import xml.dom`` makes one global, ``xml``; importing it does not import
    ``xml.dom``, so a function that says ``xml.dom`` has to bring the submodule along.
    """
    packages = [v for v in values if isinstance(v, ModuleType) and getattr(v, "__path__", None)]
    if not packages:
        return []
    attributes = {name for nested in _with_nested(code) for name in nested.co_names}
    loaded = list(sys.modules)
    found: list[ModuleType] = []
    for package in packages:
        prefix = package.__name__ + "."
        for name in loaded:
            if name.startswith(prefix) and attributes.issuperset(name[len(prefix) :].split(".")):
                module = sys.modules.get(name)
                if isinstance(module, ModuleType):
                    found.append(module)
    return found


def taken_along(function: FunctionType) -> dict[str, object]:
    """Return the globals that a function looks up and that an import of its module may not give as they are now.

    So all but functions and classes that the module itself has defined, as cloudpickle has it.

    Examples
    --------
    >>> import fractions
    >>> sorted(taken_along(fractions.Fraction.from_float))
    ['numbers']
    """
    namespace, module = function.__globals__, function.__globals__.get("__name__")
    found = ((name, namespace[name]) for name in global_names(function.__code__) if name in namespace)
    return {name: value for name, value in found if not _is_defined_in(value, module, name)}


def _is_defined_in(value: object, module: object, name: str) -> bool:
    if not isinstance(value, (FunctionType, type)):
        return False
    return value.__module__ == module and value.__qualname__ == name


def _with_nested(code: CodeType) -> list[CodeType]:
    codes = [code]
    for nested in codes:
        codes.extend(const for const in nested.co_consts if isinstance(const, CodeType))
    return codes
