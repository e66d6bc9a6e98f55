"""Shutdown: what was submitted runs, nothing new is taken, and the workers go."""

import gc
import threading
import weakref

import psutil
import pytest
from tests.events import FileEvent, enter_and_wait, eventually

import lineshaft as ls
from lineshaft._exit import calls_to_finish


def live_processes() -> int:
    def is_alive(process: psutil.Process) -> bool:
        try:
            return process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    return sum(is_alive(child) for child in psutil.Process().children(recursive=True))


def test_nothing_new_is_taken(executor_class):
    executor = executor_class(1)
    assert executor.submit(pow, 2, 2).result() == 4
    executor.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(pow, 2, 2)
    with pytest.raises(RuntimeError, match="cannot schedule new futures"):
        executor.map(abs, [1])


def test_twice(executor_class):
    executor = executor_class(1)
    executor.shutdown()
    executor.shutdown(wait=False)
    executor.shutdown(cancel_futures=True)


def test_waits_by_default(executor_class, event):
    executor, leave = executor_class(1), event("leave")
    futures = [executor.submit(leave.wait), executor.submit(pow, 2, 2)]
    closing = threading.Thread(target=executor.shutdown)
    closing.start()
    leave.set()
    closing.join(30)
    assert not closing.is_alive()
    assert [future.done() for future in futures] == [True, True]
    assert futures[1].result(timeout=0) == 4


def test_need_not_wait(executor_class, event):
    executor, leave = executor_class(1), event("leave")
    futures = [executor.submit(leave.wait), executor.submit(pow, 2, 2)]
    executor.shutdown(wait=False)
    assert not futures[0].done()
    leave.set()
    assert [future.result(30) for future in futures] == [True, 4]


def test_may_cancel_what_has_not_begun(executor_class, event):
    entered, leave = event("entered"), event("leave")
    executor = executor_class(1)
    running = executor.submit(enter_and_wait, entered, leave)
    entered.wait()
    waiting = [executor.submit(pow, 2, n) for n in range(20)]
    executor.shutdown(wait=False, cancel_futures=True)
    assert [future.cancelled() for future in waiting] == [True] * 20
    assert not running.cancelled()
    leave.set()
    assert running.result(30) == "left"


def nest_when_told(entered: FileEvent, leave: FileEvent) -> list[int]:
    """Make calls in the pool that this call runs in, later."""
    entered.set()
    leave.wait()
    return [ls.submit(pow, 2, 3).result(), *ls.map(abs, [-1, -2])]


