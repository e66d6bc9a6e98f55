"""Chunks of an input, and the functions that run a chunk in a worker."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from lineshaft._chunk_names import named_like

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

S = TypeVar("S")
T = TypeVar("T")


def cut(iterable: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    """Cut `iterable` into tuples of `size` items, the last one shorter.

    Examples
    --------
    >>> list(cut("abcde", 2))
    [('a', 'b'), ('c', 'd'), ('e',)]
    """
    return iter(partial(_next_chunk, iter(iterable), size), ())


def _next_chunk(items: Iterator[T], size: int) -> tuple[T, ...]:
    return tuple(islice(items, size))


def over_chunk(func: Callable[[S], T]) -> Callable[[tuple[S, ...]], list[T]]:
    """Return a function that calls `func` for each item of a chunk.

    A function of its own per `map`, because functions travel to a worker once, whereas arguments
    and `functools.partial` objects travel with every call. It is shown under the name of `func`.
    """

    def run_chunk(chunk: tuple[S, ...]) -> list[T]:
        # Half the time of a comprehension, but a StopIteration of `func` ends it early.
        results = list(map(func, chunk))
        if len(results) < len(chunk):
            raise RuntimeError(f"the call for {chunk[len(results)]!r} raised StopIteration")
        return results

    return named_like(func, run_chunk, spreads_items=False)


def over_star_chunk(func: Callable[..., T]) -> Callable[[tuple[Iterable[Any], ...]], list[T]]:
    """Return a function that calls `func` with the items of each item of a chunk."""

    def run_chunk(chunk: tuple[Iterable[Any], ...]) -> list[T]:
        return [func(*args) for args in chunk]

    return named_like(func, run_chunk, spreads_items=True)
