"""The worker's side: definitions, arguments, results.

State of a worker process, touched only by the thread that runs its tasks:

* every loaded definition, by id;
* for each global of ``__main__`` that a definition was made for, its version now in place.

A task runs with the globals that its submitter had when it submitted: `code` and `loads` put the
right versions in place. A version that is put back later comes back as the tasks left it, and what
the worker's own code assigned (an initializer's ``global x``) is never overwritten by a version
that is already in place. A worker that was forked from the program has values of its own: they are
version 0, and in place for every task that did not bring another. Nothing here imports cloudpickle
unless data or a result needs it.
"""

from __future__ import annotations

import _pickle as pickle  # what `pickle` exports, without the ten modules that it imports
import marshal
import sys
from _thread import _local as ThreadLocal  # noqa: N812 - `threading.local`, without the module
from types import CellType, FunctionType

from lineshaft._serial.definition import ABSENT, main_namespace
from lineshaft._serial.handing_over import dumps_by_reference, names_shared_objects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import CodeType, ModuleType
    from typing import Any

    from lineshaft._serial.definition import Pairs

    Buffers = Sequence[Any]

__all__ = [
    "code",
    "dumps_exception",
    "dumps_raised",
    "dumps_result",
    "forget",
    "inherit",
    "input_value",
    "load_definition",
    "loads",
]

#: Tags at the start of a definition's data.
BINDINGS, CODE, BEGINNING = 0, 1, 2


class _Local(ThreadLocal):
    inputs: Sequence[object] = ()
    buffers: Buffers = ()


class _Failed:
    """Stands for a value that could not be loaded."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


_local = _Local()
_objects: dict[int, Any] = {}
_names: dict[int, str] = {}
#: The values that a definition binds, by its id; and which definition brought a value last.
_values: dict[int, tuple[int, ...]] = {}
_sources: dict[int, int] = {}
_codes: dict[int, tuple[Callable[..., Any], Pairs, dict[str, str]]] = {}
_bound: dict[str, int] = {}
_shelved: dict[tuple[str, int], object] = {}
_unsent: dict[str, str] = {}
_current: object = None
#: In a fork of the program, or once the main module was imported: its globals, by the ids of their
#: values, and which of them have a version of a task in their place.
_inherited: dict[str, int] = {}
_replaced: set[str] = set()
#: Whether this worker has tried to import the main module, and why it could not.
_imported = False
_beginning_failed: _Failed | None = None


def inherit() -> None:
    """Note what is in ``__main__`` now as inherited from the program."""
    _inherited.update((name, id(value)) for name, value in main_namespace().items())


def load_definition(definition_id: int, data: bytes, buffers: Buffers = ()) -> object:
    """Load what an `Encoder` defined, once; the definitions it needs must be loaded already.

    Returns the callable of a `Code`. A binding becomes a global of ``__main__``.

    Never raises for what user code does wrong (a module that cannot be imported here): no task is
    running that could fail. The error is raised by `code` if the function itself is affected; a global
    that is affected is missing, and a note on the `NameError` says why.
    """
    global _current
    _current = None
    kind, *content = pickle.loads(data)
    if kind == BEGINNING:
        _begin(*content)
        return None
    names, unsent, inner, *more = content
    if kind == CODE:
        imports_main, *added_path = more
        for index, entry in added_path[0] if added_path else ():
            if entry not in sys.path:
                sys.path.insert(index, entry)
        _activate(names, unsent)
        function: Any = _beginning_failed
        if not imports_main or function is None:
            function = _load_or_fail(inner, buffers)
        _codes[definition_id] = (function, names, unsent)
        return function
    values = _load_or_fail(inner, buffers)
    if isinstance(values, _Failed):
        values = (values,) * len(names)
    _values[definition_id] = tuple(value_id for value_id, _ in names)
    for (value_id, name), value in zip(names, values, strict=True):
        _sources[value_id] = definition_id
        _objects[value_id] = value
        _names[value_id] = name
        _bind(name, value_id)
    return values[0]


def code(definition_id: int) -> Callable[..., Any]:
    """Return the callable of a loaded `Code`, with the globals in place that it was submitted with."""
    global _current
    entry = _codes[definition_id]
    if entry is not _current:
        if isinstance(entry[0], _Failed):
            raise entry[0].error.with_traceback(None)
        if _replaced:
            for name in _replaced.difference(name for name, _ in entry[1]):
                _bind(name, 0)
        _activate(entry[1], entry[2])
        _current = entry
    return entry[0]


def loads(data: bytes, buffers: Buffers = (), inputs: Sequence[object] = ()) -> Any:
    """Load a value that `Encoder.dumps` made; `inputs` are the results of the futures inside."""
    before = _local.inputs, _local.buffers
    _local.inputs, _local.buffers = inputs, buffers
    try:
        return pickle.loads(data, buffers=buffers)
    finally:
        _local.inputs, _local.buffers = before


def forget(ids: Iterable[int]) -> None:
    """Drop definitions that no task will need any more; a global that is in place stays."""
    global _current
    for definition_id in ids:
        _codes.pop(definition_id, None)
        for value_id in _values.pop(definition_id, ()):
            if _sources.get(value_id) != definition_id:
                continue  # it has come again with another definition
            del _sources[value_id]
            _objects.pop(value_id, None)
            name = _names.pop(value_id, None)
            if name is not None:
                _shelved.pop((name, value_id), None)
    _current = None


def dumps_result(obj: object, buffer_callback: Callable[[Any], object] | None = None) -> bytes:
    """Pickle the result of a task; `buffer_callback` gets its out-of-band buffers.

    Raises `SerializationError`, which is a `multiprocessing.pool.MaybeEncodingError` too, if that is
    impossible.
    """
    collected: list[pickle.PickleBuffer] = []
    collect = None if buffer_callback is None else collected.append
    try:
        data = dumps_by_reference(obj, collect)
        by_value = names_shared_objects(data)
    except (OSError, MemoryError):
        raise
    except Exception:
        by_value = True
    if by_value:
        collected.clear()
        data = _dumps_by_value(obj, collect)
    if buffer_callback is not None:
        for buffer in collected:
            buffer_callback(buffer)
    return data


def dumps_exception(exc: BaseException) -> bytes:
    """Pickle an exception with its traceback as text, its causes, contexts and notes."""
    return dumps_raised(exc)[0]


def dumps_raised(exc: BaseException) -> tuple[bytes, str]:
    """Do as `dumps_exception` does; return the traceback's text, too."""
    from lineshaft._serial.exceptions import chain_of, encode

    for part in chain_of(exc):
        if isinstance(part, NameError) and part.name in _unsent:
            note = f"global {part.name!r} of __main__ could not be sent to the worker: "
            note += _unsent[part.name]
            if note not in getattr(part, "__notes__", ()):
                part.add_note(note)
    return encode(exc, dumps_result)


