"""What the constructors accept and refuse, as those of `concurrent.futures` do."""

import multiprocessing
import os
import subprocess
import threading

import pytest

import lineshaft as ls


@pytest.mark.parametrize("workers", [0, -1])
def test_workers_must_be_positive(executor_class, workers):
    with pytest.raises(ValueError, match="max_workers must be greater than 0"):
        executor_class(workers)


def test_by_default_as_many_as_useful():
    cores = len(os.sched_getaffinity(0))
    with ls.ProcessPoolExecutor() as executor:
        assert 1 <= executor._max_workers <= cores
    with ls.ThreadPoolExecutor() as executor:
        assert 5 <= executor._max_workers <= min(32, cores + 4)


@pytest.mark.parametrize("max_workers", [2.0, 1.5])
def test_a_number_of_threads_may_be_of_any_type(max_workers):
    with ls.ThreadPoolExecutor(max_workers) as executor:
        barrier = threading.Barrier(2)
        assert sorted(executor.map(barrier.wait, [60, 60])) == [0, 1]  # there are two


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_any_context_does(method):
    with ls.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as executor:
        assert executor.submit(pow, 2, 2).result() == 4


def test_workers_are_replaced_after_so_many_calls():
    with ls.ProcessPoolExecutor(1, max_tasks_per_child=2) as executor:
        pids = [executor.submit(os.getpid).result() for _ in range(6)]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [2, 2, 2]


def test_no_call_is_lost_when_workers_are_replaced():
    with ls.ProcessPoolExecutor(2, max_tasks_per_child=3) as executor:
        assert list(executor.map(abs, range(200))) == list(range(200))


def test_the_initializer_runs_in_the_replacement_too():
    with ls.ProcessPoolExecutor(
        1, max_tasks_per_child=1, initializer=os.putenv, initargs=("LINESHAFT_TEST", "set")
    ) as executor:
        seen = [executor.submit(_pid_and_variable, "LINESHAFT_TEST").result() for _ in range(3)]
    assert len({pid for pid, _ in seen}) == 3
    assert {value for _, value in seen} == {"set"}


@pytest.mark.parametrize(("calls", "error"), [(0, ValueError), (-1, ValueError), ("1", TypeError), (1.0, TypeError)])
def test_calls_per_worker_must_be_a_positive_number(calls, error):
    with pytest.raises(error, match="max_tasks_per_child"):
        ls.ProcessPoolExecutor(1, max_tasks_per_child=calls)


def test_as_many_calls_at_a_time_as_workers(executor_class, event):
    """Five calls that wait for each other, on however few cores."""
    with executor_class(5) as executor:
        entered = [event(str(n)) for n in range(5)]
        futures = [executor.submit(_meet, each, entered) for each in entered]
        assert [future.result(30) for future in futures] == [True] * 5


def _pid_and_variable(name: str) -> tuple[int, str]:
    return os.getpid(), subprocess.run(["printenv", name], capture_output=True, text=True, check=True).stdout.strip()


def _meet(own, everyone) -> bool:
    own.set()
    return all(each.wait() for each in everyone)


def test_a_folder_for_objects_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").touch()
    for name, error in (("missing", FileNotFoundError), ("file", NotADirectoryError)):
        folder = tmp_path / name
        with pytest.raises(error, match=f"spill_dir cannot be used.*{folder}"):
            ls.Engine(workers=1, spill_dir=folder)
