"""The by-value pickler: cloudpickle's, with functions that share real namespaces.

What differs from cloudpickle:

* A function of ``__main__`` gets the dict of the receiving process's ``__main__`` as its globals,
  and the names it looks up are only reported (`Pickler.names`), not packed.
* A function whose globals are those of an importable module (a local one, or the wrapper that a library's decorator
  returns) takes along those that it looks up, but for what cannot be sent, and for the module's own functions and
  classes. If there is nothing else, it gets that module's real dict, otherwise a copy.
* What is found in ``__main__`` under its own qualified name is offered to `refer`, which decides
  what is sent instead of it.
* Objects of `multiprocessing` go as to a process that it starts.
* Cells stay shared between closures; sentinels of dataclasses stay themselves; cached functions,
  single-dispatch functions and all kinds of type parameters can be sent; open files cannot.

This module is the only one that imports cloudpickle, and is itself imported only when needed.
"""

from __future__ import annotations

import copyreg
import dataclasses
import functools
import io
import marshal
import pickle
import sys
import typing
from collections import ChainMap
from types import CellType, FunctionType, MethodType, ModuleType

from cloudpickle import cloudpickle

from lineshaft._serial import worker
from lineshaft._serial.definition import ABSENT, contents, main_namespace
from lineshaft._serial.globals_of import assigned_names, global_names, imported_submodules, taken_along
from lineshaft._serial.handing_over import HandingOver, reducers
from lineshaft._serial.settled import is_settled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from _typeshed import SupportsWrite

    #: ``refer(root, path)``: what to send for the object at attribute `path` of global `root` of
    #: ``__main__``: a value for `reducer_override`, or None to send the object by value.
    Refer: TypeAlias = Callable[[str, str], object]

__all__ = ["Pickler", "dumps"]

# What the machinery of enums itself stores in a member.
_MEMBER_NAMES = frozenset(("_name_", "_value_", "_sort_order_", "__objclass__"))

# Functions of `worker` are in nearly every pickle, and need no look-up to go by reference.
_OURS = worker.__dict__


def dumps(
    obj: object,
    refer: Refer,
    buffer_callback: Callable[[pickle.PickleBuffer], object] | None = None,
) -> tuple[bytes, tuple[str, ...]]:
    """Pickle `obj`; return the data and the globals of ``__main__`` its functions look up."""
    with io.BytesIO() as file:
        pickler = Pickler(file, refer, buffer_callback)
        pickler.dump(obj)
        return file.getvalue(), tuple(pickler.names)


