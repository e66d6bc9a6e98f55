"""The errors of calls that cannot be sent to a worker process: which argument it is, or which global, and why."""

from __future__ import annotations

import functools
import inspect
from types import FunctionType

from lineshaft._chunks import OverChunk
from lineshaft._serial.definition import name_of
from lineshaft._serial.explain import can_be_pickled, explain, short
from lineshaft._serial.namespace import Unsendable
from lineshaft.errors import SerializationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lineshaft._serial.namespace import Closure

__all__ = ["missing_global", "unsendable", "unsendable_call", "unsendable_function"]

#: Classes of errors that are kept.
CLASSES_MAX = 64


def missing_global(closure: Closure) -> Exception:
    """Say which global that a function looks up cannot be sent."""
    name, why = next(iter(closure.unsent.items()))
    return Unsendable(f"it uses {name!r} of __main__, but {why}")


def unsendable(obj: Any, call: Callable[..., Any] | None, error: BaseException) -> SerializationError:
    """Make the error of a value that cannot be pickled: any, or with `call` its arguments ``(args, kwargs)``."""
    what, root, value, of_call = "value", "value", obj, ""
    if call is not None:
        if obj[0] and obj[0][0] is call:
            function = call.called_for_items if isinstance(call, OverChunk) else call
            if not can_be_pickled(function):
                return unsendable_function(function, name_of(call), error)
            obj = obj[0][1:], obj[1]
        what, root, value = _guilty_argument(obj, call)
        of_call = f" of {name_of(call)}()"
    why = str(error) if isinstance(error, Unsendable) else explain(value, root, error=error)
    failure = _failure(f"cannot send {what}{of_call} to a worker process: {why}", error)
    failure.was_sent = False
    return failure


def unsendable_call(function: Callable[..., Any], args: Any, kwargs: Any, error: BaseException) -> Exception | None:
    """Make the error of a call that cannot be sent; None if it can, and something sent with it is what cannot."""
    if not can_be_pickled(function):
        failure = unsendable_function(function, name_of(function), error)
    elif can_be_pickled((args, kwargs)):
        return None
    else:
        failure = unsendable((args, kwargs), function, error)
    failure.__cause__ = error.__cause__
    return failure


def _guilty_argument(obj: Any, call: Callable[..., Any]) -> tuple[str, str, object]:
    """Find the first argument that cannot be pickled: what it is, what its path starts with, and its value."""
    args, kwargs = obj
    function = getattr(call, "called_for_items", None) if isinstance(call, (FunctionType, OverChunk)) else None
    if function is not None:
        # A chunk of items is no argument that the user knows of.
        item = next((item for item in args[0] if not can_be_pickled(item)), None)
        is_spread = call.spreads_items and isinstance(item, (tuple, list))  # type: ignore[attr-defined]
        _, root, value = _guilty_argument((item if is_spread else (item,), {}), function)
        return f"item {short(item)}", root, value
    try:
        arguments = inspect.signature(call).bind(*args, **kwargs).arguments
    except (TypeError, ValueError):
        arguments = {**{str(index): value for index, value in enumerate(args)}, **kwargs}
    for name, value in arguments.items():
        if not can_be_pickled(value):
            return f"argument {name!r}", f"argument {name!r}", value
    return "arguments", "arguments", obj


def unsendable_function(fn: object, name: str, error: BaseException) -> SerializationError:
    """Make the error of a callable that cannot be pickled."""
    why = str(error) if isinstance(error, Unsendable) else explain(fn, f"{name!r}", error=error)
    return _failure(f"cannot send {name}() to a worker process: {why}", error)


def _failure(text: str, error: BaseException) -> SerializationError:
    """Make an error that is also of the class of what the value itself raised: the standard library raises that."""
    while isinstance(error, SerializationError) and error.__cause__ is not None:
        error = error.__cause__
    kind: Any = type(error)
    if isinstance(error, Unsendable) or issubclass(SerializationError, kind):
        return SerializationError(text)
    try:
        return _class_for(kind)(text)
    except TypeError:
        return SerializationError(text)  # of a class that has its own ideas of what can be derived from it


@functools.lru_cache(CLASSES_MAX)
def _class_for(kind: Any) -> type[SerializationError]:
    """Return the class of errors that are caught as a `SerializationError` and as the exception class `kind`."""

    class RaisedError(SerializationError, kind):  # type: ignore[misc]
        # Some are made from something else than a text, or have one of their own, such as `KeyError`.
        __init__ = Exception.__init__
        __str__ = Exception.__str__

        def __reduce__(self) -> tuple[Any, ...]:
            return _rebuild, (kind, self.args, self.__dict__)

    RaisedError.__name__, RaisedError.__qualname__ = SerializationError.__name__, SerializationError.__qualname__
    RaisedError.__module__ = SerializationError.__module__
    found: type[SerializationError] = RaisedError
    return found


def _rebuild(kind: Any, args: tuple[Any, ...], state: dict[str, Any]) -> SerializationError:
    error = _class_for(kind)(*args)
    error.__dict__.update(state)
    return error
