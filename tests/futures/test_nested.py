"""Calls that submit calls and wait for them, at any depth and on however few workers, never deadlock."""

import asyncio
import concurrent.futures
import os
import queue
import threading

import pytest
from tests.events import FileEvent, eventually

import lineshaft as ls


def tree(depth: int) -> int:
    """Leaves of a binary tree, each node a task that waits for its two children."""
    if depth == 0:
        return 1
    return sum(future.result() for future in [ls.submit(tree, depth - 1) for _ in range(2)])


def tree_of(executor_name: str, depth: int, max_workers: int) -> int:
    """Leaves of a binary tree, each node with an executor of its own."""
    if depth == 0:
        return 1
    with getattr(ls, executor_name)(max_workers) as executor:
        return sum(executor.map(tree_of, [executor_name] * 2, [depth - 1] * 2, [max_workers] * 2))


def chain(depth: int) -> int:
    return 0 if depth == 0 else 1 + ls.submit(chain, depth - 1).result()


def chain_by_map(depth: int) -> int:
    return 0 if depth == 0 else 1 + next(ls.map(chain_by_map, [depth - 1]))


def workers_of_tree(depth: int) -> set[int]:
    """Every node of a tree of three branches is a task that waits for its branches."""
    branches = ls.map(workers_of_tree, [depth - 1] * 3) if depth else []
    return {os.getpid()}.union(*branches)


def with_threads(count: int) -> tuple[list[int], bool]:
    here = os.getpid()
    with ls.ThreadPoolExecutor(2) as executor:
        return list(executor.map(abs, range(-count, 0))), executor.submit(os.getpid).result() == here


def with_stdlib_threads(count: int) -> list[int]:
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        return list(executor.map(abs, range(-count, 0)))


def wait_and_complete(count: int) -> list[int]:
    futures = [ls.submit(pow, 2, n) for n in range(count)]
    done, pending = concurrent.futures.wait(futures, timeout=30)
    assert not pending
    return sorted(future.result() for future in concurrent.futures.as_completed(done, timeout=30))


def with_callbacks(count: int) -> list[int]:
    results, ended = [], threading.Event()

    def tell(future: "ls.Future[int]") -> None:
        results.append(future.result())
        if len(results) == count:
            ended.set()

    for n in range(count):
        ls.submit(pow, 2, n).add_done_callback(tell)
    assert ended.wait(30)
    return sorted(results)


def cancel_and_wait(count: int) -> bool:
    """Cancel calls; are they cancelled at once, and known to have ended by whoever waits?"""
    futures = [ls.submit(abs, -1) for _ in range(count)]
    cancelled = [future for future in futures if future.cancel()]
    at_once = all(future.cancelled() for future in cancelled)
    _, pending = concurrent.futures.wait(futures, timeout=10)
    return at_once and not pending


def with_callbacks_after_a_look(count: int) -> list[int]:
    ended: queue.SimpleQueue[ls.Future[int]] = queue.SimpleQueue()
    futures = [ls.submit(pow, 2, n) for n in range(count)]
    concurrent.futures.wait(futures, timeout=0)
    for future in futures:
        future.add_done_callback(ended.put)
    return sorted(ended.get(timeout=30).result() for _ in futures)


def by_an_event_loop(count: int) -> list[int]:
    async def gather() -> list[int]:
        return await asyncio.gather(*[asyncio.wrap_future(ls.submit(pow, 2, n)) for n in range(count)])

    return asyncio.run(gather())


def by_polling(count: int) -> list[int]:
    futures = [ls.submit(pow, 2, n) for n in range(count)]
    eventually(lambda: all(future.done() for future in futures), "all are done", 20)
    return [future.result() for future in futures]


def by_polling_a_pool(count: int) -> list[int]:
    with ls.Pool(1) as pool:
        results = [pool.apply_async(pow, (2, n)) for n in range(count)]
        eventually(lambda: all(result.ready() for result in results), "all are ready", 20)
        return [result.get() for result in results]


