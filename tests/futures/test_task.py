"""`ls.task`: retries, backoff, time limits, priorities, where it runs."""

import concurrent.futures
import importlib
import itertools
import os
import pickle
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cloudpickle
import pytest
from tests.events import enter_and_wait

import lineshaft as ls


def fail_times(path: Path, times: int) -> int:
    """Fail so many times, counted in a file; then return the number of attempts."""
    with path.open("a") as file:
        file.write(f"{time.monotonic()}\n")
    attempts = len(path.read_text().splitlines())
    if attempts <= times:
        raise ConnectionError(attempts)
    return attempts


def die_once(path: Path) -> str:
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), 9)
    return "alive"


def sleep_long() -> None:
    time.sleep(60)


PLACES = [{}, {"processes": True}, {"threads": True}, {"threads": 3}]


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_retries(tmp_path, place):
    task = ls.task(fail_times, retries=2, **place)
    assert task.submit(tmp_path / "a", 2).result(30) == 3
    with pytest.raises(ConnectionError, match="3"):
        task.submit(tmp_path / "b", 3).result(30)
    assert len((tmp_path / "b").read_text().splitlines()) == 3


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_no_retries_by_default(tmp_path, place):
    with pytest.raises(ConnectionError, match="1"):
        ls.task(fail_times, **place).submit(tmp_path / "a", 1).result(30)


def test_retries_after_the_death_of_a_worker(tmp_path):
    assert ls.task(die_once, retries=1).submit(tmp_path / "a").result(30) == "alive"
    with pytest.raises(ls.errors.WorkerDied):
        ls.task(die_once).submit(tmp_path / "b").result(30)


def test_backoff_doubles(tmp_path):
    path = tmp_path / "a"
    assert ls.task(fail_times, retries=3, backoff=0.05).submit(path, 3).result(30) == 4
    times = [float(line) for line in path.read_text().splitlines()]
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert [wait >= floor for wait, floor in zip(waits, [0.05, 0.1, 0.2], strict=True)] == [True] * 3


def test_a_time_limit_interrupts():
    began_s = time.monotonic()
    with pytest.raises(ls.errors.TaskTimeout) as raised:
        ls.task(sleep_long, timeout=0.2).submit().result(30)
    assert time.monotonic() - began_s < 20
    assert isinstance(raised.value, TimeoutError)
    assert ls.submit(pow, 2, 2).result(30) == 4


def test_a_time_limit_on_a_thread(event):
    leave = event("leave")
    task = ls.task(leave.wait, timeout=0.2, threads=True)
    with pytest.raises(ls.errors.TaskTimeout):
        task.submit().result(30)
    leave.set()


def test_a_time_limit_that_is_kept():
    assert ls.task(pow, timeout=30).submit(2, 2).result() == 4


def test_greater_priority_first(event):
    entered, leave, order = event("entered"), event("leave"), []
    with ls.Engine(workers=1) as engine:
        # One worker, held; then what waits for it is chosen by priority.
        task = ls.task(order.append, threads=1)
        task._engine = engine
        held = ls.task(enter_and_wait, threads=1)
        held._engine = engine
        held.submit(entered, leave)
        entered.wait()
        futures = []
        for priority in (0, 5, -5, 10):
            each = ls.task(order.append, threads=1, priority=priority)
            each._engine = engine
            futures.append(each.submit(priority))
        leave.set()
        for future in futures:
            future.result(30)
    assert order[-3:] == sorted(order[-3:], reverse=True)
    assert order.index(10) <= 1


def test_where_it_runs():
    where = ls.task(os.getpid)
    assert where() == os.getpid()
    assert where.submit().result() != os.getpid()
    assert ls.task(os.getpid, processes=True).submit().result() != os.getpid()
    assert ls.task(os.getpid, threads=True).submit().result() == os.getpid()
    assert ls.task(threading.get_ident, threads=True).submit().result() != threading.get_ident()


def test_a_decorator():
    @ls.task(retries=1)
    def double(x: int) -> int:
        """Double."""
        return 2 * x

    @ls.task
    def triple(x: int) -> int:
        return 3 * x

    assert (double(2), double.__name__, double.__doc__) == (4, "double", "Double.")
    assert double.submit(2).result() == 4
    assert list(double.map([1, 2])) == [2, 4]
    assert triple.submit(2).result() == 6


def test_keywords_of_any_name():
    def collect(**kwargs: int) -> dict[str, int]:
        return kwargs

    task = ls.task(collect)
    assert task(self=1, function=2) == {"self": 1, "function": 2}
    assert task.submit(self=1, function=2).result() == {"self": 1, "function": 2}


class Model:
    def __init__(self, offset: int) -> None:
        self.offset = offset

    @ls.task(retries=1)
    def shift(self, x: int) -> int:
        return self.offset + x

    @staticmethod
    @ls.task
    def double(x: int) -> int:
        return 2 * x

    builtin = ls.task(abs)


def test_a_method():
    model = Model(10)
    assert (model.shift(1), Model.shift(model, 1), model.double(2), model.builtin(-3)) == (11, 11, 4, 3)
    assert model.shift.submit(1).result() == 11
    assert ls.submit(model.shift, 2).result() == 12
    assert list(model.shift.map([1, 2])) == [11, 12]
    assert (model.shift.retries, model.shift.__name__) == (1, "shift")


@ls.task(retries=3)
def half(x: int) -> int:
    return x // 2


def test_pickling():
    """A module's task goes by its name, to any process that can import it."""
    assert pickle.loads(pickle.dumps(half)) is half
    assert pickle.loads(pickle.dumps(Model.double)) is Model.double
    with concurrent.futures.ProcessPoolExecutor(1) as executor:
        assert executor.submit(half, 4).result(30) == 2
    assert ls.submit(half, 6).result(30) == 3
    assert ls.submit(lambda: half.retries).result(30) == 3


def test_pickling_what_has_no_name():
    bound = pickle.loads(pickle.dumps(Model(1).shift))
    assert (bound(2), bound.retries) == (3, 1)
    assert ls.submit(map_twice, ls.task(lambda x: x + 1), 1).result(30) == 3


def map_twice(function: Callable[[int], int], x: int) -> int:
    return function(function(x))


def test_pickling_a_module_by_value(tmp_path, monkeypatch):
    (tmp_path / "nowhere_else.py").write_text("import lineshaft as ls\n@ls.task\ndef f(x):\n    return -x\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("nowhere_else")
    data = pickle.dumps(module.f)
    cloudpickle.register_pickle_by_value(module)
    try:
        assert b"nowhere_else" in data
        assert cloudpickle.loads(cloudpickle.dumps(module.f)) is not module.f
    finally:
        cloudpickle.unregister_pickle_by_value(module)


@pytest.mark.parametrize(
    "options",
    [
        {"retries": -1},
        {"retries": 1 << 16},
        {"timeout": 0},
        {"timeout": -1},
        {"backoff": -1},
        {"threads": 0},
        {"threads": -2},
        {"processes": True, "threads": True},
    ],
    ids=str,
)
def test_options_that_make_no_sense(options):
    with pytest.raises(ValueError, match=next(iter(options)) + "|not both"):
        ls.task(abs, **options)


@pytest.mark.parametrize("name", ["retries", "backoff", "timeout", "priority", "threads"])
def test_options_of_the_wrong_type(name):
    with pytest.raises(TypeError, match=f"{name} must be .*not 'x'"):
        ls.task(abs, **{name: "x"})


def test_what_cannot_be_called():
    with pytest.raises(TypeError, match="something to call"):
        ls.task(retries=1)(3)
