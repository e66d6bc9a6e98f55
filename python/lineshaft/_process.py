"""What this process is: a user's program, a fork of it, or a worker of an engine. Workers start with this module."""

from __future__ import annotations

import atexit
import gc
import os
import sys

from lineshaft import _native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType
    from typing import Any

#: The session of this process with its engine, if it is a worker.
session: _native.Session | None = None
#: What the engine's process said of itself when the worker's zygote was started.
setup: dict[str, Any] = {}
#: The worker's number among those of its engine.
number = 0
#: How many workers its pool may have.
pool_workers = 0
#: How the worker was started, as a process of `multiprocessing`: it ends as such a process does.
start_method: str | None = None
#: In a worker, what puts back what calls have changed for others of their kind: each is told of the function of every
#: call that follows before that begins.
changed: list[Callable[[Callable[..., Any]], object]] = []


def become_worker(own_session: _native.Session, own_setup: dict[str, Any]) -> None:
    """Make this process a worker: nested calls go through its session."""
    global session
    session = own_session
    setup.update(own_setup)


def be_spawned(kind: str, daemon: bool, method: str) -> None:
    """Make this worker a process of `multiprocessing` that was started afresh, once that is imported.

    Parameters
    ----------
    kind
        What it is called, without its number.
    daemon
        Whether it is one, as in a `multiprocessing.Pool`.
    method
        By which it was started, and its own processes are, if it does not say otherwise.
    """
    global start_method
    from lineshaft._patch import when_imported

    start_method = method

    def join(process: ModuleType) -> None:
        current = process.current_process()
        current.name = f"{kind}-{number}"
        current._config["daemon"] = daemon

    def choose(context: ModuleType) -> None:
        context._default_context.set_start_method(method, force=True)

    when_imported("multiprocessing.process", join)
    when_imported("multiprocessing.context", choose)


def finish() -> None:
    """Do what a process that was started afresh does before it ends.

    Hooks of `atexit` are run, among them the finalizers of `multiprocessing`: by these, libraries remove what they have
    left on disk. The engine gives a worker a moment for that.

    A process of `multiprocessing` has all the time that it needs. It runs its finalizers, which wait until what was put
    into queues is on its way, and waits for its threads. Under `forkserver` that is all. Under `spawn` its interpreter
    ends as any does: with the hooks of `atexit`, and files that are open are written.
    """
    if start_method is None:
        atexit._run_exitfuncs()
        return
    util, threading = sys.modules.get("multiprocessing.util"), sys.modules.get("threading")
    try:
        if util is not None:
            util._exit_function()
    finally:
        if threading is not None:
            threading._shutdown()
    if start_method == "spawn":
        gc.unfreeze()  # what the zygote's namespaces have got since is collected as well
        sys.exit()


def is_worker() -> bool:
    """Whether this process is a worker of an engine."""
    return session is not None


def give_up(descriptors: Iterable[int]) -> None:
    """In a fork of a program, or of a worker, give up descriptors of its parent's.

    They are replaced rather than closed, by ones that lead nowhere: objects here still own the numbers.
    """
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in descriptors:
        os.dup2(nothing, fd, inheritable=False)
    os.close(nothing)


def _after_fork_in_child() -> None:
    global session
    # From here on no copy of anything of the parent's ends, drops or sends anything.
    inherited = _native.after_fork()
    # A child that a task forks is no worker: it may have an engine of its own.
    session = None
    # Those at the other ends wait for the parent's end, not for ours.
    if inherited:
        give_up(inherited)


# Before that of every other module here: they import this one.
os.register_at_fork(after_in_child=_after_fork_in_child)