class _Copy:
    """Pickles as a copy of the globals of a module; functions of one pickle share it."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __reduce__(self) -> tuple[object, ...]:
        return worker.copy_of_globals, (self._module,)


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles functions and classes of ``__main__`` as described at the top of this module.

    Attributes
    ----------
    names
        Globals of ``__main__`` that the functions pickled so far look up, in order of discovery.
    assigned
        Those that they assign.
    """

    def __init__(
        self,
        file: SupportsWrite[bytes],
        refer: Refer,
        buffer_callback: Callable[[pickle.PickleBuffer], object] | None = None,
    ) -> None:
        if known := reducers():
            self.dispatch_table = ChainMap(self.dispatch_table, known)  # type: ignore[has-type]
        super().__init__(file, protocol=5, buffer_callback=buffer_callback)
        self.names: dict[str, None] = {}
        self.assigned: set[str] = set()
        self._refer = refer
        self._main = main_namespace()
        #: Ids of the classes whose instances need nothing special. The pickler keeps the instances,
        #: and so the classes; not all of these can be hashed.
        self._plain: set[int] = set()
        #: By the id of a module's dict.
        self._copies: dict[int, _Copy] = {}
        #: Whether values of globals of modules can be sent, by their ids; the values are kept as long.
        self._sendable: dict[int, tuple[object, bool]] = {}

    def dump(self, obj: Any) -> None:
        """Pickle `obj` as for a process that is being started."""
        with HandingOver():
            super().dump(obj)

    def reducer_override(self, obj: Any) -> Any:
        """Reduce `obj`; called by the C pickler for everything but instances of the basic built-in types."""
        kind = type(obj)
        if id(kind) in self._plain:
            return NotImplemented
        if kind is FunctionType:
            return self._function(obj)
        if issubclass(kind, type):
            return self._class(obj)
        reduce = _REDUCERS.get(id(kind))
        if reduce is not None:
            return reduce(self, obj)
        if kind.__module__ == "__main__" and _has_own_reduction(kind):
            return self._instance(obj)
        self._plain.add(id(kind))
        return NotImplemented

    def _named(self, obj: object, qualname: str) -> Any:
        """Return what `refer` wants for `obj`, or None if it is not ``__main__.<qualname>``."""
        root, _, path = qualname.partition(".")
        found = self._main.get(root, ABSENT)
        if path:
            for name in path.split("."):
                found = getattr(found, name, ABSENT)
        return self._refer(root, path) if found is obj else None

    def _function(self, function: FunctionType) -> Any:
        if function.__globals__ is _OURS:
            return NotImplemented
        if function.__module__ == "__main__":
            named = self._named(function, function.__qualname__)
            if named is not None:
                return named
        elif cloudpickle._should_pickle_by_reference(function):
            return NotImplemented
        if function.__globals__ is functools.__dict__ and hasattr(function, "registry"):
            return _single_dispatch(function)
        where = self._where(function)
        if where is None:
            return self._dynamic_function_reduce(function)
        code = function.__code__
        if where == "__main__":
            self.names.update(dict.fromkeys(global_names(code)))
            self.assigned |= assigned_names(code)[0]
        try:
            body: object = marshal.dumps(code)
        except ValueError:  # constants that no compiler makes
            body = code
        state = self._function_state(function)
        namespace: object = where
        if where != "__main__" and (taken := self._taken_along(function)):
            namespace = self._copies.setdefault(id(function.__globals__), _Copy(where))
            state["globals"] = taken
        arguments = (body, namespace, function.__closure__)
        if not state:
            return worker.make_function, arguments
        return worker.make_function, arguments, state, None, None, worker.set_function_state

    def _taken_along(self, function: FunctionType) -> dict[str, object]:
        return {name: value for name, value in taken_along(function).items() if self._can_send(value)}

    def _can_send(self, value: object) -> bool:
        """Whether a global can be sent; if not, the receiver's own has to do."""
        if is_settled(value):
            return True
        known = self._sendable.get(id(value))
        if known is None:
            from lineshaft._serial.parent import collecting_references

            # What it refers to may refer to it.
            self._sendable[id(value)] = known = value, True
            trial = Pickler(io.BytesIO(), self._refer, lambda _: None)
            trial._sendable = self._sendable
            try:
                with collecting_references(False):
                    trial.dump(value)
            except (OSError, MemoryError):
                raise
            except Exception:
                self._sendable[id(value)] = known = value, False
        return known[1]

    def _where(self, function: FunctionType) -> str | None:
        """Name the module whose dict is the function's globals, if the receiver has such a module."""
        if function.__globals__ is self._main:
            return "__main__"
        name = function.__globals__.get("__name__")
        module = sys.modules.get(name) if isinstance(name, str) else None
        if (
            module is None
            or name == "__main__"
            or module.__dict__ is not function.__globals__
            or module.__spec__ is None
            or cloudpickle._is_registered_pickle_by_value(module)
        ):
            return None
        return name

    def _function_state(self, function: FunctionType) -> dict[str, object]:
        """Attributes in which `function` differs from what its code and globals already give it."""
        code = function.__code__
        state: dict[str, object] = {
            name: value
            for name in ("__defaults__", "__kwdefaults__", "__annotations__", "__type_params__")
            if (value := _attribute(function, name))
        }
        if function.__name__ != code.co_name:
            state["__name__"] = function.__name__
        if function.__qualname__ != code.co_qualname:
            state["__qualname__"] = function.__qualname__
        if function.__module__ != function.__globals__.get("__name__"):
            state["__module__"] = function.__module__
        if not code.co_consts or function.__doc__ is not code.co_consts[0]:
            state["__doc__"] = function.__doc__
        if function.__dict__:
            state["__dict__"] = dict(function.__dict__)
        seen = [function.__globals__.get(name) for name in global_names(code)]
        seen.extend(contents(cell) for cell in function.__closure__ or ())
        submodules = imported_submodules(code, seen)
        if submodules:
            state["modules"] = [module.__name__ for module in submodules]
        return state

    def _class(self, cls: type) -> Any:
        if cls.__module__ == "__main__":
            named = self._named(cls, cls.__qualname__)
            if named is not None:
                return named
        reduced = super().reducer_override(cls)
        if reduced is NotImplemented:
            return reduced
        if reduced[0] is cloudpickle._make_skeleton_enum:
            return _with_members(cls, reduced)
        if reduced[0] is not cloudpickle._make_skeleton_class:
            return reduced
        # cloudpickle sets these after the class was made, which comes too late to have an effect.
        make, (meta, name, bases, attributes, *rest), (state, slots_state), *setter = reduced
        attributes["__qualname__"] = cls.__qualname__
        if typing.NamedTuple in bases:  # a function that would make another class
            bases = cls.__bases__
        if "__slots__" in state:
            attributes["__slots__"] = state.pop("__slots__")
        return make, (meta, name, bases, attributes, *rest), (state, slots_state), *setter

    def _instance(self, obj: object) -> Any:
        """Instances whose class is in ``__main__``: some pickle as the name of a global there."""
        reduced = obj.__reduce_ex__(5)
        if not isinstance(reduced, str):
            return reduced
        named = self._named(obj, reduced)
        if named is not None:
            return named
        return copyreg.__newobj__, (type(obj),), obj.__getstate__()  # type: ignore[attr-defined]

    def _type_parameter(self, obj: Any) -> Any:
        """TypeVar and its relatives: by name where they have one, else made anew."""
        if obj.__module__ != "__main__":
            return NotImplemented
        named = self._named(obj, obj.__name__)
        if named is not None:
            return named
        arguments = [obj.__name__]
        options = {}
        if isinstance(obj, typing.NewType):
            arguments.append(obj.__supertype__)
        elif isinstance(obj, typing.TypeVar):
            arguments.extend(obj.__constraints__)
            names = ("bound", "covariant", "contravariant", "infer_variance")
            options = {name: value for name in names if (value := getattr(obj, f"__{name}__", None))}
        if getattr(obj, "has_default", bool)():  # Python 3.13
            options["default"] = obj.__default__
        return worker.make_type_parameter, (type(obj).__name__, arguments, options)

    def _cached_function(self, obj: Any) -> Any:
        """Reduce the result of `functools.lru_cache`; its cache stays behind."""
        if obj.__module__ == "__main__":
            named = self._named(obj, obj.__qualname__)
            if named is not None:
                return named
        elif cloudpickle._lookup_module_and_qualname(obj) is not None:
            return NotImplemented
        return worker.make_cached_function, (obj.__wrapped__, obj.cache_parameters())

    def _cached_property(self, obj: Any) -> Any:
        """Reduce `functools.cached_property`, which holds a lock before Python 3.12."""
        return worker.make_cached_property, (obj.func, obj.attrname)

    def _module(self, module: ModuleType) -> Any:
        if cloudpickle._should_pickle_by_reference(module):
            return worker.import_module, (module.__name__,)
        return NotImplemented

    def _method(self, method: MethodType) -> Any:
        name = method.__func__.__name__
        if getattr(method.__self__, name, None) == method:
            return getattr, (method.__self__, name)
        return NotImplemented

    def _cell(self, cell: CellType) -> Any:
        value = contents(cell)
        if value is ABSENT:
            return CellType, ()
        # The cell exists before its contents, which may be a function that holds this cell.
        return worker.make_cell, (), (value,), None, None, worker.set_cell

    def _file(self, file: io.TextIOWrapper) -> Any:
        for name in ("stdin", "stdout", "stderr"):
            if file is getattr(sys, name):
                return getattr, (sys, name)
        if file.name in (0, 1, 2) or file.closed or not file.readable() or not file.seekable():
            raise TypeError(f"cannot pickle {type(file).__name__!r} object")
        return super().reducer_override(file)  # its text, and how much of it was read

    def _missing(self, sentinel: object) -> str:
        return "MISSING"

    def _default_factory(self, sentinel: object) -> str:
        return "_HAS_DEFAULT_FACTORY"


