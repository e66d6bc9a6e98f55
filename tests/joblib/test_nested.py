"""Parallel in Parallel: one budget of cores, no deadlock, and no core idle while there is work."""

import hashlib
import importlib
import itertools
import os
import statistics
import threading
from pathlib import Path

import pytest
from tests.events import FileEvent, eventually
from tests.joblib.calls import append, inner, inner_pair, inner_sum, meet, meet_asleep
from tests.joblib.computing import count_computing

import lineshaft as ls
from joblib import Parallel, delayed, parallel_config
from lineshaft._process import is_worker
from lineshaft.joblib import inside, joining
from lineshaft.joblib.backend import LineshaftBackend, LineshaftThreadingBackend


def is_running(pid):
    """Whether a thread of the process computes or could."""
    states = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            states.append((task / "stat").read_text().rsplit(") ", 1)[1][0])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return states.count("R")


@pytest.mark.parametrize("backend", [LineshaftBackend, LineshaftThreadingBackend])
@pytest.mark.parametrize("n_jobs", [2, 5, -1])
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_levels(depth, n_jobs, backend):
    with parallel_config(backend(), n_jobs=n_jobs):
        assert inner_sum(depth, n_jobs) == 3**depth


@pytest.mark.parametrize("return_as", ["list", "generator", "generator_unordered"])
def test_inner_results_come_in_each_way(return_as):
    calls = [delayed(list_of_inner)(return_as) for _ in range(3)]
    assert Parallel(2, "lineshaft")(calls) == [[x * x for x in range(20)]] * 3


def list_of_inner(return_as):
    return sorted(inner(2, 20, return_as=return_as))


def test_inner_calls_use_the_core_that_is_idle(tmp_path):
    # One outer call: the other core is idle, so both inner ones run at the same time.
    assert Parallel(2, "lineshaft")([delayed(inner_pair)(tmp_path, ["a", "b"])]) == [[True, True]]
    pids = Parallel(2, "lineshaft")([delayed(inner_where)(tmp_path)])[0]
    assert len(set(pids)) == 2


SLOW_TO_IMPORT = """
import os, pathlib
from tests.events import FileEvent

FOLDER = pathlib.Path(__file__).parent
importing = FileEvent(FOLDER / "importing")
if (FOLDER / "outer").read_text() != str(os.getpid()):
    importing.set()
    FileEvent(FOLDER / "leave").wait()

def where():
    importing.wait()
    return os.getpid()
"""


def test_inner_calls_do_not_wait_for_a_process_that_has_yet_to_import_what_they_need(tmp_path, monkeypatch, engine):
    (tmp_path / "slow_to_import.py").write_text(SLOW_TO_IMPORT)
    monkeypatch.syspath_prepend(tmp_path)
    outer, pids = Parallel(2, "lineshaft")([delayed(inner_slow_to_import)(tmp_path)])[0]
    FileEvent(tmp_path / "leave").set()
    assert pids == [outer] * 4


def inner_slow_to_import(folder):
    (folder / "outer").write_text(str(os.getpid()))
    where = importlib.import_module("slow_to_import").where
    return os.getpid(), Parallel(n_jobs=2)(delayed(where)() for _ in range(4))


def inner_where(folder):
    return Parallel(n_jobs=2)(delayed(meet_and_tell)(folder, name) for name in ("c", "d"))


def meet_and_tell(folder, name):
    assert meet(folder, name, ["c", "d"])
    return os.getpid()


def test_under_threads_inner_calls_use_the_idle_core(tmp_path):
    with parallel_config(LineshaftThreadingBackend(), n_jobs=2):
        assert Parallel()([delayed(inner_pair)(tmp_path, ["a", "b"])]) == [[True, True]]


def test_below_a_thread_of_the_program(tmp_path):
    found = []

    def work(n):
        with parallel_config("lineshaft", n_jobs=2):
            found.append(inner_sum(2, 2))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [9] * 3


