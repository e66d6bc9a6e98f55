"""Arguments of a call in a few words, for the dashboard's page of a task.

They are made after the call, where it ran, if it took long or raised. So they are short, whatever the arguments are:
of containers the first elements, of arrays and tables type and shape, and nothing of what raises when it is looked at.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

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


def show(args: tuple[Any, ...], kwargs: dict[str, Any] | None = None, each: bool = False) -> str:
    """Return the arguments of a call in at most 200 characters.

    Parameters
    ----------
    args, kwargs
        What it was called with.
    each
        Whether it is a batch: the first argument is a list of items.

    Examples
    --------
    >>> show((1, "a", list(range(1000))), {"key": {}})
    "1, 'a', [0, 1, 2, 3, ...], key={}"
    >>> show(([(1,), (2,)],), {}, True)
    '1, the first of 2 items'
    """
    if each:
        items = args[0]
        first = show(items[0])
        return first if len(items) == 1 else f"{first}, the first of {len(items)} items"
    # What joblib's batches have beside the calls is none of the user's.
    shown = [_show(value, 0) for value in args[: _ALL_MAX // 2] if type(value).__module__ != "lineshaft.joblib.batch"]
    shown += [f"{name}={_show(value, 0)}" for name, value in islice((kwargs or {}).items(), _ALL_MAX // 2)]
    return _cut(", ".join(shown), _ALL_MAX) or "none"


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
