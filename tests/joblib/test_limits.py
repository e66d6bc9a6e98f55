"""Threads of BLAS and OpenMP in workers: their share of the cores, unless the user says otherwise."""

import os

import numpy as np
import pytest

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