def in_a_thread():
    """Call Parallel on a thread of the task's own, which does not inherit the active backend."""
    found = []
    thread = threading.Thread(target=lambda: found.append(Parallel(n_jobs=2)(delayed(is_worker)() for _ in range(20))))
    thread.start()
    thread.join()
    return found[0]


def test_on_a_thread_that_a_task_starts(engine):
    # Another backend would have processes of its own, which know no engine.
    assert Parallel(2, "lineshaft")(delayed(in_a_thread)() for _ in range(2)) == [[True] * 20] * 2


def test_across_front_ends():
    assert ls.submit(inner_sum_of_lineshaft, 3).result() == 27
    with ls.ProcessPoolExecutor(2) as executor:
        assert list(executor.map(inner_sum_of_lineshaft, [1, 2, 3])) == [3, 9, 27]
    outer = Parallel(2, "lineshaft")(delayed(sum_by_map)(n) for n in range(4))
    assert outer == [0, 1, 5, 14]


def inner_sum_of_lineshaft(depth):
    with parallel_config("lineshaft"):
        return inner_sum(depth, 2)


def sum_by_map(n):
    return sum(ls.map(pow, range(n + 1), [2] * (n + 1)))


def spin_until(event):
    while not event.is_set():
        sum(range(2000))
    return os.getpid()


def spin_at_every_level(event, depth):
    if depth:
        return Parallel(n_jobs=4)(delayed(spin_at_every_level)(event, depth - 1) for _ in range(4))
    return spin_until(event)


def test_never_more_runnable_threads_than_cores(event, engine):
    stop = event("stop")
    results = Parallel(2, "lineshaft", "generator")(delayed(spin_at_every_level)(stop, 2) for _ in range(2))
    computing = count_computing(engine)
    stop.set()
    assert len(list(results)) == 2
    assert computing == 2


def shared_inside(n):
    found = []
    Parallel(n_jobs=2, require="sharedmem")(delayed(append)(found, x) for x in range(n))
    return sorted(found)


def test_shared_memory_inside_a_worker():
    assert Parallel(2, "lineshaft")(delayed(shared_inside)(n) for n in range(4)) == [list(range(n)) for n in range(4)]


def hash_until(event, begun):
    (begun / f"{os.getpid()}").touch()
    while not event.is_set():
        hashlib.sha256(bytes(1 << 22))  # without the interpreter's lock


def hash_on_threads(stop, begun):
    Parallel(n_jobs=4, require="sharedmem")(delayed(hash_until)(stop, begun) for _ in range(4))


def test_threads_inside_workers_are_within_the_budget(event, engine, tmp_path):
    stop, begun = event("stop"), tmp_path / "begun"
    begun.mkdir()
    results = Parallel(2, "lineshaft", "generator")(delayed(hash_on_threads)(stop, begun) for _ in range(2))
    eventually(lambda: len(list(begun.iterdir())) == 2, "both workers compute")
    stats = engine._native.stats
    # A thread that reads what the engine says runs for a moment, too.
    usual = statistics.median(sum(is_running(pid) for _, pid in stats()["workers"]) for _ in range(1000))
    stop.set()
    assert len(list(results)) == 2
    assert usual == 2


def meet_on_threads(folder):
    return Parallel(n_jobs=2, require="sharedmem")(delayed(meet)(folder, name, ["a", "b"], 20) for name in "ab")


def test_threads_inside_a_worker_use_the_idle_core(tmp_path):
    assert Parallel(2, "lineshaft")([delayed(meet_on_threads)(tmp_path)]) == [[True, True]]


def fail_inside(n):
    return Parallel(n_jobs=2)(delayed(divmod)(1, x - n) for x in range(10))


def test_errors_of_inner_calls():
    for n in range(5):
        with pytest.raises(ZeroDivisionError):
            Parallel(2, "lineshaft")(delayed(fail_inside)(n) for _ in range(3))


def without_limit():
    return Parallel()(delayed(without_limit)() for _ in range(2))


def test_endless_nesting_ends_in_an_error():
    with parallel_config("lineshaft", n_jobs=2), pytest.raises(RecursionError):
        without_limit()