_REDUCERS_BY_TYPE: dict[type, Callable[[Pickler, Any], Any]] = {
    CellType: Pickler._cell,
    MethodType: Pickler._method,
    ModuleType: Pickler._module,
    io.TextIOWrapper: Pickler._file,
    functools._lru_cache_wrapper: Pickler._cached_function,
    functools.cached_property: Pickler._cached_property,
    typing.NewType: Pickler._type_parameter,
    typing.ParamSpec: Pickler._type_parameter,
    typing.TypeVar: Pickler._type_parameter,
    typing.TypeVarTuple: Pickler._type_parameter,
    type(dataclasses.MISSING): Pickler._missing,
    dataclasses._HAS_DEFAULT_FACTORY_CLASS: Pickler._default_factory,  # type: ignore[attr-defined]
}


_REDUCERS = {id(kind): reduce for kind, reduce in _REDUCERS_BY_TYPE.items()}


def _with_members(cls: Any, reduced: tuple[Any, ...]) -> tuple[Any, ...]:
    """Add what ``__init__`` or ``__new__`` gave the members of an enum: they are not called again."""
    attributes = {
        member.name: own
        for member in cls
        if (own := {name: value for name, value in vars(member).items() if name not in _MEMBER_NAMES})
    }
    if not attributes:
        return reduced
    make, arguments, state, *_ = reduced
    return make, arguments, (state, attributes), None, None, worker.set_enum_state


def _single_dispatch(function: Any) -> Any:
    """Reduce what `functools.singledispatch` returned; its cache holds weak references."""
    implementations = dict(function.registry)
    base = implementations.pop(object)
    return worker.make_single_dispatch, (base, implementations)


def _has_own_reduction(kind: Any) -> bool:
    return kind.__reduce__ is not object.__reduce__ or kind.__reduce_ex__ is not object.__reduce_ex__


def _attribute(function: FunctionType, name: str) -> object:
    try:
        return getattr(function, name, None)
    except Exception:  # annotations that are evaluated when asked for (Python 3.14)
        return None
