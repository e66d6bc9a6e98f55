"""What worker processes run, and the zygotes that they are forked from.

The engine's own zygote is a freshly started interpreter without a second thread. It imports what every
worker needs, forks one when the engine asks for it, and reports how each ended. Workers are thus
started in milliseconds and inherit no lock. Other zygotes are forks of the program: see `_snapshot`.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # `signal` would import `enum`
import faulthandler
import gc
import marshal
import os
import select
import sys
import time
from types import SimpleNamespace

from lineshaft import _native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, ModuleType
    from typing import Any, NoReturn

#: A worker's descriptors, in the order in which the engine sends them.
_SOCKET, _CONTROL, _BUDGET, _STDOUT, _STDERR, _CRASH = range(6)


#: How long a worker that was interrupted is left alone with cleaning up, in seconds.
INTERRUPT_PAUSE_S = 3.0

#: Frames that are shown at most to who looks at what runs. They fit into what the engine reads.
_FRAMES_SHOWN_MAX = 400

#: Variables of the environment that the program has changed since, as they were.
_originals: dict[str, str | None] = {}


def main() -> None:
    """Be the zygote: standard input is the socket to the engine."""
    # The engine's loop thread, which started us, blocks every signal. Workers need theirs, for time
    # limits and for the stack of a crash, and so do the processes that tasks start. A Ctrl-C is never
    # meant for us, nor for a worker before it has its own handler.
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    hold_standard_descriptors()
    zygote = _native.Zygote(os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    _native.Zygote.die_with_parent()
    _native.Zygote.tune_allocator()
    # Descriptors of ours that a child has no business with.
    os.set_inheritable(zygote.fileno(), False)
    program_pid = os.getppid()
    setup: dict[str, Any] = {"program": (program_pid, os.pidfd_open(program_pid))}

    def set_up(data: bytes) -> None:
        setup.update(marshal.loads(data))
        _prepare(setup)

    def start(descriptors: tuple[int, ...], growth_bytes_max: int | None, tasks_max: int | None) -> int:
        from lineshaft import _process

        work(descriptors, growth_bytes_max, tasks_max, setup)
        _process.finish()
        return 0

    serve(zygote, start, set_up=set_up)


def hold_standard_descriptors() -> None:
    """Open what is closed of 0, 1 and 2, lest anything else take their numbers: workers put pipes there."""
    while (null := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(null)


def serve(
    zygote: _native.Zygote,
    start: Callable[[tuple[int, ...], int | None, int | None], int],
    *,
    set_up: Callable[[bytes], None] | None = None,
    before_fork: Callable[[], None] | None = None,
    program: int | None = None,
) -> NoReturn:
    """Fork workers for the engine until it is gone.

    Parameters
    ----------
    zygote
        The socket to the engine.
    start
        What a worker does; it returns the exit code.
    set_up
        Takes what the engine wants every worker to know.
    before_fork
        Called before each.
    program
        A descriptor that tells of the end of the engine's process.
    """
    if _signal.getsignal(_signal.SIGCHLD) is _signal.SIG_IGN:
        # A program may have its children forgotten by the kernel; those of this process are waited for.
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        from functools import partial

        start = partial(_start_with_children_forgotten, start)

    children: dict[int, tuple[int, int]] = {}
    poller = select.poll()
    for fd in (zygote.fileno(), program):
        if fd is not None:
            poller.register(fd, select.POLLIN)
    while True:
        try:
            while (request := zygote.next()) is not None:
                if not isinstance(request, bytes):
                    if before_fork is not None:
                        before_fork()
                    _fork(zygote, request, start, children, poller)
                elif set_up is not None:
                    set_up(request)
        except EOFError:
            os._exit(0)  # the workers die with us
        for fd, _ in poller.poll():
            if fd == program:
                os._exit(0)
            if fd in children:
                poller.unregister(fd)
                os.close(fd)
                worker, pid = children.pop(fd)
                _, status, usage = os.wait4(pid, 0)
                cpu_ns = round((usage.ru_utime + usage.ru_stime) * 1e9)
                _tell(zygote.exited, worker, status, usage.ru_maxrss * 1024, cpu_ns)


def _tell(say: Callable[..., None], *news: int) -> None:
    """Tell the engine; if it is gone, end as quietly as when its socket closes."""
    try:
        say(*news)
    except RuntimeError:
        os._exit(0)


def _prepare(setup: dict[str, Any]) -> None:
    """Import what every worker needs, so that it is there after the fork."""
    from lineshaft._serial.main_module import prepare_main

    prepare_main(**setup["main"])
    _move_to(setup["folder"], setup["environment"])
    import lineshaft._arguments
    import lineshaft._batch
    import lineshaft._chunks
    import lineshaft._console
    import lineshaft._patch
    import lineshaft._process
    import lineshaft._serial.worker
    import lineshaft._startup  # noqa: F401

    # What is here now lives as long as each worker: it need not be looked at again.
    gc.freeze()


def _move_to(folder: str | None, changes: dict[str, str | None]) -> None:
    """Take over the program's working folder and its changes of the environment."""
    try:
        if folder is not None and folder != os.getcwd():
            os.chdir(folder)
    except OSError:
        pass  # it was removed: workers are no worse off where they are
    # A change that the program took back is no longer among the changes.
    for name in changes:
        _originals.setdefault(name, os.environ.get(name))
    for name, value in {**_originals, **changes}.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _fork(
    zygote: _native.Zygote,
    request: tuple[int, int, tuple[int, ...], int | None, int | None],
    start: Callable[[tuple[int, ...], int | None, int | None], int],
    children: dict[int, tuple[int, int]],
    poller: select.poll,
) -> None:
    worker, pool_workers, descriptors, growth_bytes_max, tasks_max = request
    zygote_pid = os.getpid()
    try:
        # Held for the handle of the worker's process: one whose end nobody would notice must not begin.
        place = os.dup(0)
        try:
            pid = os.fork()
        finally:
            os.close(place)
    except OSError as error:
        _tell(zygote.spawn_failed, worker, error.errno or 0)
    else:
        if pid == 0:
            from lineshaft import _process
            from lineshaft._console import flush

            code: int | None = 1
            try:
                _native.Zygote.die_with_parent()
                if os.getppid() == zygote_pid:
                    _process.number, _process.pool_workers = worker, pool_workers
                    for fd in children:
                        os.close(fd)
                    zygote.close()
                    code = start(descriptors, growth_bytes_max, tasks_max)
            except SystemExit:
                code = None
                raise  # the interpreter ends
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                if code is not None:
                    flush()
                    os._exit(code)
        handle = os.pidfd_open(pid)
        children[handle] = (worker, pid)
        poller.register(handle, select.POLLIN)
        _tell(zygote.spawned, worker, pid)
    for fd in descriptors:
        os.close(fd)


