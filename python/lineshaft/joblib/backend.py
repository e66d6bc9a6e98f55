"""The backend as joblib sees it: how many jobs there are, where they run, and how a call begins and ends.

One instance belongs to one ``Parallel`` object, or to one ``with parallel_config(...)`` block, in which
several run one after the other. joblib calls it from the thread that called ``Parallel``, and from
the thread that is told of results if these come as a generator.
"""

from __future__ import annotations

import os

from joblib.parallel import (
    AutoBatchingMixin,
    FallbackToBackend,
    ParallelBackendBase,
    SequentialBackend,
    mp,
)

from lineshaft import _native, _process, _running, _startup
from lineshaft.joblib import limits
from lineshaft.joblib.announcing import DAEMON, Announcing
from lineshaft.joblib.batch import Surroundings
from lineshaft.joblib.ending import is_on_daemon, stops_with_program
from lineshaft.joblib.joining import Joining
from lineshaft.joblib.pools import Pools
from lineshaft.joblib.sharing import Sharing
from lineshaft.joblib.waiting import Waiting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import BaseContext
    from types import ModuleType
    from typing import Any, Self

    from lineshaft._engine import Engine
    from lineshaft.joblib.run import Batch, Run

__all__ = ["LineshaftBackend", "LineshaftThreadingBackend", "serve", "unserve"]

#: Levels of nested calls; below them, calls run one after the other. Each level that waits holds a
#: worker process.
LEVELS_MAX = 10


class LineshaftBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """Runs the batches of ``Parallel`` on the engine: in worker processes, or on threads if memory is to be shared.

    Parameters
    ----------
    engine
        The engine; the default one if there is none.
    retries
        How often a batch runs again whose worker was killed from outside or for want of memory.
    inner_max_num_threads
        Threads that BLAS and OpenMP may use in each worker. By default the cores are divided among
        the jobs, unless the environment says how many to use.
    initializer, initargs
        Called in each worker before its first batch.
    """

    supports_retrieve_callback = False
    supports_return_generator = True
    supports_timeout = True
    supports_inner_max_num_threads = True
    supports_sharedmem = True
    uses_threads = False
    #: Whether workers are forked from the program, where joblib's backend of the same name forks them.
    may_fork = False

    # A batch costs some tens of microseconds, so it need not last long to be worth it.
    MIN_IDEAL_BATCH_DURATION = 0.02
    MAX_IDEAL_BATCH_DURATION = 0.5

    def __init__(
        self,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        *,
        engine: Engine | None = None,
        retries: int = 1,
        **backend_kwargs: Any,
    ) -> None:
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads, **backend_kwargs)
        self.parallel: Any = None
        self._engine = engine
        self._retries = retries
        #: The batch that the call is nested in, if it is.
        self._outer: Surroundings | None = None
        self._run: Run | None = None
        self._pools: Pools | None = None
        self._on_threads = self.uses_threads
        self._n_jobs = 1
        self._inside: tuple[LineshaftBackend, None] | None = None
        #: Threads of libraries to which this process is limited while jobs are threads of it.
        self._lowered_to: int | None = None
        #: Whether libraries of this worker are limited to what an inner batch may use, as the caller runs some itself.
        self._limits = False

    @classmethod
    def nested(cls, surroundings: Surroundings) -> Self:
        """Make the backend for calls inside a batch."""
        backend = cls(nesting_level=surroundings.level, retries=surroundings.retries)
        backend._outer = surroundings
        return backend

    def __reduce__(self) -> tuple[Callable[[Surroundings], Self], tuple[Surroundings]]:
        # Engines stay where they are: in a worker the default one is the one that the worker belongs to.
        outer = self._outer or Surroundings(self.nesting_level or 0, self._cores(), limits.set_by_user(), self._retries)
        return type(self).nested, (outer,)

    def _another(self) -> Self:
        """Make a backend like this one, which is in use."""
        other = type(self)(
            self.nesting_level,
            self.inner_max_num_threads,
            engine=self._engine,
            retries=self._retries,
            **self.backend_kwargs,
        )
        other._outer = self._outer
        return other

    # How many.

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many jobs run at the same time for ``n_jobs``."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        # `JOBLIB_MULTIPROCESSING=0` is how users of joblib say that there is only one.
        if n_jobs is None or mp is None or (self.nesting_level or 0) >= LEVELS_MAX:
            return 1
        if n_jobs < 0:
            return max(self._cores() + 1 + n_jobs, 1)
        return n_jobs

    def _cores(self) -> int:
        engine = self._engine or _running.default
        cores = engine.workers if engine is not None else _startup.default_workers()
        # How users of joblib say that there are fewer.
        named = os.environ.get("LOKY_MAX_CPU_COUNT")
        return cores if named is None else max(1, min(cores, int(named)))

    # The life of a call.

    @stops_with_program
    def configure(
        self,
        n_jobs: int = 1,
        parallel: Any = None,
        require: str | None = None,
        prefer: str | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        context: BaseContext | None = None,
        maxtasksperchild: int | None = None,
        **_: Any,
    ) -> int:
        """Prepare for calls of `parallel`; return how many jobs run at the same time.

        What concerns memory mapping (``max_nbytes``, ``mmap_mode``, ``temp_folder``) is accepted and
        without effect: large arrays lie in shared memory in any case. ``prefer`` is for joblib's choice
        among backends, and this one has been chosen, but for a nested call: joblib runs those on threads.
        """
        n_jobs = self.effective_n_jobs(n_jobs)
        if n_jobs == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        if self._pools is not None and parallel is not self.parallel:
            # A ``with parallel_config(...)`` block has one backend, and may have several open calls:
            # generators that are read by turns, a ``with Parallel()`` inside another.
            raise FallbackToBackend(self._another())
        self.parallel = parallel
        self._n_jobs = n_jobs
        self._inside = None
        self._on_threads = self.uses_threads or require == "sharedmem"
        if prefer == "threads" and self._is_nested():
            self._on_threads = True
        if self._is_nested() and not parallel.return_ordered:
            # Whoever waits inside a task has to do so itself. In order is an order, too.
            parallel.return_ordered = True
        self.supports_retrieve_callback = parallel.return_generator and not self._is_nested()
        initializer = initializer or self.backend_kwargs.get("initializer")
        initargs = initargs or self.backend_kwargs.get("initargs", ())
        if not self.may_fork or self._is_nested():
            context = None
        tasks_max = maxtasksperchild or self.backend_kwargs.get("maxtasksperchild")
        # joblib serves threads that outlive the main thread, as pools do.
        engine = self._engine or _running.default_engine(for_pool=True)
        self._pools = Pools(engine, initializer, tuple(initargs), context, tasks_max)
        if context is not None and not self._on_threads:
            self._pools.processes(n_jobs)  # which forks the program as it is now
        return n_jobs

    @stops_with_program
    def start_call(self) -> None:
        """Begin a call of ``Parallel``."""
        self._start_run()

    def _start_run(self) -> Run:
        assert self._pools is not None, "joblib configures a backend before it uses it"
        surroundings = self._surroundings()
        runs_itself = self._runs_itself()
        in_processes = not self._on_threads
        at_once = None
        if runs_itself:
            pool = self._pools.nearest() if in_processes else self._pools.helping_threads()
        elif in_processes:
            pool, at_once = self._pools.processes(self._n_jobs)
        else:
            pool = self._pools.threads(self._n_jobs)
        options: dict[str, Any] = {"in_processes": in_processes, "surroundings": surroundings}
        if runs_itself:
            if _process.is_worker():
                limits.limit(surroundings.threads, surroundings.fixed)
                self._limits = True
            cores = self._pools.cores
            inside: dict[str, Any] = {"n_jobs": self._n_jobs, "cores": cores, "beyond": self._pools.any_threads}
            if in_processes:
                self._run = Sharing(pool, **inside, **options)
            else:
                # A worker's own threads are in no budget: whether a core is idle, its engine knows.
                probed = self._pools.nearest() if _process.is_worker() else None
                self._run = Joining(pool, probed=probed, **inside, **options)
        elif self.supports_retrieve_callback:
            self._run = Announcing(pool, at_once=at_once, options=DAEMON, **options)
        else:
            # joblib's own default for `pre_dispatch` stands for "some"; any other number is the user's.
            more = self._dispatch_more if self.parallel.pre_dispatch == "2 * n_jobs" else None
            if is_on_daemon():
                options["options"] = DAEMON
            self._run = Waiting(pool, n_jobs=self._n_jobs, at_once=at_once, dispatch_more=more, **options)
        if self._on_threads and not _process.is_worker():
            # At last: what raises before has nothing to take back.
            limits.lower(surroundings.threads)
            self._lowered_to = surroundings.threads
        return self._run

    def stop_call(self) -> None:
        """End a call of ``Parallel``."""
        self._end_run()

    def terminate(self) -> None:
        """Free what calls needed; the engine's workers stay warm for the next."""
        self._end_run()
        if self._pools is not None:
            self._pools.close()
            self._pools = None
        self.reset_batch_stats()

    @stops_with_program
    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Drop the batches of this call, also those that run in worker processes; no others."""
        self._end_run()
        # joblib itself would dispatch what it has sliced but not dispatched in the next call.
        with self.parallel._lock:
            while not self.parallel._ready_batches.empty():
                self.parallel._ready_batches.get()

    def _end_run(self) -> None:
        run, self._run = self._run, None
        lowered_to, self._lowered_to = self._lowered_to, None
        if lowered_to is not None:
            limits.raise_again(lowered_to)
        if run is not None:
            run.close()
        has_limited, self._limits = self._limits, False
        if has_limited and self._outer is not None:
            limits.limit(self._outer.threads, self._outer.fixed)
        elif has_limited:
            limits.unlimit()

    # Batches.

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], object] | None = None) -> Batch:
        """Take a batch from joblib."""
        return (self._run or self._start_run()).submit(func, callback)

    def _dispatch_more(self) -> bool:
        """Dispatch one more batch; whether there may be others."""
        parallel = self.parallel
        with parallel._lock:
            if parallel._original_iterator is None or parallel._aborting:
                return False
            parallel.dispatch_next()
            return True

    def retrieve_result(self, out: Batch | None, timeout: float | None = None) -> Any:
        """Wait for a batch and return its results."""
        if out is None:
            return None  # joblib read the input and it raised: there is no batch, and joblib has the error
        if not out.is_done:
            if self._run is None:
                raise RuntimeError("this call of Parallel was aborted")
            self._run.wait_for(out, timeout)
        return out.result()

    def retrieve_result_callback(self, out: Batch) -> Any:
        """Return the results of a batch that has ended."""
        return out.result()

    def compute_batch_size(self) -> int:
        """Return how many calls the next batch should hold."""
        if self._on_threads:
            return 1  # no message is sent, so there is nothing to be saved
        size: int = super().compute_batch_size()
        return size

    # Nested calls.

    def get_nested_backend(self) -> tuple[LineshaftBackend, None]:
        """Return the backend for calls inside a batch, and that it does not say how many jobs there are."""
        # Threads of this process must not share one; in processes each has its own anyway.
        if self._inside is None or self._on_threads or self._is_nested():
            backend = type(self).nested(self._surroundings())
            backend._engine = self._engine
            self._inside = backend, None
        return self._inside

    def _is_nested(self) -> bool:
        """Whether this call is made by a task: in a worker, or on a thread of the engine."""
        return _process.is_worker() or _native.is_own_thread()

    def _runs_itself(self) -> bool:
        """Whether the thread that makes this call runs batches itself, with the objects that it has.

        So it does where joblib's would, too: where threads are asked for, and inside a batch if nothing else is. Where
        joblib would have processes, as in a task of an executor, each batch has copies, and may end its process. A call
        that has a time limit is not to go on until the batch has ended that it runs itself.
        """
        return self._is_nested() and self.parallel.timeout is None and (self._on_threads or self._outer is not None)

    def _surroundings(self) -> Surroundings:
        level = (self.nesting_level or 0) + 1
        if self.inner_max_num_threads is not None:
            return Surroundings(level, int(self.inner_max_num_threads), (), self._retries)
        if self._outer is not None:
            threads, fixed = self._outer.threads, self._outer.fixed
        else:
            # In a batch, a call that names its backend shares what that batch may use.
            threads, fixed = limits.in_force() or (self._cores(), limits.set_by_user())
        return Surroundings(level, max(1, threads // self._n_jobs), fixed, self._retries)


class LineshaftThreadingBackend(LineshaftBackend):
    """Runs the batches of ``Parallel`` on threads of this process."""

    # As joblib's own has it.
    supports_inner_max_num_threads = False
    uses_threads = True


class LineshaftMultiprocessingBackend(LineshaftBackend):
    """Runs the batches of ``Parallel`` in worker processes that are forked from the program, where that is the default.

    Programs name the backend ``"multiprocessing"`` for what its workers inherit: large globals, settings, locks.
    """

    # As joblib's own has it.
    supports_inner_max_num_threads = False
    may_fork = True


#: What joblib's own backends are called, and what stands in for them.
SERVED = {
    "loky": LineshaftBackend,
    "multiprocessing": LineshaftMultiprocessingBackend,
    "threading": LineshaftThreadingBackend,
}
_originals: dict[str, Any] = {}


def serve(parallel: ModuleType) -> None:
    """Have joblib's own backends served by the engine."""
    for name, backend in SERVED.items():
        if name in parallel.BACKENDS and parallel.BACKENDS[name] is not backend:
            _originals.setdefault(name, parallel.BACKENDS[name])
            parallel.BACKENDS[name] = backend


def unserve(parallel: ModuleType) -> None:
    """Give joblib its own backends back."""
    for name, original in _originals.items():
        parallel.BACKENDS[name] = original
    _originals.clear()
