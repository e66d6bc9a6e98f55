"""Chunks of an input."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from lineshaft._chunks import over_chunk, over_star_chunk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["cut", "over_chunk", "over_star_chunk"]

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
