"""`Engine`: what calls are submitted to.

In the user's process an engine owns worker processes and threads. In a worker process it stands for
the engine that the worker belongs to: nested calls go there.
"""

from __future__ import annotations

import os
import threading
import time
import types
from collections import OrderedDict, defaultdict

from lineshaft import _exit, _native, _observe, _process, _running, _startup
from lineshaft._serial.handing_over import HandingOver
from lineshaft._serial.parent import Encoder
from lineshaft.errors import EngineClosed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from multiprocessing.context import BaseContext
    from types import TracebackType
    from typing import Any, Self, TypeVar

    from lineshaft._event_loop import EventLoops
    from lineshaft.futures import Future

    T = TypeVar("T")

#: `inspect.CO_COROUTINE`: the flag of a function defined by ``async def``.
_CO_COROUTINE = 0x80

#: How long calls have to clean up after Ctrl-C, in seconds, until their workers are killed.
INTERRUPT_GRACE_S = 1.0


class Engine(_observe.Observed):
    """One engine: worker processes and threads under one budget of cores and shared memory.

    Parameters
    ----------
    workers
        Worker processes, and cores that running tasks take together; by default as many as this
        process may use (affinity, cgroup), or what `lineshaft run --workers` said.
    memory
        Shared memory that objects may take together before they go to disk: bytes, or text such as
        ``"8GiB"``; by default half of what the machine has.
    spill_dir
        Where they go; the system's folder for temporary files by default.
    max_tasks_per_worker
        Tasks after which a worker process is replaced by a fresh one.
    max_worker_growth
        Growth of a worker's own memory after which it is replaced: bytes, or text such as ``"2GiB"``.
        What it holds of shared memory does not count.
    dashboard
        True: `dashboard_url` is served from the start and printed once. False: it is never served. By default
        it is from the first time that somebody asks for it. An address of this machine, such as ``"0.0.0.0"`` for
        all of them: it is served from the start, for other machines too, to whoever has the token in the address
        that is printed. With a port, as in ``"127.0.0.1:9000"``, it is served there and nowhere else.

    Raises
    ------
    ValueError
        If `workers` or `max_tasks_per_worker` is not positive, `memory` or `max_worker_growth` is not a size, or
        `dashboard` is text and not an address.
    TypeError
        If `spill_dir` is not a path, or `dashboard` is neither a bool nor text.
    OSError
        If no file can be made in `spill_dir`, or the port of `dashboard` cannot be had.

    Examples
    --------
    >>> import lineshaft as ls
    >>> with ls.Engine(workers=2) as engine:
    ...     list(engine.map(abs, [-1, -2, -3]))
    [1, 2, 3]
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        memory: int | str | None = None,
        spill_dir: str | os.PathLike[str] | None = None,
        max_tasks_per_worker: int | None = None,
        max_worker_growth: int | str | None = None,
        dashboard: bool | str | None = None,
    ) -> None:
        _observe.check_dashboard(dashboard)
        if max_tasks_per_worker is not None:
            max_tasks_per_worker = _startup.check_count("max_tasks_per_worker", max_tasks_per_worker)
        self.workers = _startup.default_workers() if workers is None else _startup.check_count("workers", workers)
        self._memory_bytes = _startup.memory_bytes(memory)
        self._spill_dir = _startup.usable_folder(spill_dir) if spill_dir is not None else _startup.temporary_folder()
        self._max_tasks_per_worker = max_tasks_per_worker
        self._growth_bytes_max = None
        if max_worker_growth is not None:
            self._growth_bytes_max = _startup.size_bytes("max_worker_growth", max_worker_growth)
        self._dashboard = dashboard
        self._encoder = Encoder()
        self._pools: dict[tuple[str, int], _native.Pool] = {}
        #: Pools that nobody uses at the moment, by kind and what they are for; the one given back last is last.
        self._spare: defaultdict[str, OrderedDict[Any, _native.Pool]] = defaultdict(OrderedDict)
        #: Pools of more processes than the engine has workers, by their number, and how many use them.
        self._wide: dict[int, tuple[_native.Pool, int]] = {}
        #: What coroutine functions run on, once there are any.
        self._event_loops: list[EventLoops] = []
        #: Pools of executors that were shut down without waiting for their calls.
        self._left: set[_native.Pool] = set()
        #: Whether it has ever had a `Pool` or `ThreadPool`, whose calls nobody waits for at exit.
        self._serves_pools = False
        #: Reentrant, because a finalizer may submit while a pool is being opened.
        self._lock = threading.RLock()
        self._started_s = time.monotonic()
        #: Processor time that this process and its children had taken before: none of the engine's.
        self._started_cpu_s = sum(os.times()[:4])
        self._owner_pid = os.getpid()
        self._environment = dict(os.environ)
        self._setup = b""
        #: Where the program was when worker processes were last told, a new object each time that it had moved;
        #: and where those were told to be that all calls share.
        self._place = _startup.place()
        self._shared_place: tuple[str | None, dict[Any, Any]] | None = None
        with _running.lock:
            self._native = None if _process.session is not None else self._start()
        #: In a worker, whose processes are its engine's: threads of its own, once they are needed.
        self._native_threads: _native.Engine | None = None
        self._closed = False
        with _running.lock:
            _running.engines.add(self)
        if dashboard and self._native is not None:
            _observe.announce(self)

    def _start(self, *, processes: bool = True) -> _native.Engine:
        from lineshaft._console import Console

        if processes:
            self._setup = _startup.description(self._environment, self._spill_dir)
        return _native.Engine(
            cores=self.workers,
            memory_bytes=self._memory_bytes,
            spill_dir=self._spill_dir,
            encoder=self._encoder,
            console=Console() if processes else None,
            command=_startup.zygote_command() if processes else None,
            environment=_startup.zygote_environment(self.workers) if processes else [],
            setup=self._setup if processes else b"",
        )

    # Pools. Executors open their own; calls on the engine itself share these.

    def _open_processes(
        self,
        workers: int,
        *,
        name: str,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        max_tasks_per_worker: int | None = None,
        context: BaseContext | None = None,
        for_pool: bool = False,
    ) -> _native.Pool:
        """Open a pool of worker processes.

        With a `context` of `multiprocessing` they are started as its start method says, and are the
        processes of a `multiprocessing.Pool` if `for_pool`: they take as long to end as they need. A worker's own
        pools always consist of fresh ones, which its engine has started.
        """
        self._check_open()
        # Whoever opens a pool keeps the arguments of its initializer.
        to_workers = HandingOver(to_many=True)
        if self._native is None:
            assert _process.session is not None, "only a worker has no engine of its own"
            with to_workers:
                return _process.session.process_pool(
                    workers=workers,
                    initializer=initializer,
                    initargs=initargs,
                    tasks_per_worker_max=max_tasks_per_worker,
                )
        max_tasks_per_worker = max_tasks_per_worker or self._max_tasks_per_worker
        if context is not None and context.get_start_method() == "fork":
            from lineshaft import _snapshot

            return _snapshot.open_pool(
                self._native,
                context,
                workers,
                name=name,
                for_pool=for_pool,
                initializer=initializer,
                initargs=initargs,
                max_tasks_per_worker=max_tasks_per_worker,
                growth_bytes_max=self._growth_bytes_max,
                setup={"spill_dir": self._spill_dir, "workers": _startup.default_workers()},
                environment=_startup.zygote_environment(self.workers),
            )
        # Processes of a new pool start where the program is now, as forked ones do.
        setup = _startup.description(self._environment, self._spill_dir)
        if setup != self._setup:
            self._native.set_up(setup)
            self._setup = setup
            if (place := _startup.place()) != self._place:
                self._place = place
        encoder = None if context is None else _startup.encoder_for(context, for_pool=for_pool)
        with to_workers:
            return self._native.process_pool(
                name=name,
                workers=workers,
                initializer=initializer,
                initargs=initargs,
                tasks_per_worker_max=max_tasks_per_worker,
                growth_bytes_max=self._growth_bytes_max,
                encoder=encoder,
                patient=context is not None,
            )

    def _open_threads(
        self,
        workers: int,
        *,
        name: str,
        takes_core: bool = False,
        lasting: bool = True,
        for_pool: bool = False,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        internal: bool = False,
    ) -> _native.Pool:
        return self._local().thread_pool(
            name=name,
            workers=workers,
            takes_core=takes_core,
            lasting=lasting,
            daemons=for_pool,
            initializer=initializer,
            initargs=initargs,
            internal=internal,
        )

    def _local(self) -> _native.Engine:
        """Return the engine whose threads are this process's."""
        self._check_open()
        with self._lock:
            if self._native is None:
                self._native_threads = self._native_threads or self._start(processes=False)
                return self._native_threads
            return self._native

    def _pool(self, kind: str, size: int) -> _native.Pool:
        pool = self._pools.get((kind, size))
        if pool is not None:
            return pool
        return self._shared_pool(kind, size, lambda: self._open_pool(kind, size))

    def _shared_pool(self, kind: str, size: int, open_pool: Callable[[], _native.Pool]) -> _native.Pool:
        """Return the pool that all calls of this kind share; open it for the first."""
        with self._lock:
            if (kind, size) not in self._pools:
                self._pools[kind, size] = open_pool()
            return self._pools[kind, size]

    def _open_pool(self, kind: str, size: int) -> _native.Pool:
        if kind == "processes":
            if self._native is None:
                assert _process.session is not None, "only a worker has no engine of its own"
                return _process.session.process_pool()
            pool = self._open_processes(size, name="lineshaft")
            self._shared_place = self._place
            return pool
        if kind == "threads":
            # There may be one for each number that the program ever asks for.
            return self._open_threads(size, name="lineshaft-thread", takes_core=size <= self.workers, lasting=False)
        from lineshaft._event_loop import EventLoops

        native, loops = self._local(), EventLoops()
        self._event_loops.append(loops)
        return native.loop_pool(name="lineshaft-loop", workers=size, start=loops.start, cancel=loops.cancel)

    # Calls.

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Call ``function(*args, **kwargs)`` in a worker process; return its future.

        Futures among the arguments, nested in containers too, are dependencies: the call starts when
        they are done, with their results in their places. A coroutine function runs on an event
        loop, together with many others.

        Raises
        ------
        EngineClosed
            If the engine has been shut down. Whatever else goes wrong is the future's exception.
        """
        if _is_plain(function):
            return self._pool("processes", self.workers).submit(function, args, kwargs)  # type: ignore[return-value]
        from lineshaft._task import Task

        task = function if isinstance(function, Task) else Task(function)
        return task._submit(self, args, kwargs)

    def map(self, function: Callable[..., T], /, *iterables: Iterable[Any], **options: Any) -> Iterator[T]:
        """Call `function` with the items of `iterables`; see `lineshaft.map`."""
        from lineshaft._map import map as engine_map

        return engine_map(function, *iterables, engine=self, **options)

    # Life.

    def _check_open(self) -> None:
        if self._closed:
            raise EngineClosed("cannot schedule new futures after shutdown: the engine is shut down")
        if self._owner_pid != os.getpid():
            raise EngineClosed("this engine belongs to the parent process: after os.fork() the child needs its own")

    @property
    def closed(self) -> bool:
        """Whether the engine takes no more tasks."""
        return self._closed or self._owner_pid != os.getpid()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the engine. Returns at once if it has ended, or if another thread is already ending it.

        Parameters
        ----------
        wait
            Whether to let submitted tasks come to their end first.
        cancel_futures
            Whether to cancel those that have not begun.
        """
        if self.closed:
            return
        try:
            native = self._native or self._native_threads
            if native is not None:
                if cancel_futures:
                    native.cancel_all(False)
                if wait:
                    native.wait_idle()
                    self._finish_workers()
        finally:
            self._end(in_hurry=not wait)

    def _end(self, *, in_hurry: bool) -> None:
        was_default = _running.default is self
        if was_default:
            from lineshaft import _stats

            _stats.remember(self)
        self._closed = True
        _running.discard(self)
        self._pools.clear()
        self._spare.clear()
        self._wide.clear()
        self._left.clear()
        for engine in (self._native, self._native_threads):
            if engine is not None:
                engine.shut_down(in_hurry=in_hurry)
        event_loops, self._event_loops = self._event_loops, []
        for loops in event_loops:
            loops.stop(wait=not in_hurry)
        if was_default:
            _stats.complete(self)
            _observe.on_default_end(self)

    def _interrupt_calls(self, pool: _native.Pool | None = None) -> None:
        """Raise KeyboardInterrupt in the calls that run in worker processes, and give them a moment to clean up.

        Of a pool of threads, these are the calls of all worker processes: whatever its own calls may wait for.

        The terminal's signal does not reach worker processes: a program that handles Ctrl-C itself goes on with
        the calls that run. One that gives up, or gives up a pool, interrupts all of them, as the terminal would.
        """
        native = self._native
        if native is None or self._owner_pid != os.getpid():
            return
        (pool or native).cancel_all(False)
        until_s = time.monotonic() + INTERRUPT_GRACE_S
        # A worker heeds the first signal that finds it in a call. It may be about to begin one.
        while time.monotonic() < until_s:
            if not (pool or native).send_interrupt() or (pool or native).wait_idle(INTERRUPT_GRACE_S / 20):
                break

    def _leave(self, pool: _native.Pool) -> None:
        """Note a pool that was closed: its calls, and then its workers, come to their end before the interpreter."""
        # Other threads and finalizers come here as well: each step is done at once, so none needs a lock.
        ended = [left for left in list(self._left) if left.wait_closed(0) and left.has_called_back()]
        self._left.difference_update(ended)
        self._left.add(pool)

    def _finish_calls(self) -> None:
        """Wait for what the interpreter waits for before it ends: all calls but daemons, and those of `Pool`s.

        And for their callbacks: in `concurrent.futures` the threads call them that the interpreter waits for.
        """
        native = self._native or self._native_threads
        if native is None:
            return

        def unfinished() -> list[_native.Pool | _native.Engine]:
            waited_for = _exit.calls_to_finish(self) if self._serves_pools else [native]
            return [one for one in waited_for if not (one.wait_idle(0, but_daemons=True) and one.has_called_back())]

        # A call that ends may submit to another pool, and so may a callback: one round may not be enough.
        while left := unfinished():
            for one in left:
                one.wait_idle(but_daemons=True)
                one.finish_callbacks()

    def _finish_workers(self) -> None:
        """Wait for the workers that the interpreter waits for before it ends: those of executors, when no call is left.

        They end as processes of `multiprocessing` do, which may take them a while.
        """
        for pool in list(_exit.pools_of_executors(self)) if self._native else ():
            pool.close()
            pool.wait_closed()

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Ctrl-C means stop.
        interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        try:
            if interrupted and not self.closed:
                self._interrupt_calls()
        finally:
            self.shutdown(wait=not interrupted)

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<lineshaft.Engine workers={self.workers} {state}>"


def _is_plain(function: object) -> bool:
    """Whether this is a function that runs in a worker process without further ado."""
    if isinstance(function, types.FunctionType):
        return not function.__code__.co_flags & _CO_COROUTINE
    return isinstance(function, (types.BuiltinFunctionType, type))


def check_engine(engine: object) -> None:
    """Refuse what a caller gave as `engine` and is none."""
    if engine is not None and not isinstance(engine, Engine):
        raise TypeError(f"engine must be a lineshaft.Engine, not {engine!r}")
