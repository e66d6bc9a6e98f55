"""
The engine behind `lineshaft`.
"""

from _typeshed import Incomplete, SupportsGetItem
from os import PathLike
from typing import Any, Final, SupportsFloat, SupportsIndex, final
from typing_extensions import disjoint_base

__all__ = ["DUMP_SIGNAL", "INTERRUPT_SIGNAL", "LOOK_SIGNAL", "OFFER_PRIORITY", "__version__", "ArraysKept", "Awaits", "DefinitionBase", "Engine", "EventLoopCall", "FutureBase", "GraphRun", "KeptCall", "LentCore", "Pool", "Segment", "Session", "Snapshot", "TaskOptions", "Zygote", "after_fork", "cancel_running", "code_of", "end_crossings", "is_own_thread", "static_order", "wait_any", "when_done"]

DUMP_SIGNAL: Final[int]
"""
Sent to a worker to write the stacks of its threads.
"""

INTERRUPT_SIGNAL: Final[int]
"""
Sent to a worker to look for a task that is to be interrupted.
"""

LOOK_SIGNAL: Final[int]
"""
Sent to a worker to write them as soon as that is safe.
"""

OFFER_PRIORITY: Final[int]
"""
The priority of calls that are offered to workers which have nothing better to do.
"""

__version__: Final[str]
"""
The version of the package.
"""

@final
class ArraysKept:
    """
    While it exists, arrays that are handed to several calls stay in shared memory between them.
    """

@final
class Awaits:
    """
    What a task is going to wait for where the engine does not see it.
    """
    def __new__(cls, /) -> Awaits: ...
    def add(self, /, future: FutureBase) -> None:
        """
        It is going to wait for this one, too.
        """
    def call(self, /, function: Any, *args) -> Any:
        """
        Calls `function`, which waits for one of them. The task of this thread counts as blocked meanwhile.
        """

@disjoint_base
class DefinitionBase:
    """
    The Rust half of `lineshaft._serial.definition.Definition`.
    """
    def __new__(cls, /, *_args, has_function: bool = True, **_kwargs) -> DefinitionBase: ...
    @property
    def has_function(self, /) -> bool:
        """
        Calls of a code without one bring what is called as their first argument.
        """

@final
class Engine:
    """
    The engine of this process.
    """
    def __new__(cls, /, *, cores: SupportsIndex, memory_bytes: SupportsIndex, spill_dir: str | PathLike[str], encoder: Any, console: Any | None, command: SupportsGetItem[int, str] | None, environment: SupportsGetItem[int, tuple[str, str]], setup: SupportsGetItem[int, SupportsIndex]) -> Engine: ...
    def cancel_all(self, /, kill: bool) -> None:
        """
        Cancels what has not begun; with `kill`, what runs in worker processes as well.
        """
    @property
    def closed(self, /) -> bool:
        """
        Whether it has been shut down.
        """
    def finish_callbacks(self, /) -> None:
        """
        Waits until they have been, and calls those that no other thread calls.
        """
    def has_called_back(self, /) -> bool:
        """
        Whether the callbacks of all calls that have ended have been called.
        """
    def loop_pool(self, /, *, name: str, workers: SupportsIndex, start: Any, cancel: Any) -> Pool:
        """
        Opens a pool that hands its calls to `start`, `workers` of them at a time. `cancel` takes the number
        of a task, which has begun unless it is still to be started.
        """
    def metrics(self, /) -> str:
        """
        The engine's numbers in the text format of Prometheus.
        """
    def most_memory(self, /) -> int | None:
        """
        The most memory of this process and its workers, what they share counted once, in bytes; none if nobody has asked
        for a picture of them.
        """
    def observe(self, /, *, stacks: bool = False) -> None:
        """
        Keeps a picture of what the engine does, from now on and as far as its log goes back; and, if `stacks`, with
        stacks of what worker processes run.
        """
    def output(self, /) -> list[tuple[int, int | None, bool, str]]:
        """
        What worker processes printed lately, oldest first: tuples of worker, task (or None), whether
        it was on standard error, and text.
        """
    def process_pool(self, /, *, name: str, workers: SupportsIndex, initializer: Any | None = None, initargs: tuple | None = None, tasks_per_worker_max: SupportsIndex | None = None, growth_bytes_max: SupportsIndex | None = None, snapshot: Snapshot | None = None, encoder: Any | None = None, patient: bool = False) -> Pool:
        """
        Opens a pool of worker processes. With `snapshot` they are forked from that child of this
        process, and `encoder` knows what they have inherited. Those of a `patient` one have all the time that
        they need to end, until it is hurried.
        """
    def report(self, /, path: str | PathLike[str]) -> None:
        """
        Writes the run so far, all of it if the engine has been shut down, to a page that needs no server.
        """
    def send_interrupt(self, /) -> bool:
        """
        Sends SIGINT to all worker processes; False if there are none.
        """
    def serve(self, /, address: str) -> str:
        """
        Serves pages that show the engine, from the first call on, at this address; returns where they are.
        """
    def set_up(self, /, setup: SupportsGetItem[int, SupportsIndex]) -> None:
        """
        Workers that start from now on are set up by `setup`.
        """
    def shut_down(self, /, *, in_hurry: bool = False) -> None:
        """
        Ends the engine: cancels what is unfinished, ends the workers, shows what they still
        printed. In a hurry it does not wait long for callbacks.
        """
    def stats(self, /) -> dict:
        """
        What the engine is doing, in numbers.
        """
    def submit_graph(self, /, graph: Incomplete, plan: Incomplete, *, keep: bool = False) -> GraphRun:
        """
        Submits a graph: an object with `nodes`, `values` and `aliases` by key and the list of those
        `wanted`. The plan says where its tasks run. With `keep`, every result is kept.
        """
    def thread_pool(self, /, *, name: str, workers: SupportsIndex, takes_core: bool, lasting: bool, daemons: bool, initializer: Any | None = None, initargs: tuple | None = None, internal: bool = False) -> Pool:
        """
        Opens a pool of threads. Those of a `lasting` one stay until it closes; what they start is a daemon if they
        are `daemons`. An `internal` one, for tasks that the program has not asked for, is shown nowhere.
        """
    def trace(self, /, path: str | PathLike[str]) -> tuple[int, int, int]:
        """
        Writes the run so far, all of it if the engine has been shut down, to a file in Chrome's trace
        format. Returns how many attempts are in it, how many are not, and how many events were missed.
        """
    def wait_idle(self, /, timeout_s: SupportsFloat | SupportsIndex | None = None, *, but_daemons: bool = False) -> bool:
        """
        Waits until no task is unfinished, or with `but_daemons` none but daemons; False if `timeout_s`
        seconds were not enough.
        """