def work(
    descriptors: tuple[int, ...],
    growth_bytes_max: int | None,
    tasks_max: int | None,
    setup: dict[str, Any],
    *,
    inherits: bool = False,
) -> None:
    """Be a worker until the engine wants no more.

    One that `inherits` is a fork of the program: its streams, its settings and what it has patched
    are the program's.
    """
    from lineshaft import _arguments, _batch, _console, _patch, _process
    from lineshaft._console import (
        describe_streams,
        flush,
        forward_records,
        inherit_streams,
        open_stream,
        unflushed,
    )
    from lineshaft._serial import worker

    # Before they are pipes.
    streams = describe_streams() if inherits else setup["streams"]
    os.dup2(descriptors[_STDOUT], 1)
    os.dup2(descriptors[_STDERR], 2)
    os.close(descriptors[_STDOUT])
    os.close(descriptors[_STDERR])
    if inherits:
        inherit_streams(streams)
    else:
        sys.stdin = open(0)  # noqa: SIM115 - open as long as the process lives
        sys.stdout = sys.__stdout__ = open_stream(1, *streams[0])  # type: ignore[misc]
        sys.stderr = sys.__stderr__ = open_stream(2, *streams[1])  # type: ignore[misc]
    faulthandler.enable(file=descriptors[_CRASH])
    faulthandler.register(_native.DUMP_SIGNAL, file=descriptors[_CRASH])

    session = _native.Session(
        socket=descriptors[_SOCKET],
        control=descriptors[_CONTROL],
        budget=descriptors[_BUDGET],
        spill_dir=setup["spill_dir"],
        tasks_max=tasks_max,
        growth_bytes_max=growth_bytes_max,
    )

    def check_limit(_: int = 0, __: FrameType | None = None) -> None:
        if session.is_interrupted():
            from lineshaft.errors import TaskTimeout

            raise TaskTimeout("the task ran longer than its time limit")

    looked_ns = 0

    def show_stack(_: int, frame: FrameType | None) -> None:
        nonlocal looked_ns
        begun_ns = time.thread_time_ns()
        _write_stack(descriptors[_CRASH], frame, looked_ns, session.phase())
        looked_ns += time.thread_time_ns() - begun_ns
        check_limit()  # a time limit that struck meanwhile was taken for a failure to write it

    last_interrupt_s = -INTERRUPT_PAUSE_S

    def interrupt(_: int, __: FrameType | None) -> None:
        if _process.session is not session:
            raise KeyboardInterrupt  # a child that a task forked
        # The program was ended by Ctrl-C: cleaning up is the task's. Without a task there is nothing to end.
        nonlocal last_interrupt_s
        if session.is_running() and time.monotonic() - last_interrupt_s > INTERRUPT_PAUSE_S:
            last_interrupt_s = time.monotonic()
            _batch.is_interrupted = True
            raise KeyboardInterrupt

    # Names that a program may have made known by an import go for its calls, too.
    _patch.when_imported("joblib.parallel", _import_joblib_backend)
    _patch.when_imported("dask.base", _name_dask_scheduler)
    _process.become_worker(session, setup)
    # Only now: before that it is no worker to `interrupt`.
    _signal.signal(_native.INTERRUPT_SIGNAL, check_limit)
    _signal.signal(_native.LOOK_SIGNAL, show_stack)
    _signal.signal(_signal.SIGINT, interrupt)
    if not inherits:
        _patch.when_imported("logging", lambda logging: forward_records(logging, session, setup["log_levels"]))
        _patch.when_imported("multiprocessing.process", lambda process: _join_program(process, setup))
        _patch.when_imported("multiprocessing.resource_tracker", lambda module: _share_tracker(module, session, setup))
        if setup["patched"]:
            _patch.apply(setup["patched"])
    _batch.mark = session.set_item
    _batch.note_raised = session.note_items_raised
    _console.mark = session.mark_output
    hooks = SimpleNamespace(
        check_limit=check_limit,
        load_definition=worker.load_definition,
        forget=worker.forget,
        code=worker.code,
        loads=worker.loads,
        dumps_result=worker.dumps_result,
        dumps_raised=worker.dumps_raised,
        run_batch=_batch.run,
        show_arguments=_arguments.show,
        flush=flush,
        unflushed=unflushed,
        changed=_process.changed,
    )
    session.serve(hooks)


