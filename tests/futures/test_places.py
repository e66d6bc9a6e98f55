"""How many calls of a pool have begun and not ended is its user's limit, and no reason for a deadlock."""

import threading
from pathlib import Path

import lineshaft as ls


def begun_at_a_time(folder: Path, number: int) -> int:
    """Count the calls that have begun and not ended, while one with an executor of its own waits for it."""
    mark = folder / str(number)
    mark.touch()
    with ls.ProcessPoolExecutor(2) as executor:
        assert list(executor.map(abs, range(4))) == [0, 1, 2, 3]
        most = len(list(folder.iterdir()))
    mark.unlink()
    return most


class Begun:
    """Counts calls that have begun and not ended."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.now = 0
        self.most = 0

    def call(self, executor: ls.ThreadPoolExecutor | ls.ProcessPoolExecutor, x: int) -> int:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        result = executor.submit(abs, x).result()
        with self.lock:
            self.now -= 1
        return result


def test_calls_with_executors_of_their_own_are_no_more_at_a_time_than_the_pool_has_workers(tmp_path):
    """They wait for other pools, so that the pool can do without more: whoever says two wants no third."""
    with ls.ProcessPoolExecutor(2) as executor:
        assert max(executor.map(begun_at_a_time, [tmp_path] * 12, range(12))) <= 2


def test_calls_on_threads_that_wait_for_another_pool_are_no_more_than_the_pool_has_threads(executor_class):
    begun = Begun()
    with executor_class(1) as others, ls.ThreadPoolExecutor(2) as executor:
        results = list(executor.map(begun.call, [others] * 50, range(-50, 0)))
    assert results == list(range(50, 0, -1))
    assert begun.most <= 2


def through(*executors: ls.ThreadPoolExecutor) -> str:
    """Wait in a call of each of them for a call of the next."""
    return executors[0].submit(through, *executors[1:]).result(30) if executors else "there"


def test_threads_that_wait_for_each_others_pools():
    """One that concurrent.futures cannot do."""
    with ls.ThreadPoolExecutor(1) as first, ls.ThreadPoolExecutor(1) as second, ls.ThreadPoolExecutor(1) as third:
        assert [through(first, second, third, first) for _ in range(3)] == ["there"] * 3


def test_a_call_that_waits_already_when_its_place_turns_out_to_be_needed():
    asked, go_on = threading.Event(), threading.Event()
    with ls.ThreadPoolExecutor(1) as first, ls.ThreadPoolExecutor(1) as second:

        def ask_back() -> int:
            asked.set()
            assert go_on.wait(30)
            return first.submit(abs, -1).result()

        future = first.submit(lambda: second.submit(ask_back).result())
        assert asked.wait(30)
        queued = first.submit(abs, -2)
        go_on.set()
        assert (future.result(30), queued.result(30)) == (1, 2)


def test_what_a_call_waits_for_may_need_the_result_of_one_that_waits_for_its_place():
    three = ls.task(threads=1)(lambda: 3)
    in_processes = ls.task(threads=1)(lambda: ls.submit(pow, three.submit(), 2).result())
    assert [in_processes.submit().result(30) for _ in range(3)] == [9, 9, 9]


def test_a_wait_of_which_nobody_knows_what_for():
    """A coroutine awaits what needs the place of the call that waits for it."""
    with ls.ThreadPoolExecutor(1) as executor:

        async def ask_back() -> int:
            return await executor.submit(abs, -1)

        assert executor.submit(lambda: ls.submit(ask_back).result()).result(30) == 1


def fib(executor: ls.ThreadPoolExecutor, n: int) -> int:
    return n if n < 2 else sum(executor.submit(fib, executor, n - less).result() for less in (1, 2))


def test_calls_that_need_places_have_them_beside_one_that_keeps_its_own(event):
    with ls.ProcessPoolExecutor(1) as others, ls.ThreadPoolExecutor(2) as executor:
        keeps_its_own = executor.submit(lambda: others.submit(event("leave").wait).result())
        assert executor.submit(fib, executor, 6).result(30) == 8
        event("leave").set()
        assert keeps_its_own.result(30)