@final
class EventLoopCall:
    """
    One call of a coroutine function, to be run by an event loop.
    """
    def begin_await(self, /) -> None:
        """
        It awaits another task from now on, and does not need its place among those that run when it is not its turn.
        """
    def begin_block(self, /) -> None:
        """
        Its thread waits for another task from now on.
        """
    def coroutine(self, /, event_loop: Any) -> Any:
        """
        Calls the function, on the thread of `event_loop`; the coroutine to be awaited.
        """
    def end_await(self, /) -> None:
        """
        It has awaited another task.
        """
    def end_block(self, /) -> None:
        """
        Its thread has waited for another task.
        """
    def fail(self, /, error: Any, ran_s: SupportsFloat | SupportsIndex) -> None:
        """
        Reports what it raised.
        """
    def finish(self, /, value: Any, ran_s: SupportsFloat | SupportsIndex) -> None:
        """
        Reports the result. `ran_s` is how long it took, in seconds.
        """
    @property
    def is_unwanted(self, /) -> bool:
        """
        Whether it was cancelled before it began.
        """
    @property
    def task(self, /) -> int:
        """
        The number of the call's task; attempts of one task share it.
        """
    def time_out(self, /) -> None:
        """
        It was stopped because it had run out of time: what it raises now says so.
        """

