"""Snapshots: this process as it is now, forked, for the workers of one pool to be forked from.

Under the start method `fork` a worker sees the program as it was when its pool was made: globals that
were changed in place, settings of libraries, open files, modules made at run time, locks and queues.
So the thread that makes the pool forks once, there and then. The child serves as the zygote of that
pool: it never goes on with the program and never touches the engine, whose threads it does not have.
The risk is the one that a pool of the standard library takes.

The child cannot rely on the end of its socket alone to learn that the program has ended, because
other children of the program may hold the socket's other end; nor on the signal for the death of a
parent, which comes when the *thread* that forked ends. It watches the program's process.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # `signal` would import `enum`
import gc
import os
import sys
import threading
from functools import partial
from multiprocessing import process as mp_process
from multiprocessing import util

# What workers need is imported before the fork, which spares them that.
import lineshaft._batch
import lineshaft._console  # noqa: F401
from lineshaft import _native, _process, _worker
from lineshaft._serial.inherited import Inherited
from lineshaft._serial.parent import Encoder
from lineshaft._serial.worker import inherit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from multiprocessing.context import BaseContext
    from multiprocessing.process import BaseProcess
    from typing import Any, NoReturn

__all__ = ["call_initializer", "open_pool"]

#: One at a time, or one child would keep the other's end of a socket open.
_lock = threading.Lock()

#: In a worker: what it calls before its first task.
_initializer: Callable[[], object] | None = None


def open_pool(
    engine: _native.Engine,
    context: BaseContext,
    workers: int,
    *,
    name: str,
    for_pool: bool,
    initializer: Callable[..., object] | None,
    initargs: Iterable[Any],
    max_tasks_per_worker: int | None,
    growth_bytes_max: int | None,
    setup: dict[str, Any],
    environment: Iterable[tuple[str, str]],
) -> _native.Pool:
    """Open a pool of processes that are forked from this one as it is now.

    Parameters
    ----------
    context
        What the workers' `multiprocessing` processes are made by.
    workers
        Processes that the pool starts with.
    for_pool
        Whether they are those of a `multiprocessing.Pool`: daemons, and called so.
    initializer, initargs
        Called in each worker; inherited, not pickled.
    setup
        What the workers should know of the engine.
    environment
        Variables to be set in them.
    """
    # Before the fork: what is there then is inherited.
    encoder = Encoder(Inherited())
    call = None if initializer is None else partial(initializer, *initargs)
    crew = _Crew(context, for_pool=for_pool, count=workers)
    return engine.process_pool(
        name=name,
        workers=workers,
        initializer=None if call is None else call_initializer,
        initargs=(),
        tasks_per_worker_max=max_tasks_per_worker,
        growth_bytes_max=growth_bytes_max,
        snapshot=_fork_zygote(crew, call, setup, environment),
        encoder=encoder,
        patient=True,
    )


def _fork_zygote(
    crew: _Crew,
    initializer: Callable[[], object] | None,
    setup: dict[str, Any],
    environment: Iterable[tuple[str, str]],
) -> _native.Snapshot:
    """Fork the zygote of a pool."""
    global _initializer
    with _lock:
        snapshot = _native.Snapshot()
        # What is buffered would be written twice.
        util._flush_std_streams()  # type: ignore[attr-defined]
        # Each call that changes the mask runs the program's signal handlers, which may raise.
        mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, ())
        try:
            # A signal between the fork and the child's own process group is not meant for the child.
            _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
            ends = _fork(snapshot)
            if ends is not None:
                _initializer = initializer
                _serve(*ends, crew, mask, setup, environment)
        finally:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
    return snapshot


def _fork(snapshot: _native.Snapshot) -> tuple[int, int] | None:
    if sys.version_info >= (3, 12):
        import warnings

        # It warns of threads, and counts the engine's.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return snapshot.fork(os.fork)
    return snapshot.fork(os.fork)


def call_initializer() -> None:
    """In a worker, call the initializer that it has inherited."""
    global _initializer
    initializer, _initializer = _initializer, None
    if initializer is not None:
        initializer()


class _Crew:
    """The `multiprocessing` processes that workers are: names, numbers, keys, as if started by a pool."""

    def __init__(self, context: BaseContext, *, for_pool: bool, count: int) -> None:
        self._make = context.Process  # type: ignore[attr-defined]
        self._for_pool = for_pool
        self._program = mp_process.current_process()
        self.program_pid = os.getpid()
        self._waiting = [self._new() for _ in range(count)]

    def _new(self) -> BaseProcess:
        process: BaseProcess = self._make()
        if self._for_pool:
            process.name = process.name.replace("Process", "PoolWorker")
            process.daemon = True
        process._parent_pid = self.program_pid  # type: ignore[attr-defined]
        return process

    def join(self, work: Callable[[], None], sentinel: int) -> int:
        """Be the next of them; return the exit code."""
        process = self._next
        process._target = work  # type: ignore[attr-defined]
        code: int = process._bootstrap(parent_sentinel=sentinel)  # type: ignore[attr-defined]
        return code

    def advance(self) -> None:
        """Before a fork: decide who is next."""
        self._next = self._waiting.pop(0) if self._waiting else self._new()


def _serve(
    socket: int,
    ours: int,
    crew: _Crew,
    mask: set[int],
    setup: dict[str, Any],
    environment: Iterable[tuple[str, str]],
) -> NoReturn:
    """Be the zygote, with every signal blocked: the program's handlers are not for this process."""
    try:
        # The terminal's Ctrl-C is the program's.
        os.setpgid(0, 0)
        _worker.hold_standard_descriptors()
        program = os.pidfd_open(crew.program_pid)
        if os.getppid() != crew.program_pid:
            os._exit(0)
        os.close(ours)
        _give_up_objects()
        _signal.set_wakeup_fd(-1)
        main = threading.main_thread()
        if isinstance(main, threading._DummyThread) and hasattr(main, "_set_tstate_lock"):
            main._set_tstate_lock()  # `threading._shutdown` insists on one until Python 3.12
        for name, value in environment:
            os.environ.setdefault(name, value)
        inherit()
        _native.Zygote.tune_allocator()
        # What is here now lives as long as each worker: it need not be looked at again.
        gc.freeze()

        def start(descriptors: tuple[int, ...], growth_bytes_max: int | None, tasks_max: int | None) -> int:
            # A worker is interrupted by its engine, once it is ready for that.
            _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
            _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
            work = partial(_worker.work, descriptors, growth_bytes_max, tasks_max, setup, inherits=True)
            return crew.join(work, program)

        _worker.serve(_native.Zygote(socket), start, before_fork=crew.advance, program=program)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(1)


def _give_up_objects() -> None:
    """Give up objects in shared memory, which would take memory for as long as this process keeps them."""
    objects = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}").startswith("/memfd:lineshaft"):
                objects.append(int(name))
        except OSError:
            pass  # that of the listing itself
    _process.give_up(objects)


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)
