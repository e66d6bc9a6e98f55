"""Callables that call another one for each item of a chunk. Workers import this module, so it imports little.

There is a function of its own per `map` over a function, because functions travel to a worker once. What has a state,
as a `functools.partial` or a bound method, travels with every chunk, and so does what calls it.
"""

from __future__ import annotations

from lineshaft._serial.definition import group_of, is_function, show_as

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

__all__ = ["OverChunk", "over_chunk", "over_star_chunk"]


class OverChunk:
    """Calls `called_for_items` for each item of a chunk, or with the items of each if it `spreads_items`."""

    def __init__(self, func: Callable[..., Any], spreads_items: bool) -> None:
        self.called_for_items = func
        self.spreads_items = spreads_items
        show_as(self, group_of(func))

    def __call__(self, chunk: Sequence[Any]) -> list[Any]:
        """Return the results."""
        return (_call_each_spread if self.spreads_items else _call_each)(self.called_for_items, chunk)


def over_chunk(func: Callable[..., Any]) -> Callable[[tuple[Any, ...]], list[Any]]:
    """Return what calls `func` for each item of a chunk; it is shown under the name of `func`."""
    return _over(func, _call_each, spreads_items=False)


def over_star_chunk(func: Callable[..., Any]) -> Callable[[Sequence[Iterable[Any]]], list[Any]]:
    """Return what calls `func` with the items of each item of a chunk."""
    return _over(func, _call_each_spread, spreads_items=True)


def _over(func: Any, call_each: Callable[..., list[Any]], *, spreads_items: bool) -> Callable[..., list[Any]]:
    if not is_function(func):
        return OverChunk(func, spreads_items)

    def run_chunk(chunk: Sequence[Any]) -> list[Any]:
        return call_each(func, chunk)

    # What cannot be sent is named as the item, or the argument, that it is.
    run_chunk.called_for_items = func  # type: ignore[attr-defined]
    run_chunk.spreads_items = spreads_items  # type: ignore[attr-defined]
    run_chunk.__name__ = getattr(func, "__name__", run_chunk.__name__)
    show_as(run_chunk, group_of(func))
    return run_chunk


def _call_each(func: Callable[..., Any], chunk: Sequence[Any]) -> list[Any]:
    # Where a call raises it has come to that one: `_arguments` looks at it.
    items = iter(chunk)
    # Half the time of a comprehension, but a StopIteration of `func` ends it early.
    results = list(map(func, items))
    if len(results) < len(chunk):
        raise RuntimeError(f"the call for {chunk[len(results)]!r} raised StopIteration")
    return results


def _call_each_spread(func: Callable[..., Any], chunk: Sequence[Iterable[Any]]) -> list[Any]:
    items = iter(chunk)
    return [func(*args) for args in items]