def fail_after(event):
    event.wait()
    raise ValueError("beside it")


def tell_and_wait(path, told, never):
    path.write_text(str(os.getpid()))
    told.set()
    never.wait()


def fail_or_wait(caller, path, told, never):
    # Either call may be the one that is given away. Who sleeps would be stood in for by a thread of its process.
    if os.getpid() != caller:
        tell_and_wait(path, told, never)
    spin_until(told)
    raise ValueError("beside it")


def inner_failure(path, told, never):
    Parallel(n_jobs=2)(delayed(fail_or_wait)(os.getpid(), path, told, never) for _ in range(2))


def inner_wait(path, told, never):
    Parallel(n_jobs=2)([delayed(spin_until)(never), delayed(tell_and_wait)(path, told, never)])


def wait_for_the_end_of(path):
    pid = int(path.read_text())
    eventually(lambda: not Path(f"/proc/{pid}").exists(), "the process of the helper has ended")


def test_an_inner_error_ends_what_runs_beside_it(tmp_path, event):
    with pytest.raises(ValueError, match="beside it"):
        Parallel(2, "lineshaft")([delayed(inner_failure)(tmp_path / "pid", event("told"), event("never"))])
    wait_for_the_end_of(tmp_path / "pid")


def test_an_outer_error_ends_inner_calls(tmp_path, event):
    told = event("told")
    with pytest.raises(ValueError, match="beside it"):
        Parallel(3, "lineshaft")(
            [delayed(inner_wait)(tmp_path / "pid", told, event("never")), delayed(fail_after)(told)]
        )
    wait_for_the_end_of(tmp_path / "pid")


def below_a_thread_of_its_own(backend):
    """Call Parallel on a thread that nobody knows to be the task's, and wait for it."""
    found = []
    thread = threading.Thread(target=lambda: found.append(Parallel(2, backend)(delayed(abs)(-x) for x in range(3))))
    thread.start()
    thread.join()
    return found


@pytest.mark.parametrize("inner_backend", [LineshaftBackend, LineshaftThreadingBackend])
def test_threads_whose_tasks_wait_for_a_call_on_another_thread_do_not_lock_it_out(inner_backend):
    calls = [delayed(below_a_thread_of_its_own)(inner_backend()) for _ in range(4)]
    assert Parallel(2, LineshaftThreadingBackend())(calls) == [[[0, 1, 2]]] * 4


def wait_for_each_other(options):
    event = threading.Event()
    return Parallel(n_jobs=2, **options)([delayed(event.wait)(20), delayed(event.set)()])


@pytest.mark.parametrize("options", [{"backend": "threading"}, {"require": "sharedmem"}, {"prefer": "threads"}])
def test_threads_inside_workers_wait_for_each_other_while_no_core_is_idle(options):
    assert Parallel(2, "lineshaft")(delayed(wait_for_each_other)(options) for _ in range(4)) == [[True, None]] * 4


def test_threads_inside_the_processes_of_an_executor_wait_for_each_other():
    with ls.ProcessPoolExecutor(2) as executor:
        assert list(executor.map(wait_for_each_other, [{"require": "sharedmem"}] * 4)) == [[True, None]] * 4


def test_threads_below_threads_all_wait_for_each_other():
    barrier = threading.Barrier(12)

    def outer():
        return len(Parallel(n_jobs=3)(delayed(barrier.wait)(20) for _ in range(3)))

    assert Parallel(4, LineshaftThreadingBackend())(delayed(outer)() for _ in range(4)) == [3] * 4


def inner_meeting(folder, name):
    names = [f"{name}{n}" for n in range(5)]
    return Parallel(n_jobs=5)(delayed(meet_asleep)(folder, each, names, 20) for each in names)


def test_calls_that_sleep_leave_their_core_to_others_of_theirs(tmp_path):
    assert Parallel(2, "lineshaft")(delayed(inner_meeting)(tmp_path, name) for name in "ab") == [[True] * 5] * 2