def by_a_thread(x: int) -> int:
    """Wait for a thread, which waits for a nested call."""
    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(ls.submit(abs, x).result()))
    thread.start()
    thread.join()
    return results[0]


def ask_for_one() -> None:
    """Initialize a worker by what a nested call returns."""
    _initial.append(ls.submit(abs, -1).result())


def initial() -> list[int]:
    return _initial


_initial: list[int] = []


def leave_a_callback() -> None:
    """End before a nested call, on which nobody waits, has."""
    ls.submit(abs, -1).add_done_callback(_left_behind.append)


def leave_a_thread() -> None:
    """End while a thread waits for a nested call."""
    threading.Thread(target=lambda: ls.submit(abs, -1).result(), daemon=True).start()


_left_behind: list["ls.Future[int]"] = []


def with_dependencies() -> int:
    first = ls.submit(pow, 2, 3)
    return ls.submit(sum, [first, ls.submit(abs, -1), 1]).result()


def failing_inside() -> str:
    future = ls.submit(int, "x")
    try:
        future.result()
    except ValueError as error:
        return str(error)
    return "nothing raised"


def after_shutdown_inside() -> str:
    executor = ls.ProcessPoolExecutor(1)
    executor.shutdown()
    try:
        executor.submit(abs, 1)
    except RuntimeError as error:
        return str(error)
    return "taken"


def recurse_here(executor: ls.ThreadPoolExecutor, depth: int) -> int:
    if depth == 0:
        return 1
    return sum(f.result() for f in [executor.submit(recurse_here, executor, depth - 1) for _ in range(2)])


@pytest.mark.parametrize("workers", [1, 2])
def test_recursion(workers):
    with ls.Engine(workers=workers) as engine:
        assert engine.submit(tree, 4).result(timeout=60) == 16


@pytest.mark.parametrize("workers", [1, 2])
def test_a_chain_as_deep_as_ten(workers):
    with ls.Engine(workers=workers) as engine:
        assert engine.submit(chain, 10).result(timeout=60) == 10
        assert engine.submit(chain_by_map, 5).result(timeout=60) == 5


def test_a_recursion_takes_no_worker_for_each_call_that_waits():
    """Forty calls wait for others: the deepest come first, so that few do at a time."""
    with ls.Engine(workers=2) as engine:
        assert len(engine.submit(workers_of_tree, 4).result(60)) <= 20


@pytest.mark.parametrize("kind", ["ProcessPoolExecutor", "ThreadPoolExecutor"])
@pytest.mark.parametrize("workers", [1, 2])
def test_an_executor_in_each_call(executor_class, kind, workers):
    with executor_class(workers) as executor:
        assert executor.submit(tree_of, kind, 3, workers).result(timeout=60) == 8


@pytest.mark.parametrize("workers", [1, 2])
def test_threads_that_wait_for_their_own_pool(workers):
    """One that concurrent.futures cannot do."""
    with ls.ThreadPoolExecutor(workers) as executor:
        assert executor.submit(recurse_here, executor, 4).result(timeout=60) == 16


def test_threads_in_a_worker(processes):
    assert processes.submit(with_threads, 5).result(30) == ([5, 4, 3, 2, 1], True)
    assert processes.submit(with_stdlib_threads, 5).result(30) == [5, 4, 3, 2, 1]


def test_submitting_from_a_thread_of_a_worker(processes):
    def run() -> list[int]:
        with concurrent.futures.ThreadPoolExecutor(4) as executor:
            return list(executor.map(lambda n: ls.submit(pow, 2, n).result(), range(10)))

    assert processes.submit(run).result(30) == [2**n for n in range(10)]


@pytest.mark.parametrize(
    "run", [by_a_thread, wait_and_complete, with_callbacks, with_callbacks_after_a_look, by_an_event_loop]
)
def test_one_worker_is_enough_for_whoever_waits(run):
    with ls.Engine(workers=1) as engine:
        expected = 5 if run is by_a_thread else [2**n for n in range(5)]
        assert engine.submit(run, -5 if run is by_a_thread else 5).result(30) == expected


