"""Threads of BLAS and OpenMP in workers: their share of the cores, unless the user says otherwise."""

import os

import numpy as np
import pytest

import lineshaft as ls
from joblib import Parallel, delayed, parallel_config

threadpoolctl = pytest.importorskip("threadpoolctl")


def in_force(_=None):
    """Return what the variable says, and how many threads the loaded BLAS libraries use."""
    np.ones((50, 50)) @ np.ones((50, 50))
    blas = {each["num_threads"] for each in threadpoolctl.threadpool_info() if each["user_api"] == "blas"}
    return os.environ.get("OPENBLAS_NUM_THREADS"), blas


def in_force_inside(n_jobs):
    return Parallel(n_jobs=n_jobs)(delayed(in_force)() for _ in range(n_jobs))


def everywhere(n_jobs, function=in_force, *args, **options):
    return Parallel(n_jobs, "lineshaft", **options)(delayed(function)(*args) for _ in range(2 * n_jobs))


@pytest.fixture
def four_cores(engine, monkeypatch):
    """Let the default engine have a budget of four cores, and the environment say nothing."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    engine.shutdown()
    monkeypatch.setenv("LINESHAFT_WORKERS", "4")


def check(found, threads):
    variables, libraries = zip(*found, strict=True)
    assert set(variables) == {str(threads)}
    assert set().union(*libraries) <= {threads}


@pytest.mark.usefixtures("four_cores")
def test_each_job_has_its_share():
    for n_jobs in (4, 2, 4):
        check(everywhere(n_jobs), 4 // n_jobs)


@pytest.mark.usefixtures("four_cores")
def test_nested_jobs_share_what_the_outer_one_has():
    for found in everywhere(2, in_force_inside, 2):
        check(found, 1)
    check(everywhere(2), 2)


@pytest.mark.usefixtures("four_cores")
def test_what_the_call_says():
    with parallel_config("lineshaft", n_jobs=2, inner_max_num_threads=3):
        check(Parallel()(delayed(in_force)() for _ in range(4)), 3)


@pytest.mark.usefixtures("four_cores")
def test_the_environment_wins_also_later(monkeypatch):
    check(everywhere(2), 2)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    check(everywhere(2), 3)


def meet(mine, others, function):
    """Call a function when the same is about to happen in another worker."""
    mine.set()
    others.wait()
    return function()


def in_both_workers(event, function=in_force):
    events = [event(str(number)) for number in range(2)]
    calls = [ls.submit(meet, *pair, function) for pair in (events, events[::-1])]
    found = [call.result() for call in calls]
    for each in events:
        each.path.unlink()
    return found


def call_with_a_limit(function=in_force):
    with parallel_config("lineshaft", n_jobs=2, inner_max_num_threads=7):
        return Parallel(batch_size=1)(delayed(function)() for _ in range(2))


def before_inside_and_after():
    return in_force(), *call_with_a_limit(), in_force()


def test_calls_that_are_no_batches_find_what_they_found_before(event, engine):
    before = in_both_workers(event)
    for _ in range(2):
        meeting = [event(name) for name in ("one", "another")]
        with parallel_config("lineshaft", n_jobs=2, inner_max_num_threads=7):
            check(Parallel(batch_size=1)(delayed(meet)(*pair, in_force) for pair in (meeting, meeting[::-1])), 7)
        for each in meeting:
            each.path.unlink()
        assert in_both_workers(event) == before
    for found in in_both_workers(event, before_inside_and_after):
        check(found[1:-1], 7)
        assert found[0] == found[-1] == before[0]


def on_threads(n_jobs, backend, function=in_force):
    return Parallel(n_jobs, backend, require="sharedmem")(delayed(function)() for _ in range(2 * n_jobs))


def blas():
    return in_force()[1]


@pytest.mark.usefixtures("four_cores")
def test_threads_of_the_program_share_its_cores_and_give_them_back():
    with threadpoolctl.threadpool_limits(4):
        before = blas()
        assert set().union(*(found for _, found in on_threads(2, "lineshaft"))) == {2}
        assert set().union(*(found for _, found in on_threads(4, "lineshaft"))) == {1}
        assert blas() == before


@pytest.mark.usefixtures("four_cores")
def test_a_limit_of_the_user_is_not_raised(monkeypatch):
    with threadpoolctl.threadpool_limits(1):
        assert set().union(*(found for _, found in on_threads(2, "lineshaft"))) == {1}
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    with threadpoolctl.threadpool_limits(3):
        assert set().union(*(found for _, found in on_threads(4, "lineshaft"))) == {3}