def most_at_once(n_jobs, options):
    lock, inside, most = threading.Lock(), 0, 0

    def sleep():
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        threading.Event().wait(0.05)
        with lock:
            inside -= 1

    Parallel(n_jobs=n_jobs, **options)(delayed(sleep)() for _ in range(12))
    return most


def test_calls_that_sleep_are_as_many_at_a_time_as_there_are_jobs():
    inner_options = {"require": "sharedmem"}
    assert all(
        most <= 3 for most in Parallel(2, "lineshaft")(delayed(most_at_once)(3, inner_options) for _ in range(2))
    )
    outer = Parallel(2, LineshaftThreadingBackend())
    assert all(most <= 3 for most in outer(delayed(most_at_once)(3, inner_options) for _ in range(20)))


def fail_beside(event):
    event.set()
    raise ValueError("beside it")


def inner_failure_on_threads():
    event = threading.Event()
    Parallel(n_jobs=2, require="sharedmem")([delayed(event.wait)(20), delayed(fail_beside)(event)])


def test_errors_of_threads_that_stand_in():
    with pytest.raises(ValueError, match="beside it"):
        Parallel(2, "lineshaft")(delayed(inner_failure_on_threads)() for _ in range(2))


def test_what_ends_while_the_caller_looks_is_seen(monkeypatch):
    """A batch ends just after the caller has seen that it has not: that is news all the same."""
    caller, looks, waited_for_nothing = [], itertools.count(), []
    began, looked, counted = threading.Event(), threading.Event(), threading.Event()

    class LookedAt(joining.Batch):
        @property
        def is_done(self):
            if self._is_done.is_set() or threading.get_ident() not in caller:
                return self._is_done.is_set()
            if began.is_set() and next(looks):  # the first look is the backend's
                looked.set()
                counted.wait(1)  # as if the interpreter had let another thread run here
            return False

        @is_done.setter
        def is_done(self, value):
            if value:
                self._is_done.set()
            else:
                self._is_done = threading.Event()

    def other():
        counted.clear()
        began.set()
        return looked.wait(20)

    def count_news(run):
        inside.Inside._count_news(run)
        counted.set()

    def wait_for_news(run, news_count, deadline_s):
        waited_for_nothing.append(counted.is_set() and run._news_count == news_count)
        inside.Inside._wait_for_news(run, news_count, deadline_s)

    def outer():
        caller.append(threading.get_ident())
        return Parallel(2, LineshaftThreadingBackend())([delayed(began.wait)(20), delayed(other)()])

    monkeypatch.setattr(joining, "Batch", LookedAt)
    monkeypatch.setattr(joining.Joining, "_count_news", count_news)
    monkeypatch.setattr(joining.Joining, "_wait_for_news", wait_for_news)
    with ls.ThreadPoolExecutor(1) as executor:
        assert executor.submit(outer).result() == [True, True]
    assert not any(waited_for_nothing)


def fail_while_another_is_away(folder):
    away, standing, told, gave_up = (FileEvent(folder / name) for name in ("away", "standing", "told", "gave up"))
    caller = os.getpid()

    def call(is_first):
        if os.getpid() != caller:
            away.set()
            eventually(lambda: told.is_set() or gave_up.is_set(), "it is told")
        elif is_first:
            while not away.is_set():
                sum(range(2000))
            standing.wait()
        else:
            standing.set()
            eventually(lambda: inside._waiting, "the caller waits")
            raise ValueError("of a thread that stands in")

    patience = threading.Timer(20, gave_up.set)
    patience.start()
    try:
        Parallel(n_jobs=3, batch_size=1)(delayed(call)(number == 0) for number in range(3))
    except ValueError as error:
        told.set()
        return str(error), gave_up.is_set()
    finally:
        patience.cancel()


def test_errors_of_threads_that_stand_in_come_while_other_batches_are_away(tmp_path):
    outer = Parallel(2, "lineshaft")([delayed(fail_while_another_is_away)(tmp_path)])
    assert outer == [("of a thread that stands in", False)]
