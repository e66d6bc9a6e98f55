"""How functions that call another one for each item of a chunk are shown: as the one they call."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    C = TypeVar("C", bound=Callable[..., Any])

__all__ = ["named_like"]


def named_like(fn: Any, over_chunk: C, *, spreads_items: bool) -> C:
    """Show a function that calls `fn` for each item of a chunk as `fn`, in messages and statistics.

    Parameters
    ----------
    spreads_items
        Whether an item is several arguments.
    """
    for attribute in ("__name__", "__qualname__"):
        name = getattr(fn, attribute, None)
        if isinstance(name, str):
            setattr(over_chunk, attribute, name)
    # What cannot be sent is then named as the item and the argument that it is.
    over_chunk.called_for_items = fn  # type: ignore[attr-defined]
    over_chunk.spreads_items = spreads_items  # type: ignore[attr-defined]
    return over_chunk
