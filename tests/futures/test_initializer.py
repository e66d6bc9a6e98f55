"""Initializers run once in each worker, before its first call; one that fails breaks the pool."""

import logging
import multiprocessing
import os
import threading
from concurrent.futures import BrokenExecutor
from concurrent.futures.process import BrokenProcessPool
from concurrent.futures.thread import BrokenThreadPool

import pytest
from tests.events import eventually

import lineshaft as ls

state: dict[str, object] = {}
calls = 0


def remember(**values: object) -> None:
    state.update(values)


def remember_one(name: str, value: object) -> None:
    state[name] = value


def count() -> None:
    global calls
    calls += 1


def counted(_: int) -> tuple[int, int]:
    return os.getpid(), calls


def look_up(name: str) -> object:
    return state[name]


def fail(text: str) -> None:
    raise LookupError(text)


def test_globals_of_the_worker(processes):
    with ls.ProcessPoolExecutor(2, initializer=remember_one, initargs=("path", "/data")) as executor:
        assert list(executor.map(look_up, ["path"] * 10)) == ["/data"] * 10
    assert "path" not in state
    assert isinstance(processes.submit(look_up, "path").exception(), KeyError)  # other pools know nothing of it


def test_once_in_each_worker():
    with ls.ProcessPoolExecutor(2, initializer=count) as executor:
        assert {times for _, times in executor.map(counted, range(50))} == {1}


def test_once_on_each_thread():
    names: list[str] = []
    with ls.ThreadPoolExecutor(2, initializer=lambda: names.append(threading.current_thread().name)) as executor:
        list(executor.map(abs, range(50)))
    assert len(names) == len(set(names)) <= 2


def test_before_the_first_call_on_a_thread():
    local = threading.local()

    def prepare(value: int) -> None:
        local.value = value

    with ls.ThreadPoolExecutor(2, initializer=prepare, initargs=(3,)) as executor:
        assert {executor.submit(lambda: local.value).result() for _ in range(20)} == {3}


def test_what_a_thread_keeps_for_itself(threads):
    local = threading.local()

    def count_here() -> tuple[str, int]:
        local.count = getattr(local, "count", 0) + 1
        return threading.current_thread().name, local.count

    seen = [threads.submit(count_here).result() for _ in range(50)]
    for name in {name for name, _ in seen}:
        mine = [count for other, count in seen if other == name]
        assert mine == list(range(1, len(mine) + 1))


def test_threads_have_names_until_they_end():
    with ls.ThreadPoolExecutor(2, thread_name_prefix="worker") as executor:
        names = {executor.submit(lambda: threading.current_thread().name).result() for _ in range(20)}
        assert names <= {"worker_0", "worker_1"}
        assert names <= {thread.name for thread in threading.enumerate()}
    eventually(lambda: not names & {thread.name for thread in threading.enumerate()}, "threads are still listed")


def test_lambdas_and_closures():
    seen = {"x": 1}
    with ls.ProcessPoolExecutor(
        1, initializer=lambda extra: remember(seen=seen, extra=extra), initargs=(2,)
    ) as executor:
        assert executor.submit(look_up, "seen").result() == {"x": 1}


def critical(caplog):
    """Return the messages of what failed initializers have logged, once it is clear that tracebacks are with them."""
    records = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert {record.name for record in records} == {"concurrent.futures"}
    assert "raise LookupError(text)" in caplog.text
    assert "LookupError: not today" in caplog.text
    return [record.getMessage() for record in records]


@pytest.mark.parametrize(
    ("executor_class", "error"),
    [(ls.ProcessPoolExecutor, BrokenProcessPool), (ls.ThreadPoolExecutor, BrokenThreadPool)],
)
def test_failing(executor_class, error, caplog):
    with executor_class(2, initializer=fail, initargs=("not today",)) as executor:
        future = executor.submit(pow, 2, 2)
        assert type(future.exception(timeout=30)) is error
        with pytest.raises(BrokenExecutor):
            executor.submit(pow, 2, 2)
        assert executor._broken
    if executor_class is ls.ThreadPoolExecutor:
        assert set(critical(caplog)) == {"Exception in initializer:"}
    else:
        cause = future.exception().__cause__
        assert isinstance(cause, LookupError)
        assert cause.args == ("not today",)
        assert "raise LookupError(text)" in str(cause.__cause__)


def test_a_failure_that_nobody_handles_in_the_worker_is_logged_here(caplog):
    context = multiprocessing.get_context("spawn")
    with ls.ProcessPoolExecutor(1, context, initializer=fail, initargs=("not today",)) as executor:
        assert type(executor.submit(pow, 2, 2).exception()) is BrokenProcessPool
    assert critical(caplog) == ["Exception in initializer:"]


class Kept(logging.Handler):
    """Leaves what is logged in a folder."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def emit(self, record):
        (self.folder / str(os.getpid())).write_text(f"{record.getMessage()} {record.exc_info[1]!r}")


def keep_and_fail(folder):
    logger = logging.getLogger("concurrent.futures")
    logger.addHandler(Kept(folder))
    logger.propagate = False
    raise LookupError


@pytest.mark.parametrize("method", [None, "fork", "spawn", "forkserver"])
def test_a_failure_is_logged_in_the_worker(tmp_path, method):
    context = method and multiprocessing.get_context(method)
    with ls.ProcessPoolExecutor(1, context, initializer=keep_and_fail, initargs=(tmp_path,)) as executor:
        assert type(executor.submit(pow, 2, 2).exception()) is BrokenProcessPool
    (kept,) = tmp_path.iterdir()
    assert kept.name != str(os.getpid())
    assert kept.read_text() == "Exception in initializer: LookupError()"


def test_failing_fails_everything_that_waits():
    with ls.ProcessPoolExecutor(2, initializer=fail, initargs=("never",)) as executor:
        futures = []
        for _ in range(100):
            try:
                futures.append(executor.submit(pow, 2, 2))
            except BrokenProcessPool:
                break
        assert futures
        assert all(isinstance(future.exception(timeout=30), BrokenProcessPool) for future in futures)


def test_what_cannot_be_called():
    for executor_class in (ls.ProcessPoolExecutor, ls.ThreadPoolExecutor):
        with pytest.raises(TypeError, match="initializer must be a callable"):
            executor_class(initializer=3)
