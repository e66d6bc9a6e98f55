"""Why a value cannot be pickled: the path to the smallest part of it that cannot.

Used only after pickling failed. The walk probes parts by pickling them by value, goes into the
first that fails, and stops at a part of which everything probed can be pickled.
"""

from __future__ import annotations

import functools
import pickle
import re
import types

from lineshaft import _native
from lineshaft._serial.definition import ABSENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

__all__ = ["can_be_pickled", "explain", "short"]

#: Parts probed in one explanation, and how deep the path may get.
NODES_MAX = 20_000
DEPTH_MAX = 64
_MESSAGE_CHARACTERS_MAX = 300


def explain(obj: object, root: str = "value", *, error: BaseException | None = None) -> str:
    """Say what in `obj` cannot be pickled.

    Parameters
    ----------
    obj
        A value that could not be pickled.
    root
        What it is; a name in quotes starts the path.
    error
        What pickling it raised, if known.

    Examples
    --------
    >>> import threading
    >>> explain({"a": [1, threading.Lock()]}, "argument 'x'")
    "x['a'][1] is a _thread.lock, which cannot be pickled"
    """
    quoted = re.search(r"'([^']+)'", root)
    path = quoted[1] if quoted else root
    walk = _Walk()
    failure = walk.probe(obj)
    if failure is None and error is None:
        # Then it is no argument of a call, and a future is understood nowhere else.
        walk = _Walk(takes_futures=False)
        failure = walk.probe(obj)
    if failure is None:
        if error is None:
            return f"{path} can be pickled by itself"
        return f"{path} is {_kind(obj)}, which cannot be pickled: {_message(error)}"
    if isinstance(failure.__cause__, RecursionError):
        return f"{path} is {_kind(obj)}, nested too deeply to be pickled"
    inside = ""
    for _ in range(DEPTH_MAX):
        if isinstance(obj, _native.FutureBase):
            return f"{path} is a future, which cannot be a result: return its result() instead"
        if _is_future(obj):
            return f"{path} is {_kind(obj)}, a future of another library: pass its result instead"
        part = walk.first_failing_part(path, obj)
        if part is None:
            break
        path, obj, failure = part
    if walk.is_exhausted:
        inside = "something inside "
    return f"{inside}{path} is {_kind(obj)}, {_reason(obj, failure)}"


def can_be_pickled(obj: object) -> bool:
    """Whether pickling `obj` by value succeeds."""
    return _Walk().probe(obj) is None


class _Walk:
    """One explanation: what was seen and how much may still be probed."""

    def __init__(self, *, takes_futures: bool = True) -> None:
        self._takes_futures = takes_futures
        self._left = NODES_MAX
        self._seen: dict[int, object] = {}

    @property
    def is_exhausted(self) -> bool:
        return self._left <= 0

    def probe(self, obj: object) -> Exception | None:
        """Return what pickling `obj` by value raises."""
        from lineshaft._serial.parent import collecting_references
        from lineshaft._serial.pickler import Pickler

        self._left -= 1
        with collecting_references(self._takes_futures):
            try:
                Pickler(_Nowhere(), _by_value, _ignore).dump(obj)
            except Exception as error:
                return error
        return None

    def first_failing_part(self, path: str, obj: object) -> tuple[str, object, Exception] | None:
        self._seen[id(obj)] = obj  # keeps it alive, so that its id stays its own
        for part_path, part in _parts(path, obj):
            if self._left <= 0:
                return None
            if id(part) in self._seen or isinstance(part, _ATOMS):
                continue
            failure = self.probe(part)
            if failure is not None:
                return part_path, part, failure
        return None


_ATOMS = (int, float, complex, str, bytes, bytearray, type(None))


class _Nowhere:
    """A file that keeps nothing; buffers go to `_ignore`, so that data is hardly copied."""

    def write(self, data: bytes) -> int:
        return len(data)


def _by_value(root: str, path: str) -> None:
    return None


def _ignore(buffer: pickle.PickleBuffer) -> None:
    return None


def _parts(path: str, obj: Any) -> Iterator[tuple[str, object]]:
    """Yield parts of `obj` with the paths to them, those with good names first."""
    if isinstance(obj, dict):
        for key, value in list(obj.items()):
            yield f"{path}[{short(key)}]", value
        for key in list(obj):
            yield f"key {short(key)} of {path}", key
    elif isinstance(obj, (list, tuple)):
        names = getattr(obj, "_fields", None)
        for index, value in enumerate(obj):
            yield f"{path}.{names[index]}" if names else f"{path}[{index}]", value
    elif isinstance(obj, (set, frozenset)):
        for value in obj:
            yield f"element {short(value)} of {path}", value
    elif isinstance(obj, types.FunctionType):
        yield from _parts_of_function(path, obj)
    elif isinstance(obj, types.MethodType):
        yield f"{path}.__self__", obj.__self__
        yield f"{path}.__func__", obj.__func__
    elif isinstance(obj, functools.partial):
        yield f"{path}.func", obj.func
        yield from _parts(f"{path}.args", obj.args)
        yield from _parts(f"{path}.keywords", obj.keywords)
    elif isinstance(obj, types.CellType):
        yield f"{path}.cell_contents", obj.cell_contents
    elif isinstance(obj, type):
        for name, value in list(vars(obj).items()):
            yield f"{path}.{name}", getattr(value, "__func__", value)
        for base in obj.__bases__:
            yield f"base class {base.__name__} of {path}", base
    elif isinstance(obj, property):
        for name in ("fget", "fset", "fdel"):
            yield f"{path}.{name}", getattr(obj, name)
    if not isinstance(obj, (type, types.FunctionType, types.MethodType, types.ModuleType)):
        yield from _parts_of_instance(path, obj)