def test_an_initializer_that_waits_for_a_call():
    with ls.ProcessPoolExecutor(1, initializer=ask_for_one) as executor:
        assert executor.submit(initial).result(60) == [1]


@pytest.mark.parametrize("leave", [leave_a_callback, leave_a_thread])
def test_nested_calls_left_behind(leave):
    """Whichever thread of a worker reads an answer may read the next task as well; none is lost."""
    with ls.Engine(workers=2) as engine:
        for n in range(300):
            assert engine.submit(leave).result(30) is None
            assert engine.submit(abs, -n).result(30) == n


def test_wait_and_as_completed_in_a_worker(executor):
    assert executor.submit(wait_and_complete, 10).result(30) == [2**n for n in range(10)]


@pytest.mark.parametrize("run", [by_polling, by_polling_a_pool])
def test_polling_in_a_worker(run, processes):
    assert processes.submit(run, 10).result(60) == [2**n for n in range(10)]


def test_who_waits_for_cancelled_calls_in_a_worker(processes):
    for _ in range(20):
        assert processes.submit(cancel_and_wait, 4).result(60)


def test_callbacks_in_a_worker(executor):
    assert executor.submit(with_callbacks, 10).result(30) == [2**n for n in range(10)]


def test_dependencies_in_a_worker(executor):
    assert executor.submit(with_dependencies).result(30) == 10


def test_failures_in_a_worker(executor):
    assert executor.submit(failing_inside).result(30) == "invalid literal for int() with base 10: 'x'"


def test_shutdown_in_a_worker(executor):
    assert "cannot schedule new futures after shutdown" in executor.submit(after_shutdown_inside).result(30)


def test_more_waiting_calls_than_workers(processes):
    """Every worker waits for a nested call, twenty times over."""
    assert list(processes.map(chain, [3] * 20, timeout=60)) == [3] * 20


def test_nested_calls_run_in_the_workers_of_the_same_engine():
    def pids() -> set[int]:
        return {os.getpid(), *ls.map(lambda _: os.getpid(), range(4))}

    with ls.Engine(workers=2) as engine:
        assert os.getpid() not in engine.submit(pids).result(30)


def with_closures(count: int, size_bytes: int) -> int:
    """Call functions that hold so many bytes, each of them once."""
    total = 0
    for _ in range(count):
        held = bytes(size_bytes)
        total += ls.submit(lambda held=held: len(held)).result()
    return total


def test_definitions_of_a_worker_go_with_its_functions():
    count, size_bytes = 10, 2_000_000
    with ls.Engine(workers=2) as engine:
        assert engine.submit(with_closures, count, size_bytes).result(30) == count * size_bytes
        # The last one may live until the worker does something else.
        assert engine.submit(int).result(30) == 0
        assert engine._native.stats()["memory_bytes"] < 2 * size_bytes


class Overtaken:
    """A future that has ended; whoever asks it first is overtaken by another thread that submits."""

    def __init__(self, executor: ls.ProcessPoolExecutor, leave: FileEvent) -> None:
        self.executor = executor
        self.leave = leave
        self.futures: list[ls.Future[bool]] = []
        self.asked = False

    def done(self) -> bool:
        if not self.asked:
            self.asked = True
            thread = threading.Thread(target=lambda: self.futures.append(self.executor.submit(self.leave.wait)))
            thread.start()
            thread.join()
        return True


def test_what_threads_submit_to_one_executor_is_all_waited_for(processes, event):
    leave = event("leave")
    processes._nested = set()  # as in a worker
    processes._nested_kept = 1
    ended = [Overtaken(processes, leave) for _ in range(2)]
    processes._nested.update(ended)
    future = processes.submit(leave.wait)
    submitted = [future, *ended[0].futures, *ended[1].futures]
    leave.set()
    assert len(submitted) == 3
    assert processes._nested == set(submitted)
