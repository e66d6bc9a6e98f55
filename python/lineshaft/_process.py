"""What this process is: a user's program, or a worker of an engine. Imports nothing: workers start with it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lineshaft import _native

#: The session of this process with its engine, if it is a worker.
session: _native.Session | None = None
#: What the engine's process said of itself when the worker's zygote was started.
setup: dict[str, Any] = {}


def become_worker(own_session: _native.Session, own_setup: dict[str, Any]) -> None:
    """Make this process a worker: nested calls go through its session."""
    global session
    session = own_session
    setup.update(own_setup)


def is_worker() -> bool:
    """Whether this process is a worker of an engine."""
    return session is not None
