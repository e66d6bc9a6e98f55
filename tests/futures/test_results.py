"""A future has the result of its call, or what the call raised, with the worker's traceback."""

import concurrent.futures.process
import functools
import multiprocessing.pool
import operator
import os
import pickle
import signal
import threading
import traceback

import pytest
from tests.events import eventually

import lineshaft as ls


class OddError(Exception):
    def __init__(self, code: int, *, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text

    def __reduce__(self) -> tuple[object, ...]:
        return functools.partial(OddError, text=self.text), (self.code,)


def fail(kind: type[BaseException], *args: object) -> None:
    raise kind(*args)  # the line that raised


def fail_oddly() -> None:
    raise OddError(7, text="seven")


def fail_with_cause() -> None:
    try:
        {}["key"]
    except KeyError as error:
        raise ValueError("outer") from error


def fail_with_cause_in_a_call() -> None:
    ls.submit(fail_with_cause).result()


def keywords(*args: int, **options: int) -> tuple[tuple[int, ...], dict[str, int]]:
    return args, options


class Signalling:
    """Whoever loads it gets a signal, and None."""

    def __reduce__(self) -> tuple[object, ...]:
        return signal.raise_signal, (signal.SIGUSR1,)


def unpicklable() -> threading.Lock:
    return threading.Lock()


def test_results(executor):
    assert executor.submit(pow, 2, 10).result() == 1024
    assert executor.submit(keywords, 1, 2, fn=3, self=4).result() == ((1, 2), {"fn": 3, "self": 4})
    nothing = executor.submit(keywords)
    assert nothing.result() == ((), {})
    assert nothing.exception() is None
    assert executor.submit(bool).result(timeout=30) is False


def test_a_result_is_the_same_object_each_time(executor):
    future = executor.submit(list, "ab")
    assert future.result() is future.result()


def test_lambdas_closures_partials_and_methods(executor):
    base = 10
    assert executor.submit(lambda x: x + base, 5).result() == 15
    assert executor.submit(functools.partial(pow, 2), 5).result() == 32
    assert executor.submit("a-b".split, "-").result() == ["a", "b"]
    assert executor.submit(operator.methodcaller("upper"), "x").result() == "X"


@pytest.mark.parametrize("kind", [ValueError, KeyError, OSError, StopIteration, SystemExit, KeyboardInterrupt])
def test_exceptions_are_raised_here(executor, kind):
    future = executor.submit(fail, kind, 3)
    with pytest.raises(kind) as raised:
        future.result()
    assert raised.value.args == (3,)
    assert future.exception() is raised.value
    assert executor.submit(pow, 2, 2).result() == 4  # nobody went down with it


def test_exceptions_with_their_own_attributes(executor):
    error = executor.submit(fail_oddly).exception()
    assert (type(error), error.code, error.text) == (OddError, 7, "seven")


def test_a_remote_traceback_is_the_cause(processes):
    error = processes.submit(fail, ValueError, "here").exception()
    assert isinstance(error.__cause__, ls.errors.RemoteTraceback)
    assert "raise kind(*args)  # the line that raised" in str(error.__cause__)
    assert error.__cause__.tb == str(error.__cause__)  # as concurrent.futures and multiprocessing call it
    shown = "".join(traceback.format_exception(error))
    assert shown.index("the line that raised") < shown.index("direct cause") < shown.rindex("ValueError: here")


def test_causes_of_the_worker_are_kept(processes):
    error = processes.submit(fail_with_cause).exception()
    assert "KeyError: 'key'" in str(error.__cause__)
    assert isinstance(error.__cause__.cause, KeyError)


def test_a_remote_traceback_is_one_of_the_standard_library_too(processes):
    cause = processes.submit(fail, ValueError).exception().__cause__
    assert isinstance(cause, multiprocessing.pool.RemoteTraceback)
    assert isinstance(cause, concurrent.futures.process._RemoteTraceback)
    assert isinstance(cause, ls.errors.RemoteTraceback)
    assert not isinstance(cause, ls.errors.LineshaftError)
    copy = pickle.loads(pickle.dumps(cause))
    assert (type(copy), copy.text) == (ls.errors.RemoteTraceback, cause.text)


def test_causes_of_calls_in_calls_are_kept(processes):
    error = processes.submit(fail_with_cause_in_a_call).exception()
    assert isinstance(error.__cause__, ls.errors.RemoteTraceback)
    assert isinstance(error.__cause__.cause, KeyError)


def test_a_local_traceback_reaches_the_function(threads):
    error = threads.submit(fail, ValueError).exception()
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)][-1] == "fail"


def test_raising_twice_does_not_grow_the_traceback(executor):
    future = executor.submit(fail, ValueError, "grow")
    depths = []
    for _ in range(3):
        with pytest.raises(ValueError, match="grow") as raised:
            future.result()
        depths.append(len(traceback.extract_tb(raised.value.__traceback__)))
    assert depths[0] <= 3
    # Each raise adds the frame that asks, as for any exception object that is raised again.
    assert depths[2] - depths[1] == depths[1] - depths[0] <= 1


def test_what_cannot_be_sent_is_the_futures_error(processes):
    future = processes.submit(keywords, 1, option=threading.Lock())
    error = future.exception()
    assert isinstance(error, pickle.PicklingError)
    assert isinstance(error, TypeError)
    assert "argument 'options'" in str(error)
    assert future.done()


def test_what_cannot_be_sent_back_is_the_futures_error(processes):
    error = processes.submit(unpicklable).exception()
    assert isinstance(error, pickle.PicklingError)
    assert "result" in str(error)
    assert processes.submit(os.getpid).result() != os.getpid()


def test_threads_share_objects(threads):
    lock = threading.Lock()
    assert threads.submit(lambda value: value, lock).result() is lock


def test_result_and_exception_time_out(executor, event):
    leave = event("leave")
    future = executor.submit(leave.wait)
    try:
        for ask in (future.result, future.exception):
            for timeout in (0, 0.01):
                with pytest.raises(concurrent.futures.TimeoutError):
                    ask(timeout=timeout)
        assert not future.done()
    finally:
        leave.set()
    assert future.result(timeout=30) is True


def test_many_threads_wait_for_one_future(executor, event):
    leave = event("leave")
    future = executor.submit(leave.wait)
    seen = []
    waiting = [threading.Thread(target=lambda: seen.append(future.result(30))) for _ in range(8)]
    for thread in waiting:
        thread.start()
    leave.set()
    for thread in waiting:
        thread.join(30)
    assert seen == [True] * 8


@pytest.mark.parametrize("times", [1, 2])
def test_what_a_signal_handler_raises_while_a_result_is_loaded_is_not_the_result(processes, times):
    left = times

    def interrupt(*_: object) -> None:
        nonlocal left
        if left > 0:
            left -= 1
            raise KeyboardInterrupt

    future = processes.submit(Signalling)
    eventually(future.done, "the call has ended")
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        for expected in reversed(range(times)):
            with pytest.raises(KeyboardInterrupt):
                future.result()
            assert left == expected
        assert future.result() is None
    finally:
        signal.signal(signal.SIGUSR1, before)