@disjoint_base
class FutureBase:
    """
    The Rust half of `lineshaft.Future`.
    """
    _lineshaft_future: Final = True
    """
    Recognises futures among arguments.
    """
    def __new__(cls, /) -> FutureBase: ...
    def __reduce__(self, /) -> Any:
        """
        As an argument of another task, a future stands for its result.
        """
    @property
    def _condition(self, /) -> Any:
        """
        The condition that `concurrent.futures.wait` and `as_completed` lock.
        """
    @property
    def _exception(self, /) -> Any | None:
        """
        What `concurrent.futures` itself looks at when it shows a future.
        """
    @property
    def _result(self, /) -> Any | None:
        """
        What `concurrent.futures` itself looks at when it shows a future.
        """
    @property
    def _state(self, /) -> str:
        """
        The state, in the words of `concurrent.futures`.
        """
    @property
    def _waiters(self, /) -> Any:
        """
        The waiters of `concurrent.futures.wait` and `as_completed`.
        """
    def add_done_callback(self, /, function: Any) -> None:
        """
        Calls `function` with this future once it is done; at once if it is.
        """
    def cancel(self, /) -> bool:
        """
        Cancels the call unless it has begun; whether it is cancelled. A coroutine that has begun is
        cancelled as `asyncio` does: `CancelledError` is raised in it.
        """
    def cancelled(self, /) -> bool:
        """
        Whether the call was cancelled.
        """
    def done(self, /) -> bool:
        """
        Whether the call has ended or was cancelled.
        """
    def exception(self, /, timeout: SupportsFloat | SupportsIndex | None = None) -> Any | None:
        """
        What the call raised, or None; waits for its end.
        """
    def explain(self, /) -> str:
        """
        One sentence for people: what the call is doing, and if it is not running, why.
        """
    def result(self, /, timeout: SupportsFloat | SupportsIndex | None = None) -> Any:
        """
        The result of the call; waits for it.
        """
    def running(self, /) -> bool:
        """
        Whether the call has begun and not ended.
        """
    def set_exception(self, /, _exception: Any) -> None: ...
    def set_result(self, /, _result: Any) -> None: ...
    def set_running_or_notify_cancel(self, /) -> bool: ...

@final
class GraphRun:
    """
    A graph that was submitted.
    """
    def __len__(self, /) -> int:
        """
        How many tasks it has, with the one that comes last.
        """
    def cancel(self, /, kill: bool) -> None:
        """
        Cancels what has not begun; with `kill`, what runs in worker processes as well.
        """
    def done(self, /) -> bool:
        """
        Whether all that is wanted is there, or will never be.
        """
    def failed_key(self, /) -> Any | None:
        """
        The key of the task that failed first, or None.
        """
    def futures(self, /) -> list:
        """
        What is wanted, in its order: futures, and what is known as it is. From now on the graph goes on
        whatever becomes of this, but for what is needed for none of the futures that are left. To be called once.
        """
    def result(self, /) -> list:
        """
        What is wanted, in its order; waits for it. Raises what a task raised as soon as one has; those
        that have begun go on.
        """
    def results(self, /) -> dict:
        """
        The results of the tasks that have ended well, by key, if they were kept.
        """
    def unfinished(self, /) -> int:
        """
        How many of its tasks have not ended.
        """

@final
class KeptCall:
    """
    A call as it was when this was made. What it holds in shared memory it holds until it is dropped.
    """
    def __new__(cls, /, pool: Pool, function: Any, args: Any, *, each: bool = False) -> KeptCall:
        """
        Pickles `function(*args)` for a pool of worker processes; with `each`, a call of `function` for each item of
        the list `args`, an item being a tuple of arguments. Why it cannot be sent is the future's error, or raised by
        `submit` if this is a nested call.
        """
    def submit(self, /, options: TaskOptions | None = None) -> FutureBase:
        """
        Hands the call to the engine.
        """

@final
class LentCore:
    """
    The core of the task that this thread runs is lent to others within a `with` block.
    """
    def __enter__(self, /) -> LentCore: ...
    def __exit__(self, /, *_error) -> None: ...

