"""Arguments of a call in a few words, for the dashboard's page of a task.

They are made after the call, where it ran, if it took long or raised. So they are short, whatever the arguments are:
of containers the first elements, of arrays and tables type and shape, and nothing of what raises when it is looked at.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from operator import length_hint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType
    from typing import Any

    #: Arguments by position and by name.
    Call = tuple[tuple[Any, ...], dict[str, Any]]

__all__ = ["show"]

#: Characters of all arguments together.
_ALL_MAX = 200
#: Characters of one value.
_VALUE_MAX = 80
#: Elements of a container, levels of containers, and bits of an integer.
_ELEMENTS_MAX, _DEPTH_MAX, _BITS_MAX = 4, 3, 256
#: What has more elements, and is none of the containers that are known here, is told by their number.
_LENGTH_MAX = 100

_BRACKETS: dict[type, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
    deque: ("deque([", "])"),
    dict: ("{", "}"),
}
_CONTAINERS = tuple(_BRACKETS)


#: What calls a function for each item of a chunk, by module and name: what of an item it calls it with.
_LOOPS: dict[tuple[str, str], Callable[[Any], Call]] = {
    ("lineshaft._chunks", "_call_each"): lambda item: ((item,), {}),
    ("lineshaft._chunks", "_call_each_spread"): lambda item: (item, {}),
    ("lineshaft.joblib.batch", "_call_each"): lambda item: item[1:],
    ("lineshaft.joblib.batch", "_call_each_of"): lambda item: item,
}
#: A traceback is followed so far to find one of them.
_FRAMES_MAX = 8


def show(
    args: tuple[Any, ...],
    kwargs: dict[str, Any] | None = None,
    each: bool = False,
    traceback: TracebackType | None = None,
) -> str:
    """Return the arguments of a call in at most 200 characters.

    Parameters
    ----------
    args, kwargs
        What it was called with.
    each
        Whether it is a batch: the first argument is a list of items.
    traceback
        Where it raised, if it did. If it called a function for each item of a chunk, the arguments are those with
        which the function raised.

    Examples
    --------
    >>> show((1, "a", list(range(1000))), {"key": {}})
    "1, 'a', [0, 1, 2, 3, ...], key={}"
    >>> show(([(1,), (2,)],), {}, True)
    '1, the first of 2 items'
    """
    if each:
        return _show_first(args[0], lambda item: (item, {}), "item")
    if args and (failed := _failed(args[0], traceback)):
        args, kwargs = failed
    elif calls := _calls_of_joblib(args):
        return _show_first(calls, lambda call: call[-2:], "call")
    shown = [_show(value, 0) for value in args[: _ALL_MAX // 2]]
    shown += [f"{name}={_show(value, 0)}" for name, value in islice((kwargs or {}).items(), _ALL_MAX // 2)]
    return _cut(", ".join(shown), _ALL_MAX) or "none"


def _show_first(items: Sequence[Any], call: Callable[[Any], Call], name: str) -> str:
    first = show(*call(items[0]))
    return first if len(items) == 1 else f"{first}, the first of {len(items)} {name}s"


def _failed(chunk: Any, traceback: TracebackType | None) -> Call | None:
    """Return what a function was called with that raised for an item of this chunk; None if it is none."""
    for _ in range(_FRAMES_MAX):
        if traceback is None:
            break
        frame = traceback.tb_frame
        call = _LOOPS.get((frame.f_globals.get("__name__", ""), frame.f_code.co_name))
        # What a task calls may have chunks of its own.
        if call and (names := frame.f_locals)["chunk"] is chunk:
            return call(chunk[len(chunk) - length_hint(names["items"]) - 1])
        traceback = traceback.tb_next
    return None


def _calls_of_joblib(args: tuple[Any, ...]) -> Any:
    """Return the calls of a batch of joblib, each with its arguments last, if these are a batch."""
    kind = (type(args[-1]).__module__, type(args[-1]).__name__) if args else None
    if kind == ("lineshaft.joblib.batch", "Surroundings"):
        return args[0]
    return args[-1].items if kind == ("joblib.parallel", "BatchedCalls") else None


def _show(value: Any, depth: int) -> str:
    try:
        return _cut(_describe(value, depth), _VALUE_MAX if depth else _ALL_MAX)
    except Exception as error:
        return f"<{type(value).__name__}, repr() of which raises {type(error).__name__}>"


def _describe(value: Any, depth: int) -> str:
    kind = type(value)
    if kind in (str, bytes, bytearray):
        return repr(value[:_VALUE_MAX]) + ("..." if len(value) > _VALUE_MAX else "")
    if isinstance(value, int) and value.bit_length() > _BITS_MAX:
        return f"<int of {value.bit_length()} bits>"
    if isinstance(value, _CONTAINERS):
        return _elements(value, depth)
    if hasattr(kind, "shape") and (hasattr(kind, "dtype") or hasattr(kind, "dtypes")) and value.shape != ():
        # An array, a table, a column of one.
        parts = [str(value.dtype)] if hasattr(kind, "dtype") else []
        return f"{kind.__name__}({', '.join([*parts, f'shape={tuple(value.shape)}'])})"
    if hasattr(kind, "__dataclass_fields__") and getattr(kind, "__dataclass_params__").repr:  # noqa: B009 - a name of its module
        fields = [name for name, field in kind.__dataclass_fields__.items() if field.repr]
        shown = (f"{name}={_show(getattr(value, name), depth + 1)}" for name in fields[:_ELEMENTS_MAX])
        return f"{kind.__name__}({_listed(shown, len(fields), depth)})"
    if hasattr(kind, "__len__") and not isinstance(value, range) and len(value) > _LENGTH_MAX:
        return f"<{kind.__name__} of {len(value)}>"
    return repr(value)


def _elements(value: Any, depth: int) -> str:
    kind = type(value)
    base = next(it for it in _CONTAINERS if isinstance(value, it))
    opening, closing = _BRACKETS[base]
    if kind is not base:
        opening, closing = f"{kind.__name__}({opening}", f"{closing})"
    if kind is tuple and len(value) == 1:
        closing = ",)"
    few: Iterable[Any] = islice(value, _ELEMENTS_MAX)
    if isinstance(value, dict):
        shown = (f"{_show(key, depth + 1)}: {_show(value[key], depth + 1)}" for key in few)
    else:
        shown = (_show(element, depth + 1) for element in few)
    return opening + _listed(shown, len(value), depth) + closing


def _listed(shown: Iterable[str], count: int, depth: int) -> str:
    if depth >= _DEPTH_MAX and count:
        return "..."
    return ", ".join([*shown, *["..."] * (count > _ELEMENTS_MAX)])


def _cut(text: str, length_max: int) -> str:
    text = " ".join(text[: 4 * length_max].split()) if "\n" in text else text
    return text if len(text) <= length_max else text[: length_max - 3] + "..."