def _load_or_fail(data: bytes, buffers: Buffers) -> Any:
    try:
        return pickle.loads(data, buffers=buffers)
    except BaseException as error:  # a module may do anything, also leave
        return _Failed(error.with_traceback(None))


# The main module, imported.


def _begin(path: str | None, process: tuple[str, bool, str] | None) -> None:
    """Become what a process of `multiprocessing` is that was started afresh."""
    global _imported, _beginning_failed
    if process is not None:
        from lineshaft._process import be_spawned

        be_spawned(*process)
    if path is None or _imported:
        return
    from lineshaft._serial.main_module import import_main

    _imported = True
    # What tasks brought makes room for it; what the worker's own code has assigned stays.
    bound = dict(_bound)
    for name in bound:
        _bind(name, 0)
    namespace = main_namespace()
    own = {name: value for name, value in namespace.items() if not name.startswith("__")}
    try:
        import_main(path)
    except BaseException as error:  # a module may do anything, also leave
        _beginning_failed = _Failed(error.with_traceback(None))
    inherit()
    namespace.update(own)
    for name, version in bound.items():
        _bind(name, version)


# Which version of a global is in place.


def _activate(pairs: Pairs, unsent: dict[str, str]) -> None:
    if unsent:
        _unsent.update(unsent)
    for name, version in pairs:
        if _bound.get(name) != version:
            _bind(name, version)


def _bind(name: str, version: int) -> None:
    namespace = main_namespace()
    old = _bound.get(name)
    _bound[name] = version
    if version:
        _unsent.pop(name, None)
    if old is None:
        # The first contact with this name. If it has a value that is not inherited, then the worker's
        # own code gave it one (an initializer through `globals()`, say), which wins as it would after
        # a fork.
        if not version or (name in namespace and id(namespace[name]) != _inherited.get(name)):
            return
        old = 0
    value = namespace.pop(name, ABSENT)
    if value is not ABSENT:
        _shelved[name, old] = value
    if name in _inherited:
        (_replaced.add if version else _replaced.discard)(name)
    value = _shelved.pop((name, version), ABSENT)
    if value is ABSENT and version:
        value = _objects[version]
    if value is not ABSENT:
        _put(namespace, name, value)


def _put(namespace: dict[str, Any], name: str, value: object) -> None:
    if isinstance(value, _Failed):
        _unsent[name] = f"loading it raised {type(value.error).__name__}: {value.error}"
    else:
        namespace[name] = value


