"""What cannot travel between processes: a clear error for the one task, and nothing else is lost."""

from __future__ import annotations

import concurrent.futures
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.faults.conftest import worker_pids
from tests.faults.tasks import identity

import lineshaft as ls
from lineshaft.errors import RemoteError, SerializationError

if TYPE_CHECKING:
    from collections.abc import Callable


class Holder:
    """Holds something that cannot be pickled, some attributes deep."""

    def __init__(self) -> None:
        self.parts = {"lock": threading.Lock()}


class NeedsTwo(Exception):  # noqa: N818
    """Keeps one argument of two: pickling gives what cannot be loaded."""

    def __init__(self, first: str, second: int) -> None:
        super().__init__(f"{first} and {second}")
        self.second = second


class LoadsElsewhereOnly(Exception):  # noqa: N818
    """Refuses to be rebuilt."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _refuse, ("the original message",)


class CannotBeDumped(Exception):  # noqa: N818
    """Holds something that cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("it holds a lock")
        self.lock = threading.Lock()


class BrokenText(Exception):  # noqa: N818
    """Cannot even say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def _refuse(text: str) -> None:
    raise ValueError(f"refused: {text}")


class KillsItsReader:
    """Cannot be loaded where it arrives."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _refuse, ("this value",)


def goes_on(engine: ls.Engine, pids: list[int]) -> None:
    """Check that the engine works with the workers that it had."""
    assert [future.result() for future in [engine.submit(pow, n, 2) for n in range(20)]] == [n * n for n in range(20)]
    assert set(pids) <= set(worker_pids(engine))
    stats = engine._native.stats()
    assert (stats["worker_deaths"], stats["unfinished"]) == (0, 0)


@pytest.fixture
def pids(engine: ls.Engine) -> list[int]:
    """Return the processes of workers that have run something."""
    engine.submit(pow, 2, 2).result()
    return worker_pids(engine)


def refused(call: Callable[[], Any]) -> SerializationError:
    with pytest.raises(SerializationError) as raised:
        call()
    return raised.value


def test_argument(engine: ls.Engine, pids: list[int]) -> None:
    error = refused(lambda: engine.submit(identity, Holder()).result())
    assert "parts['lock']" in str(error)
    assert "identity" in str(error)
    assert "argument" in str(error)
    goes_on(engine, pids)


def test_named_argument(engine: ls.Engine, pids: list[int]) -> None:
    error = refused(lambda: engine.submit(identity, x=[1, 2, Holder()]).result())
    assert "x" in str(error)
    assert "[2]" in str(error)
    assert "parts['lock']" in str(error)
    goes_on(engine, pids)


def test_captured_variable(engine: ls.Engine, pids: list[int]) -> None:
    lock = threading.Lock()

    def uses_lock() -> bool:
        return lock.locked()

    error = refused(lambda: engine.submit(uses_lock).result())
    assert "lock" in str(error)
    assert "uses_lock" in str(error)
    goes_on(engine, pids)


def test_argument_among_many_loses_nothing(engine: ls.Engine, pids: list[int]) -> None:
    futures = []
    for n in range(200):
        argument = Holder() if n % 10 == 5 else n
        futures.append(engine.submit(identity, argument))
    for n, future in enumerate(futures):
        if n % 10 == 5:
            assert "parts['lock']" in str(refused(future.result))
        else:
            assert future.result() == n
    goes_on(engine, pids)


def test_argument_of_map(engine: ls.Engine, pids: list[int]) -> None:
    def items() -> Any:
        yield from range(10)
        yield Holder()

    seen = []
    with pytest.raises(SerializationError) as raised:
        seen.extend(engine.map(identity, items(), progress=False))
    assert "parts['lock']" in str(raised.value)
    del raised
    goes_on(engine, pids)


def test_argument_of_executor_map(engine: ls.Engine, pids: list[int]) -> None:
    with ls.ProcessPoolExecutor(2, _engine=engine) as executor:
        with pytest.raises(SerializationError) as raised:
            list(executor.map(identity, [1, Holder()]))
        assert "parts['lock']" in str(raised.value)
        del raised
        assert list(executor.map(identity, [1, 2])) == [1, 2]
    goes_on(engine, pids)


def test_argument_that_does_not_load(engine: ls.Engine, pids: list[int]) -> None:
    with pytest.raises(Exception, match="refused: this value"):
        engine.submit(identity, KillsItsReader()).result()
    goes_on(engine, pids)


def test_result(engine: ls.Engine, pids: list[int]) -> None:
    def make() -> Any:
        return [0, Holder()]

    error = refused(lambda: engine.submit(make).result())
    assert "[1]" in str(error)
    assert "parts['lock']" in str(error)
    assert "make" in str(error) or "result" in str(error)
    goes_on(engine, pids)


