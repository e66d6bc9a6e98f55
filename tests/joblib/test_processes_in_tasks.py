"""Where joblib's own call would have processes, batches run in some, also inside tasks: with copies of what is given.

Inside a batch, a call that names no backend is the exception: joblib runs it on threads.
"""

import multiprocessing
import os
import signal
import threading

import pytest
from joblib.externals.loky.process_executor import TerminatedWorkerError
from tests.joblib.calls import append, die, meet_asleep, square
from tests.joblib.computing import count_computing
from tests.joblib.test_nested import spin_until
from tests.joblib.test_run import run

import lineshaft as ls
from joblib import Parallel, delayed

CALLS = 6


def grow():
    """Have each of some calls grow the same list; return the results, the list, and who ran them."""
    found = []
    grown = Parallel(2, "lineshaft", batch_size=1)(delayed(append)(found, n) for n in range(CALLS))
    pids = Parallel(2, "lineshaft", batch_size=1)(delayed(os.getpid)() for _ in range(CALLS))
    return grown, found, os.getpid() in pids


def in_a_task():
    return [ls.submit(grow).result()]


def on_a_thread():
    with ls.ThreadPoolExecutor(2) as executor:
        return [future.result() for future in [executor.submit(grow) for _ in range(4)]]


def in_a_batch():
    return Parallel(2, "lineshaft")(delayed(grow)() for _ in range(4))


def in_a_batch_on_a_thread():
    return Parallel(2, "lineshaft", require="sharedmem")(delayed(grow)() for _ in range(4))


@pytest.mark.parametrize("made", [in_a_task, on_a_thread, in_a_batch, in_a_batch_on_a_thread])
def test_what_calls_change_is_their_own(made):
    for grown, found, _ in made():
        assert grown == list(range(CALLS))
        assert found == []


def test_a_thread_runs_none_of_its_batches():
    assert not any(runs_some for _, _, runs_some in on_a_thread())


def deadly(how):
    with pytest.raises(ls.errors.WorkerDied):
        Parallel(2, "lineshaft", batch_size=1)([delayed(die)(how), delayed(square)(2)])
    return os.getpid()


def test_a_deadly_batch_ends_no_caller(engine):
    with ls.ThreadPoolExecutor(1) as executor:
        assert executor.submit(deadly, signal.SIGSEGV).result() == os.getpid()
    # Had it been the caller's process, the call would have run once more, or failed.
    assert ls.submit(deadly, signal.SIGSEGV).result() not in (None, os.getpid())


def sum_below(depth):
    if depth == 0:
        return 1
    return sum(Parallel(3, "lineshaft", batch_size=1)(delayed(sum_below)(depth - 1) for _ in range(3)))


def test_levels_that_all_wait():
    assert Parallel(4, "lineshaft", batch_size=1)(delayed(sum_below)(2) for _ in range(4)) == [9] * 4
    with ls.ThreadPoolExecutor(4) as executor:
        assert list(executor.map(sum_below, [2] * 4)) == [9] * 4
    with ls.ProcessPoolExecutor(2) as executor:
        assert list(executor.map(sum_below, [2] * 4)) == [9] * 4


@pytest.mark.parametrize("return_as", ["list", "generator", "generator_unordered"])
def test_results_come_in_each_way(return_as):
    def squares():
        return sorted(Parallel(2, "lineshaft", return_as=return_as)(delayed(square)(n) for n in range(20)))

    assert Parallel(2, "lineshaft")(delayed(squares)() for _ in range(4)) == [[n * n for n in range(20)]] * 4


def spin_below(event, depth):
    if depth:
        return Parallel(4, "lineshaft", batch_size=1)(delayed(spin_below)(event, depth - 1) for _ in range(4))
    return spin_until(event)


def test_never_more_runnable_threads_than_cores(event, engine):
    stop = event("stop")
    results = Parallel(2, "lineshaft", "generator")(delayed(spin_below)(stop, 1) for _ in range(2))
    computing = count_computing(engine)
    stop.set()
    assert len(list(results)) == 2
    assert computing == 2


def test_nor_in_tasks_of_an_executor(event, engine):
    stop = event("stop")
    with ls.ProcessPoolExecutor(2, _engine=engine) as processes, ls.ThreadPoolExecutor(2, _engine=engine) as threads:
        for executor in (processes, threads):
            calls = [executor.submit(spin_below, stop, 1) for _ in range(2)]
            computing = count_computing(engine)
            stop.set()
            assert [len(call.result()) for call in calls] == [4, 4]
            assert computing == 2
            stop.path.unlink()


