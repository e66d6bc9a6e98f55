"""A callback that waits for the program keeps nobody waiting but for what its own executor ends after it."""

import concurrent.futures
import threading

import pytest
from tests.events import PATIENCE_S

import lineshaft as ls


@pytest.fixture
def stuck(executor_class, event):
    """Return an executor that is in a callback, which waits until the test is over, and has another worker."""
    begun, over = threading.Event(), threading.Event()
    called = []

    def block(future: "ls.Future[str]") -> None:
        begun.set()
        over.wait(PATIENCE_S)
        called.append(future)

    executor = executor_class(2)
    future = executor.submit(event("leave").wait)
    future.add_done_callback(block)
    event("leave").set()
    assert begun.wait(PATIENCE_S)
    yield executor
    # None of what the test did has waited for it.
    assert called == []
    over.set()
    executor.shutdown()
    assert called == [future]


def in_time(function, *args):
    """Return what a call returns; fail if it hangs."""
    returned = []
    thread = threading.Thread(target=lambda: returned.append(function(*args)), daemon=True)
    thread.start()
    thread.join(PATIENCE_S / 2)
    assert returned, "it hangs"
    return returned[0]


def run_another(executor_class):
    """Run an executor from its beginning to its end."""
    called = []
    with executor_class(2) as another:
        futures = [another.submit(pow, 2, number) for number in range(20)]
        for future in futures:
            future.add_done_callback(called.append)
        results = list(another.map(abs, range(-5, 0)))
    assert sorted(map(id, called)) == sorted(map(id, futures))
    return results


@pytest.mark.parametrize("another", [ls.ProcessPoolExecutor, ls.ThreadPoolExecutor])
def test_another_executor_does_all_its_work_and_ends(stuck, another):
    assert in_time(run_another, another) == [5, 4, 3, 2, 1]


def wait_for_one(executor, event):
    future = executor.submit(event("go").wait)
    event("go").set()
    return concurrent.futures.wait([future]).done == {future}


def take_as_completed(executor, event):
    future = executor.submit(event("go").wait)
    event("go").set()
    return list(concurrent.futures.as_completed([future])) == [future]


@pytest.mark.parametrize("executor_class", [ls.ThreadPoolExecutor])
@pytest.mark.parametrize("waits", [wait_for_one, take_as_completed])
def test_who_waits_for_the_same_threads_is_told(stuck, waits, event):
    """With processes it is as in `concurrent.futures`: nothing ends before the callback has."""
    assert in_time(waits, stuck, event)


@pytest.mark.parametrize("waits", [wait_for_one, take_as_completed])
def test_who_waits_for_another_executor_is_told(stuck, executor_class, waits, event):
    with executor_class(1) as another:
        assert in_time(waits, another, event)


def test_several_that_are_stuck(executor_class, event):
    """Each waits for a callback of the next executor: all are called at the same time."""
    count = 5
    together = threading.Barrier(count + 1)
    executors = [executor_class(1) for _ in range(count)]
    for executor in executors:
        executor.submit(event("leave").wait).add_done_callback(lambda _: together.wait(PATIENCE_S))
    event("leave").set()
    together.wait(PATIENCE_S)
    for executor in executors:
        executor.shutdown()


def test_a_callback_may_end_another_executor(executor_class, event):
    ended = threading.Event()

    def end_another(_: object) -> None:
        if run_another(executor_class) == [5, 4, 3, 2, 1]:
            ended.set()

    with executor_class(1) as executor:
        executor.submit(event("leave").wait).add_done_callback(end_another)
        event("leave").set()
    assert ended.is_set()


def test_shutdown_waits_for_the_callbacks_of_its_own(executor_class):
    """Also for those that are about to be queued."""
    for _ in range(100):
        called = []
        with executor_class(2) as executor:
            for number in range(4):
                executor.submit(pow, 2, number).add_done_callback(called.append)
        assert len(called) == 4


def test_callbacks_of_several_threads_may_wait_for_each_other():
    """As in `concurrent.futures`, each is called on behalf of the thread that ran its call."""
    count = 5
    together = threading.Barrier(count)
    met = []

    def meet(_: object) -> None:
        together.wait(PATIENCE_S)
        met.append(True)

    with ls.ThreadPoolExecutor(count) as executor:
        begun = threading.Barrier(count)
        for _ in range(count):
            executor.submit(begun.wait).add_done_callback(meet)
    assert met == [True] * count


def test_a_callback_that_waits_holds_up_no_callback_of_another_thread():
    """Not for a moment each: in a chain of many it would be long."""
    count = 60
    over, last = threading.Event(), threading.Event()
    with ls.ThreadPoolExecutor(count) as executor:

        def go_on(left: int) -> None:
            if left:
                submit(left - 1)
                over.wait(PATIENCE_S)
            else:
                last.set()

        def submit(left: int) -> None:
            begin = threading.Event()
            executor.submit(begin.wait).add_done_callback(lambda _: go_on(left))
            begin.set()

        submit(count - 1)
        assert last.wait(PATIENCE_S)
        over.set()


@pytest.mark.parametrize(("kind", "workers"), [(ls.ProcessPoolExecutor, 2), (ls.ThreadPoolExecutor, 1)])
def test_one_at_a_time(kind, workers, event):
    """Callbacks of calls that ran in processes, or on one thread, may count without a lock."""
    executor = kind(workers)
    count, inside, most, order = 200, 0, 0, []
    ended = threading.Event()

    def count_up(future: "ls.Future[bool]") -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        order.append(future)
        inside -= 1
        if len(order) == count:
            ended.set()

    futures = [executor.submit(event("leave").wait) for _ in range(2)]
    futures += [executor.submit(abs, number) for number in range(count - 2)]
    for future in futures:
        future.add_done_callback(count_up)
    event("leave").set()
    assert ended.wait(PATIENCE_S)
    assert most == 1
    assert sorted(map(id, order)) == sorted(map(id, futures))
    executor.shutdown()