def test_result_of_one_item_of_map(engine: ls.Engine, pids: list[int]) -> None:
    def make(n: int) -> Any:
        return Holder() if n == 700 else n

    seen = []
    with pytest.raises(SerializationError) as raised:
        seen.extend(engine.map(make, range(2000), progress=False))
    assert "parts['lock']" in str(raised.value)
    del raised
    assert seen == list(range(700))
    goes_on(engine, pids)


def test_result_that_does_not_load(engine: ls.Engine, pids: list[int]) -> None:
    with pytest.raises(Exception, match="refused: this value"):
        engine.submit(KillsItsReader).result()
    goes_on(engine, pids)


def test_unpicklable_result_that_another_task_needs(engine: ls.Engine, pids: list[int]) -> None:
    first = engine.submit(Holder)
    second = engine.submit(identity, [first])
    assert "parts['lock']" in str(refused(second.result))
    assert "parts['lock']" in str(refused(first.result))
    goes_on(engine, pids)


def test_exception_whose_init_breaks_unpickling(engine: ls.Engine, pids: list[int]) -> None:
    def fail() -> None:
        raise NeedsTwo("one", 2)

    error = engine.submit(fail).exception()
    assert type(error) is NeedsTwo
    assert str(error) == "one and 2"
    assert error.second == 2
    assert "fail" in str(error.__cause__)
    goes_on(engine, pids)


@pytest.mark.parametrize("kind", [CannotBeDumped, LoadsElsewhereOnly])
def test_exception_that_cannot_travel(engine: ls.Engine, pids: list[int], kind: type[Exception]) -> None:
    def fail() -> None:
        raise kind()

    error = engine.submit(fail).exception()
    assert isinstance(error, RemoteError)
    assert kind.__name__ in str(error)
    assert error.reason
    # The traceback still names the line.
    assert "raise kind()" in str(error.__cause__)
    goes_on(engine, pids)


def test_exception_without_text(engine: ls.Engine, pids: list[int]) -> None:
    def fail() -> None:
        raise BrokenText

    error = engine.submit(fail).exception()
    assert "BrokenText" in f"{type(error).__name__} {getattr(error, 'type_name', '')}"
    goes_on(engine, pids)


def test_exception_in_a_map(engine: ls.Engine, pids: list[int]) -> None:
    def fail(n: int) -> int:
        if n == 100:
            raise NeedsTwo("item", n)
        return n

    seen = []
    with pytest.raises(NeedsTwo, match="item and 100"):
        seen.extend(engine.map(fail, range(1000), progress=False))
    assert seen == list(range(100))
    goes_on(engine, pids)


def test_recursion_error_while_pickling(engine: ls.Engine, pids: list[int]) -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises((SerializationError, RecursionError)):
        engine.submit(identity, nested).result()
    while nested:  # freed step by step: the interpreter's own recursion is limited, too
        nested = nested[0]

    def make() -> Any:
        nested: list[Any] = []
        for _ in range(100_000):
            nested = [nested]
        return nested

    with pytest.raises((SerializationError, RecursionError)):
        engine.submit(make).result()
    goes_on(engine, pids)


def test_items_are_named(engine: ls.Engine) -> None:
    items = [1, 2, Holder(), 4]
    chunked = ls.ProcessPoolExecutor(1, _engine=engine).map(identity, items, chunksize=4)
    with pytest.raises(SerializationError, match=r"item \(<.*Holde.* of identity\(\).*: x\.parts\['lock'\] is"):
        list(chunked)


def test_items_of_a_map_fail_alone(engine: ls.Engine) -> None:
    results = engine.map(identity, [*range(500), Holder()], progress=False)
    assert [next(results) for _ in range(500)] == list(range(500))
    with pytest.raises(SerializationError, match=r"argument 'x' of identity\(\).*: x\.parts\['lock'\] is"):
        next(results)


def test_futures_of_other_libraries(engine: ls.Engine) -> None:
    with pytest.raises(SerializationError, match=r"x\[0\] is .*Future, a future of another library: pass its result"):
        engine.submit(identity, [concurrent.futures.Future()]).result()


def test_a_future_as_result(engine: ls.Engine, pids: list[int]) -> None:
    why = "is a future, which cannot be a result: return its result() instead"
    for nest, path in ((lambda future: future, "result"), (lambda future: {"a": [future]}, r"result\['a'\]\[0\]")):
        with pytest.raises(SerializationError, match=f"{path} {re.escape(why)}"):
            engine.submit(lambda nest=nest: nest(ls.submit(abs, -1))).result()
    goes_on(engine, pids)
