"""Who calls what runs on threads.

Builtins such as `eval`, `globals` and `warnings.warn` look at the frame of their caller. The engine has none.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> Any:
    """Call a function."""
    if kwargs is None:
        return function(*args)
    return function(*args, **kwargs)