# Called by pickles.


def defined(definition_id: int, path: str = "") -> Any:
    """Return the object of a loaded binding, or what is at attribute `path` of it."""
    value = _objects[definition_id]
    if isinstance(value, _Failed):
        raise value.error.with_traceback(None)
    if path:
        for name in path.split("."):
            value = getattr(value, name)
    return value


def activated(pairs: Pairs, unsent: dict[str, str], data: bytes) -> Any:
    """Load a value in which functions look up globals, after putting those in place."""
    global _current
    _current = None
    _activate(pairs, unsent)
    return pickle.loads(data, buffers=_local.buffers)


def input_value(index: int) -> Any:
    """Return the result of the future that was found here when the arguments were pickled."""
    return _local.inputs[index]


def make_function(
    code: bytes | CodeType, where: str | dict[str, Any], closure: tuple[CellType, ...] | None
) -> FunctionType:
    """Make a function over the real dict of module `where`, or over a copy that is given."""
    body: CodeType = marshal.loads(code) if isinstance(code, bytes) else code
    namespace = where if isinstance(where, dict) else import_module(where).__dict__
    return FunctionType(body, namespace, None, None, closure)


def copy_of_globals(module: str) -> dict[str, Any]:
    """Return a copy of a module's dict, for functions that take some of its values along."""
    return dict(import_module(module).__dict__)


def set_function_state(function: FunctionType, state: dict[str, Any]) -> None:
    """Give a function made by `make_function` its other attributes."""
    for name, value in state.items():
        if name == "__dict__":
            function.__dict__.update(value)
        elif name == "globals":
            function.__globals__.update(value)
        elif name == "modules":
            for module in value:
                import_module(module)
        else:
            setattr(function, name, value)


def make_cell() -> CellType:
    """Make an empty cell of a closure, to be filled by `set_cell`."""
    return CellType()


def set_cell(cell: CellType, contents: tuple[object]) -> None:
    """Fill a cell; the tuple keeps None apart from nothing."""
    (cell.cell_contents,) = contents


def import_module(name: str) -> ModuleType:
    """Return the module of that name, imported if need be."""
    __import__(name)  # waits for a thread that is importing it
    return sys.modules[name]


def make_cached_function(function: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    """Apply `functools.lru_cache` again."""
    from functools import lru_cache

    return lru_cache(**parameters)(function)


def make_cached_property(function: Callable[[Any], Any], name: str | None) -> Any:
    """Apply `functools.cached_property` again, under the name it had."""
    from functools import cached_property

    attribute = cached_property(function)
    attribute.attrname = name
    return attribute


def set_enum_state(cls: Any, state: tuple[Any, dict[str, dict[str, Any]]]) -> None:
    """Fill an enum made by cloudpickle, its members too."""
    from cloudpickle import cloudpickle

    class_state, attributes = state
    cloudpickle._class_setstate(cls, class_state)
    for name, values in attributes.items():
        vars(cls[name]).update(values)


def make_type_parameter(kind: str, arguments: list[Any], options: dict[str, Any]) -> Any:
    """Make a `typing.TypeVar` or one of its relatives, as if in ``__main__``."""
    import typing

    parameter = getattr(typing, kind)(*arguments, **options)
    parameter.__module__ = "__main__"
    return parameter


def make_single_dispatch(base: Callable[..., Any], others: dict[type, Callable[..., Any]]) -> Any:
    """Apply `functools.singledispatch` again."""
    from functools import singledispatch

    function = singledispatch(base)
    for cls, implementation in others.items():
        function.register(cls, implementation)
    return function


def _dumps_by_value(obj: object, collect: Callable[[Any], object] | None) -> bytes:
    from lineshaft._serial.pickler import dumps

    def refer(root: str, path: str) -> str | None:
        # The program has it, for it sent it or is where it was inherited from.
        if not _bound.get(root) and id(main_namespace().get(root)) != _inherited.get(root):
            return None
        return f"{root}.{path}" if path else root

    try:
        return dumps(obj, refer, collect)[0]
    except (OSError, MemoryError):
        raise
    except Exception as error:
        from lineshaft._serial.explain import explain
        from lineshaft._serial.unsendable_result import UnsendableResult

        if isinstance(error, UnsendableResult):
            raise  # a part of it has said already what it is
        why = explain(obj, "result")
        raise UnsendableResult(why, repr(error), _representation(obj)) from error


def _representation(obj: object) -> str:
    try:
        return repr(obj)
    except Exception as error:
        return f"<repr() failed: {type(error).__name__}>"
