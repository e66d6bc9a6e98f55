"""Modules that the program may have imported, or not."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def imported(name: str) -> Any:
    """Return a module if it was imported, else None; one that another thread is importing right now is waited for."""
    if sys.modules.get(name) is None:
        return None
    __import__(name)
    return sys.modules[name]