def _start_with_children_forgotten(start: Callable[..., int], *call: Any) -> int:
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)
    return start(*call)


def _write_stack(fd: int, frame: FrameType | None, looked_ns: int, phase: str) -> None:
    """Write the stack of this thread in the words of `faulthandler`, and how long all those before it took."""
    try:
        lines = [f"Looked for {looked_ns} ns", "Current thread (most recent call first):"]
        if phase:
            lines.append(f"  [{phase}]")
        for _ in range(_FRAMES_SHOWN_MAX):
            if frame is None:
                break
            code = frame.f_code
            lines.append(f'  File "{code.co_filename}", line {frame.f_lineno} in {code.co_name}')
            frame = frame.f_back
        else:
            lines.append("  ...")
        os.write(fd, "\n".join(lines).encode(errors="backslashreplace"))
    except Exception:
        pass  # in a task that uses up its stack, say: it must not notice


def _join_program(process: ModuleType, setup: dict[str, Any]) -> None:
    """Make this worker one of the program's processes; `process` is `multiprocessing.process`."""
    from lineshaft import _process
    from lineshaft._members import name_of_worker
    from lineshaft._startup import adopt_key

    adopt_key(process, setup["authkey"])
    program_pid, ended = setup["program"]
    current = process.current_process()
    current.name = name_of_worker(os.getpid())
    current._identity = (_process.number,)
    current._parent_pid = program_pid
    process._parent_process = process._ParentProcess("MainProcess", program_pid, ended)  # type: ignore[attr-defined]


def _share_tracker(resource_tracker: ModuleType, session: _native.Session, setup: dict[str, Any]) -> None:
    from lineshaft import _tracker

    _tracker.share(resource_tracker, session, setup["program"][0])


def _name_dask_scheduler(base: ModuleType) -> None:
    from lineshaft import _dask

    _dask.name_scheduler(base)


def _import_joblib_backend(_: ModuleType) -> None:
    import lineshaft.joblib  # noqa: F401