UNMODIFIED = """
import asyncio, os
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from joblib import Parallel, delayed

class Mean:
    def fit(self, values):
        self.mean = sum(values) / len(values)
        return self

def means(_=None):
    estimator = Mean()
    fitted = Parallel(n_jobs=2)(delayed(estimator.fit)([n, n + 2]) for n in range(6))
    return [each.mean for each in fitted]

def end(n):
    if n == 3:
        os._exit(5)

def is_ended():
    try:
        Parallel(n_jobs=2, batch_size=1)(delayed(end)(n) for n in range(6))
    except Exception as error:
        return [base.__name__ for base in type(error).__mro__ if base.__name__ == "TerminatedWorkerError"]

if __name__ == "__main__":
    expected = [1, 2, 3, 4, 5, 6]
    for pool in (ThreadPoolExecutor(2), ProcessPoolExecutor(2)):
        with pool:
            print(list(pool.map(means, range(2))) == [expected] * 2)
    with ThreadPool(2) as pool:
        print(pool.map(means, range(2)) == [expected] * 2)
    print(asyncio.run(asyncio.to_thread(means)) == expected)
    with ThreadPoolExecutor(1) as pool:
        print(*pool.submit(is_ended).result())
"""


def test_unmodified_programs_whose_pools_call_it(tmp_path):
    done = run(UNMODIFIED, tmp_path)
    assert done.stdout.split() == ["True"] * 4 + ["TerminatedWorkerError"], done.stderr


def met(folder):
    """Have more calls wait for each other than the task's own pool has workers."""
    names = ["a", "b", "c"]
    return Parallel(3, "lineshaft", batch_size=1)(delayed(meet_asleep)(folder, name, names) for name in names)


def test_there_are_as_many_processes_as_jobs(tmp_path):
    with ls.ProcessPoolExecutor(1) as executor:
        assert executor.submit(met, tmp_path).result() == [True] * 3


def connect(url):
    globals()["connected_to"] = url


def query(_):
    return connected_to  # noqa: F821 - the initializer has set it


def connected(url):
    options = {"initializer": connect, "initargs": (url,)}
    return Parallel(2, "lineshaft", **options)(delayed(query)(n) for n in range(4))


def test_workers_are_initialized():
    with ls.ProcessPoolExecutor(1) as executor:
        assert executor.submit(connected, "one").result() == ["one"] * 4
    assert Parallel(2, "lineshaft")(delayed(connected)(url) for url in ("one", "two")) == [["one"] * 4, ["two"] * 4]


def time_out(event, options):
    with pytest.raises((TimeoutError, multiprocessing.TimeoutError)):
        Parallel(2, timeout=0.2, **options)(delayed(event.wait)() for _ in range(2))
    return True


@pytest.mark.parametrize("options", [{}, {"prefer": "threads"}])
def test_what_takes_too_long_is_not_waited_for(event, options):
    calls = [delayed(time_out)(event("never"), options) for _ in range(2)]
    assert Parallel(2, "lineshaft")(calls) == [True] * 2


def lose_a_worker():
    Parallel(2, "lineshaft", batch_size=1)(delayed(os._exit)(5) for _ in range(2))


def test_the_death_of_a_worker_is_caught_as_what_it_is():
    with pytest.raises(ls.errors.WorkerDied) as caught:
        ls.submit(lose_a_worker).result()
    assert isinstance(caught.value, TerminatedWorkerError)
    assert caught.value.exit_code == 5


class Locked:
    def __init__(self):
        self.lock = threading.Lock()

    def get(self):
        return self.lock


def test_what_of_a_method_cannot_be_sent_is_named():
    with pytest.raises(ls.errors.SerializationError, match=r"Locked\.get\.__self__\.lock is a _thread\.lock"):
        Parallel(2, "lineshaft")(delayed(Locked().get)() for _ in range(2))


FORKED = """
from concurrent.futures import ProcessPoolExecutor
from joblib import Parallel, delayed
import numpy, threadpoolctl

def threads():
    return {each["num_threads"] for each in threadpoolctl.threadpool_info() if each["user_api"] == "blas"}

def inner(_):
    return set().union(*Parallel(n_jobs=2)(delayed(threads)() for _ in range(4)))

if __name__ == "__main__":
    with threadpoolctl.threadpool_limits(2), ProcessPoolExecutor(2) as executor:
        print(*executor.map(inner, range(2)))
"""


def test_libraries_that_workers_were_forked_with_have_their_share_too(tmp_path, monkeypatch):
    monkeypatch.setenv("LINESHAFT_WORKERS", "2")
    done = run(FORKED, tmp_path)
    assert done.stdout == "{1} {1}\n", done.stderr
