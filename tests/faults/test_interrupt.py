"""Ctrl-C: once, twice, at any point where a program waits."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.events import eventually
from tests.faults.conftest import marked_processes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.conftest import Program

#: Between the key and the end of a program whose tasks end by themselves.
PROMPTLY_S = 3.0

PRELUDE = """
    import concurrent.futures, os, sys, time
    import lineshaft as ls

    def nap(n):
        time.sleep(0.05)
        return n

    def wait_for_ever(n=0):
        time.sleep(1e6)

    def first():
        return os.getpid()

    def ready():
        print("ready", flush=True)

    ls.submit(first).result()
    """

#: Where programs wait. Each has far more work than the test has time.
WAITS = {
    "result": "future = ls.submit(wait_for_ever); ready(); future.result()",
    "queue": "futures = [ls.submit(nap, n) for n in range(10_000)]; ready(); futures[-1].result()",
    "exception": "future = ls.submit(wait_for_ever); ready(); future.exception()",
    "timeout": "future = ls.submit(wait_for_ever); ready(); future.result(timeout=1000)",
    "map": "results = ls.map(nap, range(10_000), progress=False); next(results); ready(); list(results)",
    "as_completed": "futures = [ls.submit(wait_for_ever) for n in range(5)]; ready(); list(ls.as_completed(futures))",
    "wait": "futures = [ls.submit(wait_for_ever) for n in range(5)]; ready(); concurrent.futures.wait(futures)",
    "executor": """
        with ls.ProcessPoolExecutor(2) as executor:
            futures = [executor.submit(nap, n) for n in range(10_000)]
            ready()
            futures[-1].result()
        """,
    "executor's end": """
        with ls.ProcessPoolExecutor(2) as executor:
            futures = [executor.submit(nap, n) for n in range(10_000)]
            ready()
        """,
    "engine": """
        with ls.Engine(workers=2) as engine:
            futures = [engine.submit(nap, n) for n in range(10_000)]
            ready()
            futures[-1].result()
        """,
    "pool": """
        with ls.Pool(2) as pool:
            result = pool.map_async(nap, range(10_000), chunksize=1)
            ready()
            result.get()
        """,
    "threads": "results = ls.map(nap, range(10_000), threads=4, progress=False); next(results); ready(); list(results)",
    "nested": "future = ls.submit(lambda: ls.submit(wait_for_ever).result()); ready(); future.result()",
    "sleep": "futures = [ls.submit(nap, n) for n in range(10_000)]; ready(); time.sleep(1e6)",
}


def interruptible(program: Callable[..., Program], wait: str) -> Program:
    """Start a program that waits, and return when it does."""
    body = textwrap.indent(textwrap.dedent(WAITS[wait]), "    ")
    started = program(PRELUDE + "\n" + body)
    assert started.line() == "ready"
    return started


def asleep(started: Program) -> bool:
    """Whether the main thread is in a system call that waits for a lock, and for ever."""
    call = Path(f"/proc/{started.process.pid}/syscall").read_text().split()
    futex, no_timeout = "202" if platform.machine() == "x86_64" else "98", "0x0"
    return call[0] == futex and call[4] == no_timeout


def press(started: Program) -> None:
    """Press Ctrl-C: the terminal sends SIGINT to the whole process group."""
    os.killpg(started.process.pid, signal.SIGINT)


def end_promptly(started: Program) -> tuple[str, str]:
    """Check that the program ends by the key that was just pressed; return what it printed."""
    pressed_s = time.monotonic()
    out, err = started.end()
    assert time.monotonic() - pressed_s < PROMPTLY_S
    assert started.process.returncode == -signal.SIGINT, err
    return out, err


@pytest.mark.parametrize("wait", WAITS)
def test_once(program: Callable[..., Program], token: str, wait: str) -> None:
    started = interruptible(program, wait)
    if wait == "wait":
        # This wait is all the standard library's, and sleeps through a key pressed just before it falls asleep.
        eventually(lambda: asleep(started), "the program waits")
    press(started)
    out, err = end_promptly(started)
    assert err.rstrip().splitlines()[-1] == "KeyboardInterrupt", err
    assert err.count("Traceback") == 1, err
    assert out == ""
    eventually(lambda: not marked_processes(token), "nothing is left", 2.0)


@pytest.mark.parametrize("wait", ["result", "queue", "map", "executor", "executor's end", "engine", "pool"])
def test_twice(program: Callable[..., Program], token: str, wait: str) -> None:
    started = interruptible(program, wait)
    press(started)
    press(started)
    _, err = end_promptly(started)
    # The second one may fall into the interpreter's own printing of the first, and then that is cut short.
    assert "KeyboardInterrupt" in err
    eventually(lambda: not marked_processes(token), "nothing is left", 2.0)


@pytest.mark.parametrize("wait", ["result", "map", "as_completed", "threads"])
def test_signal_that_wakes_nobody(program: Callable[..., Program], wait: str) -> None:
    """As one that comes just before a program falls asleep: no system call and no look for signals sees it."""
    started = program(
        PRELUDE
        + f"""
    import signal, threading

    def press():
        sys.stdin.readline()
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    {WAITS[wait]}
    """,
        stdin=subprocess.PIPE,
    )
    assert started.line() == "ready"
    assert started.process.stdin is not None
    print(file=started.process.stdin, flush=True)
    end_promptly(started)


def test_second_one_ends_what_ignores_the_first(program: Callable[..., Program], token: str) -> None:
    started = program(
        PRELUDE
        + """
    try:
        with ls.Engine(workers=2) as engine:
            future = engine.submit(wait_for_ever)
            try:
                ready()
                future.result()
            except KeyboardInterrupt:
                print("first", flush=True)
            # leaving the block waits for the task
    except KeyboardInterrupt:
        print("second", flush=True)
    """
    )
    assert started.line() == "ready"
    press(started)
    assert started.line() == "first"
    press(started)
    assert started.line() == "second"
    _, err = started.end()
    assert (started.process.returncode, err) == (0, "")
    eventually(lambda: not marked_processes(token), "nothing is left", 2.0)


def test_program_that_catches_it_goes_on(program: Callable[..., Program]) -> None:
    started = program(
        PRELUDE
        + """
    future = ls.submit(nap, 7)
    blocked = ls.submit(time.sleep, 0.5)
    try:
        ready()
        time.sleep(1e6)
    except KeyboardInterrupt:
        pass
    print(future.result(), ls.submit(first).result() > 0, blocked.result(), flush=True)
    """
    )
    assert started.line() == "ready"
    press(started)
    out, err = started.end()
    assert (started.process.returncode, out, err) == (0, "7 True None\n", "")


def test_handler_of_the_program_runs_while_it_waits(program: Callable[..., Program]) -> None:
    started = program(
        PRELUDE
        + """
    import signal
    signal.signal(signal.SIGINT, lambda *_: print("handled", flush=True))
    future = ls.submit(time.sleep, 1)
    ready()
    future.result()
    print("done", flush=True)
    """
    )
    assert started.line() == "ready"
    press(started)
    assert started.line() == "handled"
    assert started.line() == "done"
    out, err = started.end()
    assert (started.process.returncode, out, err) == (0, "", "")


#: Ways of ending a program, or a part of it, by Ctrl-C while calls run.
ENDS = {
    "executor": "with ls.ProcessPoolExecutor(2) as executor: list(executor.map(clean_up, 'ab'))",
    "executor of chunks": "with ls.ProcessPoolExecutor(2) as executor: list(executor.map(clean_up, 'ab', chunksize=2))",
    "pool": "with ls.Pool(2) as pool: pool.map(clean_up, 'ab', chunksize=1)",
    "open pool": "pool = ls.Pool(2); pool.map(clean_up, 'ab', chunksize=1)",
    "engine": "with ls.Engine(workers=2) as engine: [f.result() for f in [engine.submit(clean_up, x) for x in 'ab']]",
    "default engine": "[future.result() for future in [ls.submit(clean_up, x) for x in 'ab']]",
    "map": "list(ls.map(clean_up, 'ab', progress=False))",
    "threads": "with ls.ThreadPoolExecutor(2) as threads: list(threads.map(by_call, 'ab'))",
    "thread with a map": "with ls.ThreadPoolExecutor(1) as threads: threads.submit(by_map, 'ab').result()",
    "thread with an executor": "with ls.ThreadPoolExecutor(1) as threads: threads.submit(by_executor, 'ab').result()",
    "thread with joblib": "with ls.ThreadPoolExecutor(1) as threads: threads.submit(by_joblib, 'ab').result()",
    "thread pool": "with ls.ThreadPool(2) as threads: threads.map(by_call, 'ab')",
}


@pytest.mark.parametrize("end", ENDS)
def test_calls_clean_up(program: Callable[..., Program], tmp_path: Path, end: str) -> None:
    """As the workers of the standard library, which the terminal's signal reaches as well."""
    started = program(
        PRELUDE
        + f"""
    import pathlib
    folder = pathlib.Path({str(tmp_path)!r})
    def clean_up(name):
        try:
            with open({str(tmp_path / "begun")!r}, "a") as file:
                file.write(name)
            time.sleep(1e6)
        finally:
            (folder / name).touch()
    def by_call(name):
        return ls.submit(clean_up, name).result()
    def by_map(names):
        return list(ls.map(clean_up, names, progress=False))
    def by_executor(names):
        with ls.ProcessPoolExecutor(2) as executor:
            return list(executor.map(clean_up, names))
    def by_joblib(names):
        import joblib, lineshaft.joblib
        return joblib.Parallel(n_jobs=2, backend="lineshaft")(joblib.delayed(clean_up)(name) for name in names)
    {ENDS[end]}
    """
    )
    eventually(lambda: (tmp_path / "begun").exists() and (tmp_path / "begun").stat().st_size, "a call runs")
    press(started)
    out, err = started.end()
    assert (started.process.returncode, out) == (-signal.SIGINT, "")
    assert err.rstrip().splitlines()[-1] == "KeyboardInterrupt", err
    begun = (tmp_path / "begun").read_text()
    assert all((tmp_path / name).exists() for name in begun), begun


