"""What `multiprocessing` hands over only to a process that it starts: locks, queues, pipes, shared values.

Its objects ask for the process that is being started while they are pickled (`multiprocessing.context`), and some
of them only its own pickler knows (`multiprocessing.reduction`). Here a stand-in takes the place of that process, so
that whatever can be handed to a spawned process can be handed to any worker: in the arguments of an initializer, of
a call, in a result.
"""

from __future__ import annotations

import _pickle as pickle  # what `pickle` exports, without the ten modules that it imports
import os
import stat
import sys
import threading
from contextlib import contextmanager

from lineshaft._modules import imported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableMapping
    from types import TracebackType
    from typing import Any

__all__ = ["HandingOver", "dumps_by_reference", "names_shared_objects", "reducers", "reducing"]


class _Added(threading.local):
    reducers: MutableMapping[type, Callable[[Any], Any]] | None = None


_added = _Added()


@contextmanager
def reducing(reducers: MutableMapping[type, Callable[[Any], Any]]) -> Iterator[None]:
    """Have what this thread pickles for workers meanwhile reduced by `reducers`, by the exact type."""
    before, _added.reducers = _added.reducers, reducers
    try:
        yield
    finally:
        _added.reducers = before


def dumps_by_reference(obj: object, buffer_callback: Callable[[pickle.PickleBuffer], object] | None) -> bytes:
    """Pickle as `pickle` does, functions and classes by their names, with what `reducing` has added."""
    if _added.reducers is None:
        return pickle.dumps(obj, 5, buffer_callback=buffer_callback)
    import copyreg
    import io

    file = io.BytesIO()
    pickler = pickle.Pickler(file, 5, buffer_callback=buffer_callback)
    pickler.dispatch_table = {**copyreg.dispatch_table, **_added.reducers}
    pickler.dump(obj)
    return file.getvalue()


def names_shared_objects(data: bytes) -> bool:
    """Whether an ordinary pickle may hold objects of `multiprocessing` as if they were like any others."""
    return "multiprocessing.connection" in sys.modules and b"multiprocessing." in data


def reducers() -> MutableMapping[type, Any]:
    """Return what only the pickler of `multiprocessing` knows, and what `reducing` has added."""
    reduction = imported("multiprocessing.reduction")
    known: MutableMapping[type, Any] = reduction.ForkingPickler._extra_reducers if reduction is not None else {}
    return known if _added.reducers is None else {**known, **_added.reducers}


class HandingOver:
    """While it is entered, this thread's pickles are for a process that is being started.

    Parameters
    ----------
    to_many
        Several processes will load the pickle, any time as long as this process keeps the objects; otherwise one
        will, and this process need not keep them.
    """

    def __init__(self, *, to_many: bool = False) -> None:
        self._to_many = to_many
        self._context = imported("multiprocessing.context")
        self._is_asked = False

    def __enter__(self) -> None:
        # Whoever hands something over already knows better to whom.
        self._is_asked = self._context is not None and self._context.get_spawning_popen() is None
        if self._is_asked:
            self._context.set_spawning_popen(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._is_asked:
            self._context.set_spawning_popen(None)

    # What `multiprocessing` asks of a process that is being started.

    def duplicate_for_child(self, fd: int) -> int:
        """Return the number that stands for a descriptor."""
        return fd

    def DupFd(self, fd: int) -> object:  # noqa: N802 - its name there
        """Return what gives the descriptor to who loads it: a process that has this one's key."""
        if self._to_many and not stat.S_ISSOCK(os.fstat(fd).st_mode):
            return _Reopened(fd)
        from multiprocessing import resource_sharer

        return resource_sharer.DupFd(fd)


class _Reopened:
    """A descriptor that is opened anew, as often as wanted, while the process that has it keeps it."""

    def __init__(self, fd: int) -> None:
        import fcntl

        self._path = f"/proc/{os.getpid()}/fd/{fd}"
        self._flags = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE

    def detach(self) -> int:
        return os.open(self._path, self._flags | os.O_CLOEXEC)
