"""Threads that run calls are like those that a program starts itself: signals, stacks, tracing."""

import signal
import subprocess
import sys
import threading
import traceback
import warnings

import pytest

import lineshaft as ls


def blocked_here() -> set[signal.Signals]:
    return signal.pthread_sigmask(signal.SIG_BLOCK, ())


def blocked_in_child() -> int:
    script = "import signal; print(len(signal.pthread_sigmask(signal.SIG_BLOCK, ())))"
    return int(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True).stdout)


def test_no_signal_is_blocked_in_what_calls_start():
    with ls.ThreadPoolExecutor(1) as executor:
        assert executor.submit(blocked_here).result() == set()
        assert executor.submit(blocked_in_child).result() == 0


def test_a_signal_that_the_opener_blocks_is_blocked():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    try:
        executor = ls.ThreadPoolExecutor(1)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with executor:
        assert executor.submit(blocked_here).result() == {signal.SIGUSR1}


@pytest.mark.parametrize(
    ("function", "arguments", "result"),
    [(eval, ("1 + 2",), 3), (exec, ("number = 1",), None), (len, ([1],), 1), (warnings.warn, ("careful",), None)],
    ids=["eval", "exec", "len", "warn"],
)
def test_builtins_have_a_caller(function, arguments, result, recwarn):
    with ls.ThreadPoolExecutor(1) as executor:
        assert executor.submit(function, *arguments).result() == result
    assert [str(warning.message) for warning in recwarn] == (["careful"] if function is warnings.warn else [])


def test_each_call_has_a_namespace_of_its_own():
    with ls.ThreadPoolExecutor(1, initializer=exec, initargs=("number = 1",)) as executor:
        before = executor.submit(dir).result()
        executor.submit(exec, "number = 1").result()
        assert executor.submit(dir).result() == before
        assert "number" not in executor.submit(globals).result()


def test_what_a_builtin_raises_shows_nothing_of_its_caller():
    with ls.ThreadPoolExecutor(1) as executor:
        error = executor.submit(eval, "1 / 0").exception()
        assert [frame.filename for frame in traceback.extract_tb(error.__traceback__)] == ["<string>"]
        assert executor.submit(int, "x").exception().__traceback__ is None


def nested(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


def compare(depth: int) -> bool:
    """Compare in as many nested calls of C."""
    return nested(depth) == nested(depth)


@pytest.fixture
def deep():
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000_000)
    yield
    sys.setrecursionlimit(before)


def test_the_stack_is_as_large_as_that_of_other_threads(deep):
    with ls.ThreadPoolExecutor(1) as executor:
        assert executor.submit(compare, 20_000).result()


def test_the_stack_is_as_large_as_the_program_says(deep):
    before = threading.stack_size(256 << 20)
    try:
        executor = ls.ThreadPoolExecutor(1)
    finally:
        threading.stack_size(before)
    with executor:
        assert executor.submit(compare, 400_000).result()


@pytest.mark.parametrize("way", ["trace", "profile"])
def test_tracers_see_what_threads_run(way):
    seen = set()

    def tracer(frame, event, argument):
        seen.add((frame.f_code.co_name, event))

    before = getattr(threading, f"get{way}")()
    getattr(threading, f"set{way}")(tracer)
    try:
        with ls.ThreadPoolExecutor(1) as executor:
            executor.submit(nested, 1).result()
    finally:
        getattr(threading, f"set{way}")(before)
    assert ("nested", "call") in seen


def test_the_stack_size_of_threads_stays_what_the_program_has_set():
    before = threading.stack_size(64 << 20)
    try:
        for _ in range(2):
            with ls.ThreadPoolExecutor(1) as executor:
                executor.submit(abs, 1).result()
            assert threading.stack_size(64 << 20) == 64 << 20
    finally:
        threading.stack_size(before)


@pytest.mark.parametrize(("kind", "daemon"), [("ThreadPoolExecutor", False), ("ThreadPool", True)])
def test_threads_that_calls_start_are_daemons_where_those_of_the_standard_library_are(kind, daemon):
    with getattr(ls, kind)(1) as pool:
        call = pool.apply if kind == "ThreadPool" else lambda function: pool.submit(function).result()
        assert call(lambda: (threading.current_thread().daemon, threading.Thread().daemon)) == (daemon, daemon)