def _parts_of_function(path: str, function: types.FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield f"{name!r} (captured by {path})", cell.cell_contents
        except ValueError:
            continue
    for index, value in enumerate(function.__defaults__ or ()):
        yield f"{path}.__defaults__[{index}]", value
    for name, value in (function.__kwdefaults__ or {}).items():
        yield f"{path}.__kwdefaults__[{name!r}]", value
    for name, value in function.__dict__.items():
        yield f"{path}.{name}", value
    for name, value in getattr(function, "__annotations__", {}).items():
        yield f"annotation of {name!r} in {path}", value


def _parts_of_instance(path: str, obj: Any) -> Iterator[tuple[str, object]]:
    """Yield what pickle would save of `obj`, named by attributes where they match."""
    attributes = dict(_attributes(obj))
    try:
        reduced = obj.__reduce_ex__(5)
    except Exception:
        # It refuses as a whole; an attribute that cannot be pickled is the likely reason, unless
        # its own code says otherwise.
        if type(obj).__module__ != "builtins" and not _has_own_reduction(obj):
            yield from ((f"{path}.{name}", value) for name, value in attributes.items())
        return
    if not isinstance(reduced, tuple):
        return
    parts: list[Any] = [*reduced, None, None, None]
    function, arguments, state, items, pairs = parts[:5]
    if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict):
        yield from _parts_of_state(path, state[0])
        yield from _parts_of_state(path, state[1])
    elif state is not None:
        yield from _parts_of_state(path, state)
    names = {id(value): name for name, value in attributes.items()}
    for index, value in enumerate(arguments):
        name = names.get(id(value))
        yield f"{path}.{name}" if name else f"{path}.__reduce__()[1][{index}]", value
    for index, value in enumerate(items if items is not None else ()):
        yield f"{path}[{index}]", value
    for key, value in pairs if pairs is not None else ():
        yield f"{path}[{short(key)}]", value
    if function is not getattr(obj, "__class__", None):
        yield f"{path}.__reduce__()[0]", function
    if not isinstance(obj, (dict, list, tuple, set, frozenset)):
        yield f"the class of {path}", type(obj)


def _parts_of_state(path: str, state: object) -> Iterable[tuple[str, object]]:
    if isinstance(state, dict):
        return [(f"{path}.{name}", value) for name, value in state.items()]
    return [] if state is None else [(f"the state of {path}", state)]


def _attributes(obj: object) -> Iterator[tuple[str, object]]:
    yield from getattr(obj, "__dict__", {}).items()
    for cls in type(obj).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            value = getattr(obj, name, ABSENT)
            if value is not ABSENT:
                yield name, value


def _has_own_reduction(obj: object) -> bool:
    kind: Any = type(obj)
    return (
        kind.__reduce__ is not object.__reduce__
        or kind.__reduce_ex__ is not object.__reduce_ex__
        or getattr(kind, "__getstate__", None) is not getattr(object, "__getstate__", None)
    )


def _kind(obj: object) -> str:
    if isinstance(obj, type):
        return f"class {obj.__qualname__}"
    if isinstance(obj, types.FunctionType):
        return f"function {obj.__qualname__}"
    cls = type(obj)
    name = cls.__qualname__
    if cls.__module__ not in ("builtins", "__main__"):
        name = f"{cls.__module__}.{name}"
    return f"an {name}" if name[0] in "aeiouAEIOU" else f"a {name}"


def _is_future(obj: object) -> bool:
    # Not Lineshaft's: of `concurrent.futures`, asyncio, Dask.
    kind = type(obj)
    return hasattr(kind, "add_done_callback") and hasattr(kind, "result")


def _reason(obj: object, failure: Exception) -> str:
    if type(obj).__module__.startswith("multiprocessing.") and isinstance(failure, RuntimeError):
        return (
            "which the standard library can only hand to a process that inherits it by fork, "
            "not to a running worker; use one made by multiprocessing.Manager()"
        )
    message = _message(failure)
    if message.startswith("cannot pickle"):
        return "which cannot be pickled"
    return f"which cannot be pickled: {message}"


def _message(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    if not isinstance(error, (pickle.PicklingError, TypeError)):
        text = f"{type(error).__name__}: {text}"
    if len(text) > _MESSAGE_CHARACTERS_MAX:
        text = text[:_MESSAGE_CHARACTERS_MAX] + "..."
    return text


def short(value: object) -> str:
    """Return the beginning of ``repr(value)``."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 40 else text[:37] + "..."