@pytest.mark.parametrize(
    "submit",
    [
        "ls.submit(len, item)",
        "ls.submit(lambda item: 0, item)",
        "ls.default_engine().submit(len, item)",
        "pool.apply_async(len, (item,))",
        "next(pool.imap(len, [item]))",
    ],
)
def test_what_a_signal_handler_raises_while_a_call_is_submitted(program: Callable[..., Program], submit: str) -> None:
    """It is the caller's, as a time limit is, and not the outcome of the call; nor is it swallowed."""
    started = program(
        f"""
    import signal, sys
    import lineshaft as ls

    class TimeLimit(Exception):
        pass

    def expire(*_):
        raise TimeLimit

    class Item:
        # A call is interrupted in the midst: while an argument of it is pickled.
        def __reduce__(self):
            if armed:
                signal.raise_signal(signal.SIGALRM)
            return str, ("abc",)

    signal.signal(signal.SIGALRM, expire)
    armed, item = False, Item()
    with ls.Pool(1) as pool:
        {submit}
        armed = True
        try:
            {submit}
        except TimeLimit:
            print("raised")
    """
    )
    assert started.end() == ("raised\n", "")


def test_ctrl_c_in_a_callback_that_shutdown_runs(program: Callable[..., Program]) -> None:
    """It is the program's, as any that comes while its main thread runs a callback."""
    started = program(
        """
        import signal, sys, threading, time
        import lineshaft as ls

        ran_on_main = []

        def callback(future):
            ran_on_main.append(threading.current_thread() is threading.main_thread())
            if ran_on_main[-1]:
                signal.raise_signal(signal.SIGINT)
                for _ in range(1000):
                    pass  # where the handler runs

        sys.setswitchinterval(100)  # whoever has the interpreter keeps it
        for _ in range(100):
            executor = ls.ProcessPoolExecutor(1)
            future = executor.submit(time.sleep, 0.1)
            future.add_done_callback(callback)
            try:
                while not future.done():
                    pass
                executor._pool.drain()
                raised = False
            except KeyboardInterrupt:
                raised = True
            executor.shutdown()
            if ran_on_main[-1]:
                break
        print(ran_on_main[-1], raised)
        """
    )
    assert started.end() == ("True True\n", "")