@final
class Pool:
    """
    Where calls are submitted.
    """
    @property
    def broken(self, /) -> bool:
        """
        Whether it can run nothing any more, because its initializer raised. A pool for nested calls
        does not know: it says False.
        """
    def cancel_all(self, /, kill: bool) -> None:
        """
        Cancels what has not begun; with `kill`, what runs in worker processes as well.
        """
    def close(self, /) -> None:
        """
        Lets the pool take no more tasks; it goes when it has none left.
        """
    def drain(self, /) -> None:
        """
        Sees to it that the callbacks of its calls have been called; these have all ended. A pool for nested
        calls does not wait.
        """
    def finish_callbacks(self, /) -> None:
        """
        Waits until they have been, and calls those that no other thread calls.
        """
    def has_called_back(self, /) -> bool:
        """
        Whether the callbacks of those of its calls that have ended have been called. A pool for nested calls does not
        know: it says True.
        """
    def hurry(self, /) -> None:
        """
        Ends the patience with its workers: those that are to end, now or later, have no more than a moment for
        it. A pool for nested calls has none anyway.
        """
    def keep_arrays(self, /) -> ArraysKept | None:
        """
        Has arrays that are handed to several calls stay in shared memory between them, for as long as what it
        returns exists. None where calls get no such arrays, or workers hand them over.
        """
    def lend_core(self, /) -> LentCore:
        """
        Lends the core of the task that this thread runs to others, until the end of a `with` block: it waits there
        for what it has submitted to this pool.
        """
    def look_again(self, /) -> bool:
        """
        Has what was changed in place since workers were last sent it be sent anew. False if there is nothing of which
        calls in worker processes could see what others changed in place.
        """
    def send_interrupt(self, /) -> bool:
        """
        Sends SIGINT to its worker processes; False if there are none. A pool for nested calls does not
        know of any. Calls on threads may wait for calls of any worker process: a pool of threads interrupts
        all of these, and cancels those that have not begun.
        """
    def stats(self, /) -> tuple[list[int], int]:
        """
        The processes of its workers, and how many calls are unfinished. A pool for nested calls does
        not know: it says that there are none.
        """
    def submit(self, /, function: Any, args: tuple, kwargs: dict | None = None, options: TaskOptions | None = None, after: list | None = None) -> FutureBase:
        """
        Submits `function(*args, **kwargs)`. A call on threads waits for the futures in `after` too;
        worker processes find theirs among the arguments.
        """
    def submit_each(self, /, function: Any, items: list, options: TaskOptions | None = None, *, run_again: bool = False) -> FutureBase:
        """
        Submits a call of `function` for each item of a list, an item being a tuple of arguments.
        The result is a tuple: the results, a dict of pickled exceptions by index, and the seconds
        it took. If the caller runs items again that raise, and all if the worker dies, what counts
        tasks is told so by `run_again`.
        """
    def wait_closed(self, /, timeout_s: SupportsFloat | SupportsIndex | None = None) -> bool:
        """
        Waits until the pool, which was closed, has no unfinished task and no process; False if `timeout_s`
        seconds were not enough. A pool for nested calls does not know: it says True.
        """
    def wait_idle(self, /, timeout_s: SupportsFloat | SupportsIndex | None = None, *, but_daemons: bool = False) -> bool:
        """
        Waits until no task of the pool is unfinished; False if `timeout_s` seconds were not enough.
        Daemons count unless `but_daemons`. A pool for nested calls does not know: it says True.
        """

@final
class Segment:
    """
    A segment of shared memory, mapped copy-on-write: reading copies nothing, writing copies the
    touched pages for this mapping alone, as if the object had been pickled and loaded.
    """
    def __len__(self, /) -> int: ...

@final
class Session:
    """
    A worker process's conversation with its engine.
    """
    def __new__(cls, /, *, socket: SupportsIndex, control: SupportsIndex, budget: SupportsIndex, spill_dir: str | PathLike[str], tasks_max: SupportsIndex | None, growth_bytes_max: SupportsIndex | None) -> Session:
        """
        Joins the engine through inherited descriptors, which the session then owns.
        """
    def is_interrupted(self, /) -> bool:
        """
        Whether the engine wants the running task interrupted.
        """
    def is_running(self, /) -> bool:
        """
        Whether a task is running, and not only loading what it needs.
        """
    def log(self, /, record: bytes) -> None:
        """
        Passes on what is to be called in the engine's process, such as what handles a log record: a
        function and its arguments, pickled.
        """
    def mark_output(self, /, fd: SupportsIndex, begins: bool) -> None:
        """
        Says in the pipe at this descriptor that what is written next is the running task's, or that this is over.
        """
    def note_items_raised(self, /, traceback: str, run_again: bool, arguments: str) -> None:
        """
        Notes that items of the running batch raised, where the first of them did, and whether they are run again
        by themselves.
        """
    def phase(self, /) -> str:
        """
        What this worker does with the call that it runs, in words; nothing while that runs itself.
        """
    def process_pool(self, /, *, workers: SupportsIndex | None = None, initializer: Any | None = None, initargs: tuple | None = None, tasks_per_worker_max: SupportsIndex | None = None) -> Pool:
        """
        Opens a pool of worker processes for nested calls; without `workers`, the pool that this
        worker belongs to.
        """
    def serve(self, /, hooks: Any) -> None:
        """
        Runs tasks until the engine wants no more. `hooks` has the functions of
        `lineshaft._serial.worker`, `flush` with `unflushed`, `check_limit`, which raises if the
        running task is to be interrupted, and `changed`.
        """
    def set_item(self, /, index: SupportsIndex) -> None:
        """
        Shows which item of the running task begins, counted from 0. What a forked child runs is no
        part of that task.
        """