@pytest.mark.parametrize("cancel", [False, True], ids=["", "cancelling others"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_call_that_runs_makes_calls_after_shutdown(event, workers, cancel):
    entered, leave = event("entered"), event("leave")
    executor = ls.ProcessPoolExecutor(workers)
    future = executor.submit(nest_when_told, entered, leave)
    entered.wait()
    executor.shutdown(wait=False, cancel_futures=cancel)
    leave.set()
    assert future.result(60) == [8, 1, 2]


def test_calls_that_begin_after_shutdown_make_calls_as_well(event):
    """The second one has no worker before the first has ended."""
    entered, leave = event("entered"), event("leave")
    with ls.ProcessPoolExecutor(1) as executor:
        futures = [executor.submit(nest_when_told, entered, leave) for _ in range(2)]
        entered.wait()
        executor.shutdown(wait=False)
        leave.set()
    assert [future.result(timeout=0) for future in futures] == [[8, 1, 2]] * 2


def test_an_executor_that_is_forgotten_takes_what_its_calls_need(event):
    entered, leave = event("entered"), event("leave")
    future = ls.ProcessPoolExecutor(1).submit(nest_when_told, entered, leave)
    entered.wait()
    gc.collect()
    leave.set()
    assert future.result(60) == [8, 1, 2]


def test_a_with_block_waits(executor_class, event):
    leave = event("leave")
    with executor_class(2) as executor:
        future = executor.submit(leave.wait)
        leave.set()
    assert future.done()
    with pytest.raises(RuntimeError, match="cannot schedule"):
        executor.submit(pow, 2, 2)


def test_a_with_block_that_raises_waits_too(executor_class, event):
    leave = event("leave")

    def fail_inside() -> None:
        with executor_class(1) as executor:
            futures.append(executor.submit(leave.wait))
            futures.append(executor.submit(pow, 2, 2))
            leave.set()
            raise LookupError("inside")

    futures: list[ls.Future[object]] = []
    with pytest.raises(LookupError, match="inside"):
        fail_inside()
    assert [future.result(timeout=0) for future in futures] == [True, 4]


def test_an_executor_that_is_forgotten_ends_its_work_and_goes(executor_class, event):
    leave = event("leave")
    before = live_processes()
    executor = executor_class(2)
    futures = [executor.submit(leave.wait), executor.submit(pow, 2, 2)]
    results = executor.map(abs, [-1, -2])
    gone = weakref.ref(executor)
    del executor
    gc.collect()
    assert gone() is None
    leave.set()
    assert [future.result(30) for future in futures] == [True, 4]
    assert list(results) == [1, 2]
    # At most the process that workers are forked from is new.
    eventually(lambda: live_processes() <= before + 1, "its workers are still there")


def test_closing_frees_the_workers(event):
    ls.submit(pow, 2, 2).result()  # the default engine has its own workers by now
    with ls.ProcessPoolExecutor(3) as executor:
        entered = [event(f"entered-{n}") for n in range(3)]
        futures = [executor.submit(enter_and_wait, each, event("leave")) for each in entered]
        for each in entered:
            each.wait()
        during = live_processes()
        event("leave").set()
        for future in futures:
            future.result()
    eventually(lambda: live_processes() <= during - 3, "workers are still there")


def test_a_thousand_executors_leave_nothing():
    threads_before = threading.active_count()
    for _ in range(100):
        with ls.ThreadPoolExecutor(2) as executor:
            assert executor.submit(pow, 2, 2).result() == 4
    process = psutil.Process()
    eventually(lambda: process.num_threads() < threads_before + 50, "threads are still there")


def test_executors_that_are_shut_down_at_the_same_time_are_all_waited_for():
    """Nobody waits for their calls but the interpreter, before it ends."""
    leave, together = threading.Event(), threading.Barrier(32)
    with ls.Engine(workers=2) as engine:
        executors = [ls.ThreadPoolExecutor(1, _engine=engine) for _ in range(together.parties)]
        futures = [each.submit(leave.wait) for each in executors]

        def shut_down(executor: ls.ThreadPoolExecutor) -> None:
            together.wait()
            executor.shutdown(wait=False)

        threads = [threading.Thread(target=shut_down, args=(each,)) for each in executors]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        executors.clear()  # the engine alone knows of their calls now
        waited_for = {pool for pool in calls_to_finish(engine) if not pool.wait_idle(0)}
        leave.set()
        assert len(waited_for) == together.parties
        assert all(future.result(30) for future in futures)


def test_shutdown_from_a_callback(executor_class, event):
    leave, closed = event("leave"), threading.Event()
    executor = executor_class(1)
    future = executor.submit(leave.wait)

    def close(_: "ls.Future[bool]") -> None:
        executor.shutdown(wait=False)
        closed.set()

    future.add_done_callback(close)
    leave.set()
    assert closed.wait(30)
    with pytest.raises(RuntimeError, match="cannot schedule"):
        executor.submit(pow, 2, 2)


def test_terminate_workers_ends_what_runs(event):
    executor, entered = ls.ProcessPoolExecutor(1), event("entered")
    future = executor.submit(enter_and_wait, entered, FileEvent(entered.path.with_name("never")))
    entered.wait()
    executor.terminate_workers()
    with pytest.raises(BaseException):  # noqa: B017, PT011 - cancelled or died, but ended
        future.result(timeout=30)


def test_ctrl_c_interrupts_the_calls_of_the_executor_that_is_given_up(processes, event):
    began, may_end = event("began"), event("may end")
    kept = processes.submit(enter_and_wait, began, may_end)
    began.wait()
    also_began, never = event("also began"), event("never")

    def give_up():
        with ls.ProcessPoolExecutor(1) as executor:
            executor.submit(enter_and_wait, also_began, never)
            also_began.wait()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        give_up()
    may_end.set()
    assert kept.result(30) == "left"


def test_ctrl_c_interrupts_the_calls_that_threads_wait_for_and_no_others(event):
    began, never = event("began"), event("never")
    leave = threading.Event()

    def wait_for_a_call() -> object:
        return engine.submit(enter_and_wait, began, never).result()

    def give_up() -> None:
        with ls.ThreadPoolExecutor(1, _engine=engine) as threads:
            futures.extend([threads.submit(wait_for_a_call), threads.submit(abs, -1)])
            began.wait()
            raise KeyboardInterrupt

    futures: list[ls.Future[object]] = []
    with ls.Engine(workers=2) as engine, ls.ThreadPoolExecutor(1, _engine=engine) as others:
        kept = [others.submit(leave.wait), others.submit(abs, -1)]
        with pytest.raises(KeyboardInterrupt):
            give_up()
        leave.set()
        assert isinstance(futures[0].exception(timeout=0), KeyboardInterrupt)
        assert futures[1].cancelled()
        assert [future.result(30) for future in kept] == [True, 1]
        assert engine.submit(abs, -1).result(30) == 1


def test_ctrl_c_that_finds_no_call_on_threads_interrupts_none(event):
    began, may_end = event("began"), event("may end")

    def give_up() -> None:
        with ls.ThreadPoolExecutor(1, _engine=engine) as threads:
            assert threads.submit(abs, -1).result() == 1
            threads._pool.wait_idle()
            raise KeyboardInterrupt

    with ls.Engine(workers=1) as engine:
        kept = engine.submit(enter_and_wait, began, may_end)
        began.wait()
        with pytest.raises(KeyboardInterrupt):
            give_up()
        may_end.set()
        assert kept.result(30) == "left"


def test_an_executor_that_is_ended_while_its_first_call_is_submitted_opens_no_pool():
    executor = ls.ProcessPoolExecutor(1)
    open_pool, opened = executor._open, []

    def open_late():
        executor.shutdown()  # another thread's, which finds nothing to close
        opened.append(open_pool())

    executor._open = open_late
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(abs, -1)
    assert opened == []


class Ending:
    """Whoever pickles it ends the executor: what another thread may do at that moment."""

    def __init__(self, executor: ls.ProcessPoolExecutor) -> None:
        self.executor = executor

    def __reduce__(self) -> tuple[object, ...]:
        self.executor.shutdown(wait=False)
        return int, ()


def submit_to_one_that_is_ended() -> str:
    executor = ls.ProcessPoolExecutor(1)
    assert executor.submit(abs, -1).result() == 1
    try:
        executor.submit(abs, Ending(executor))
    except RuntimeError as error:
        return str(error)
    return "taken"


@pytest.mark.parametrize("where", ["here", "in a worker"])
def test_a_call_that_is_submitted_to_an_executor_just_being_ended_is_refused(processes, where):
    if where == "here":
        said = submit_to_one_that_is_ended()
    else:
        said = processes.submit(submit_to_one_that_is_ended).result(30)
    assert said.startswith("cannot schedule new futures after shutdown")
