"""Functions that call another one for each item of a chunk. Workers import this module, so it imports nothing.

There is a function of its own per `map`, because functions travel to a worker once, whereas arguments and
`functools.partial` objects travel with every call.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, TypeVar

    C = TypeVar("C", bound=Callable[..., Any])
    S = TypeVar("S")
    T = TypeVar("T")

__all__ = ["over_chunk", "over_star_chunk"]


def over_chunk(func: Callable[[S], T]) -> Callable[[tuple[S, ...]], list[T]]:
    """Return a function that calls `func` for each item of a chunk; it is shown under the name of `func`."""

    def run_chunk(chunk: tuple[S, ...]) -> list[T]:
        # Half the time of a comprehension, but a StopIteration of `func` ends it early.
        results = list(map(func, chunk))
        if len(results) < len(chunk):
            raise RuntimeError(f"the call for {chunk[len(results)]!r} raised StopIteration")
        return results

    return _named_like(func, run_chunk, spreads_items=False)


def over_star_chunk(func: Callable[..., T]) -> Callable[[Sequence[Iterable[Any]]], list[T]]:
    """Return a function that calls `func` with the items of each item of a chunk."""

    def run_chunk(chunk: Sequence[Iterable[Any]]) -> list[T]:
        return [func(*args) for args in chunk]

    return _named_like(func, run_chunk, spreads_items=True)


def _named_like(func: Any, run_chunk: C, *, spreads_items: bool) -> C:
    for attribute in ("__name__", "__qualname__"):
        name = getattr(func, attribute, None)
        if isinstance(name, str):
            setattr(run_chunk, attribute, name)
    # What cannot be sent is then named as the item, or the argument, that it is.
    run_chunk.called_for_items = func  # type: ignore[attr-defined]
    run_chunk.spreads_items = spreads_items  # type: ignore[attr-defined]
    return run_chunk