@final
class Snapshot:
    """
    A fork of the program and the socket to it. Until a pool has it, it belongs to this object, with
    which it is ended and reaped: a signal handler of the program may raise at any point.
    """
    def __new__(cls, /) -> Snapshot: ...
    def fork(self, /, fork: Any) -> tuple[int, int] | None:
        """
        Forks by `fork`. In the child returns its end of the socket and the program's, which it is to
        close; in the program, None.
        """

@final
class TaskOptions:
    """
    How a task is scheduled.
    """
    def __new__(cls, /, *, priority: SupportsIndex = 0, retries: SupportsIndex = 0, death_retries: SupportsIndex = 0, backoff_s: SupportsFloat | SupportsIndex = 0.0, timeout_s: SupportsFloat | SupportsIndex | None = None, daemon: bool = False, internal: bool = False) -> TaskOptions:
        """
        `retries` after the task raised or ran out of time, and after its worker died; `backoff_s`
        seconds before the first, doubled for each further one; `timeout_s` seconds for an attempt. The end
        of the program waits for all calls but daemons. An internal one, which is no call of the program's, is in no
        count and on no page.
        """

@final
class Zygote:
    """
    The zygote's end of its socket.
    """
    def __new__(cls, /, fd: SupportsIndex) -> Zygote:
        """
        Takes over the socket with this descriptor.
        """
    def close(self, /) -> None:
        """
        Closes the socket, in a forked worker.
        """
    @staticmethod
    def die_with_parent() -> None:
        """
        Asks the kernel to kill this process when its parent ends.
        """
    def exited(self, /, worker: SupportsIndex, status: SupportsIndex, peak_memory_bytes: SupportsIndex, cpu_ns: SupportsIndex) -> None:
        """
        Says that a worker ended, with its wait status and the processor time that it took.
        """
    def fileno(self, /) -> int: ...
    def next(self, /) -> Any | None:
        """
        The next request that is there: `bytes` to set up with, or a tuple `(worker, pool_workers,
        descriptors, growth_bytes_max, tasks_max)` to fork a worker. None if there is none for now.

        Raises `EOFError` when the engine is gone.
        """
    def spawn_failed(self, /, worker: SupportsIndex, errno: SupportsIndex) -> None:
        """
        Says that a worker could not be forked.
        """
    def spawned(self, /, worker: SupportsIndex, pid: SupportsIndex) -> None:
        """
        Says that a worker was forked.
        """
    @staticmethod
    def tune_allocator() -> None:
        """
        Keeps freed memory for the next task, up to some megabytes. A new process gives it back to
        the system at once and faults it in again for each task, which costs array code more than
        the arithmetic; a process that has run for a while, whose children other pools fork, has
        learned better. See mallopt(3), "dynamic mmap threshold".
        """

def after_fork() -> list[int]:
    """
    Called in the child after `os.fork`: its copies of engines and sessions are of no use. Returns
    descriptors that it should replace, because others wait for them to be closed.
    """

def cancel_running(futures: SupportsGetItem[int, FutureBase]) -> None:
    """
    Cancels the calls that are not done, those too that run in worker processes: these are killed.
    One that runs on a thread goes on, but nobody hears of it, and another thread takes its place.
    """

def code_of(pool: Pool, function: Any) -> Any:
    """
    What workers of a pool are sent for a function as it is now: the same object while nothing changed. It can be
    submitted to that pool in the function's place, if it has one.
    """

def end_crossings(daemons: SupportsGetItem[int, SupportsIndex], timeout_s: SupportsFloat | SupportsIndex) -> bool:
    """
    Waits until no thread runs Python under native code, which those of these identifiers will no longer do; False
    if `timeout_s` seconds have passed before that.
    """

def is_own_thread() -> bool:
    """
    Whether this thread is one that an engine has started, to run calls or callbacks of futures.
    """

def static_order(needs: SupportsGetItem[int, SupportsGetItem[int, SupportsIndex]]) -> list[int]:
    """
    The order in which the tasks of a graph run on one worker, by position; `needs` has the positions of
    what each of them needs.
    """

def wait_any(futures: SupportsGetItem[int, FutureBase], timeout: SupportsFloat | SupportsIndex | None = None) -> bool:
    """
    Waits until one of the futures is done, at most `timeout` seconds; False if none is. They are of
    one engine. A task that waits lends its core meanwhile; with a timeout of 0 it keeps it.
    """

def when_done(future: FutureBase, function: Any) -> None:
    """
    Calls `function` with the future once it is done, as `add_done_callback` does. In a task, that says
    that it does not wait for the callback: it keeps its core.
    """
