"""How engines end with the interpreter, in the two steps that the standard library has.

When the main thread has come to its end, executors take no more calls, those submitted run to their end, their
callbacks are called, and the workers end: `concurrent.futures` does so. Other threads may go on, and the pools that
they use serve them, as those of `multiprocessing` do. When these threads have ended as well, the interpreter runs the
hooks of `atexit`: pools are terminated (`pool.at_exit`), and then the engines end. A pool that a later hook makes
starts an engine of its own.
"""

from __future__ import annotations

import atexit
import sys
import threading
from contextlib import suppress

from lineshaft import _native, _process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from lineshaft._engine import Engine

#: How long the end of the program waits for threads that are about to pickle a call, load a result or call back.
CROSSINGS_S = 1.0

#: The main thread has ended: of the default engine's callers, only pools and calls that still run may submit.
main_thread_has_ended = False
#: No thread is waited for any more, and nothing that still runs has a result.
engines_end = False


def register() -> None:
    """Have both steps taken; called once."""
    global main_thread_has_ended
    try:
        threading._register_atexit(_finish_calls)  # type: ignore[attr-defined]
    except RuntimeError:
        main_thread_has_ended = True  # this thread outlives it
    atexit.register(_end_engines)


def calls_to_finish(engine: Engine) -> Iterator[_native.Pool]:
    """Yield the pools whose calls run to their end before the interpreter ends."""
    yield from list(engine._pools.values())
    yield from pools_of_executors(engine)


def pools_of_executors(engine: Engine) -> Iterator[_native.Pool]:
    """Yield the pools of executors, those too that were shut down and may have calls or workers left."""
    yield from list(engine._left)
    futures = sys.modules.get("lineshaft.futures")
    for executor in list(futures.open_executors) if futures else ():
        # Without a pool it has never been given a call.
        if executor._engine is engine and executor._pool is not None:
            yield executor._pool


def _finish_calls() -> None:
    global main_thread_has_ended
    main_thread_has_ended = True
    futures = sys.modules.get("lineshaft.futures")
    for executor in list(futures.open_executors) if futures else ():
        executor._shutdown = True
    try:
        if not _is_interrupted():
            _wait()
            for engine in _engines():
                engine._finish_workers()
            return
    except KeyboardInterrupt:
        pass
    # Ctrl-C: threads that still run may wait for calls, so these end before them.
    _interrupt()
    pools = sys.modules.get("lineshaft.pool.at_exit")
    if pools:
        pools.terminate_all()
    _end_engines(in_hurry=True)


def _end_engines(*, in_hurry: bool = False) -> None:
    global engines_end
    # What runs on threads of a worker is waited for in processes of `multiprocessing` alone.
    in_hurry = in_hurry or _is_interrupted() or (_process.is_worker() and _process.start_method is None)
    if not in_hurry:
        try:
            _wait()
        except KeyboardInterrupt:
            in_hurry = True
            _interrupt()
        except Exception:
            sys.excepthook(*sys.exc_info())
    engines_end = True
    for engine in _engines():
        try:
            engine._end(in_hurry=in_hurry)
        except KeyboardInterrupt:
            in_hurry = True  # one more: the engine has been ended all the same
        except Exception:
            sys.excepthook(*sys.exc_info())  # the others end all the same
    # The interpreter must not end threads while they are under native code.
    others = [thread for thread in threading.enumerate() if thread is not threading.current_thread()]
    daemons = [thread.ident for thread in others if thread.daemon and not isinstance(thread, threading._DummyThread)]
    _native.end_crossings([ident for ident in daemons if ident is not None], CROSSINGS_S)
    if _is_interrupted():
        # CPython forgets that Ctrl-C ends the program, and its exit status, as soon as anything evaluates source: a
        # `namedtuple` in a module that is imported late is enough.
        with suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")


def _wait() -> None:
    for engine in _engines():
        engine._finish_calls()


def _interrupt() -> None:
    for engine in _engines():
        try:
            engine._interrupt_calls()
        except KeyboardInterrupt:
            pass  # one more: no call has any more time


def _engines() -> list[Engine]:
    module = sys.modules.get("lineshaft._running")
    return [engine for engine in list(module.engines) if not engine.closed] if module else []


def _is_interrupted() -> bool:
    """Whether it is Ctrl-C that ends the program."""
    # In an interactive session it ends a statement, and what is submitted later has nothing to do with it.
    return not hasattr(sys, "ps1") and isinstance(getattr(sys, "last_value", None), KeyboardInterrupt)
