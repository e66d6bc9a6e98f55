"""What makes no sense is refused at once, by an error that names it."""

import multiprocessing
import os

import numpy as np
import pytest

import lineshaft as ls


@pytest.mark.parametrize(
    "options",
    [
        {"workers": 2**70},
        {"workers": 0},
        {"workers": True},
        {"memory": "999999999TiB"},
        {"memory": 2**70},
        {"max_worker_growth": "lots"},
        {"max_worker_growth": 0},
        {"max_tasks_per_worker": 0},
        {"max_tasks_per_worker": 1.5},
        {"max_tasks_per_worker": "a"},
        {"max_tasks_per_worker": 2**40},
    ],
    ids=str,
)
def test_of_an_engine(options):
    (name,) = options
    with pytest.raises(ValueError, match=name):
        ls.Engine(**options)


def test_a_spill_dir_that_is_no_path():
    with pytest.raises(TypeError, match="spill_dir must be a path, not 3"):
        ls.Engine(spill_dir=3)


@pytest.mark.parametrize("folder", ["/proc", "/nonexistent", "/dev/null"])
def test_a_spill_dir_that_takes_no_files(folder):
    with pytest.raises(OSError, match="spill_dir cannot be used") as raised:
        ls.Engine(spill_dir=folder)
    assert raised.value.filename == folder


@pytest.mark.parametrize("as_type", [str, os.fsencode], ids=["str", "bytes"])
def test_a_spill_dir_that_takes_some(tmp_path, as_type):
    with ls.Engine(workers=1, spill_dir=as_type(tmp_path)) as engine:
        assert engine.submit(pow, 2, 2).result() == 4
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"threads": 2**70}, ValueError),
        ({"threads": 2.5}, TypeError),
        ({"priority": 2**70}, ValueError),
        ({"priority": 1.5}, TypeError),
        ({"retries": 1.5}, TypeError),
        ({"engine": "x"}, TypeError),
    ],
    ids=str,
)
def test_of_a_task(options, kind):
    (name,) = options
    with pytest.raises(kind, match=f"{name} must be"):
        ls.task(**options)(abs)


@pytest.mark.parametrize("functions", [(), (abs,)], ids=["decorator", "function"])
def test_an_option_that_tasks_do_not_have(functions):
    with pytest.raises(TypeError, match="nope"):
        ls.task(*functions, nope=1)


def test_of_a_map():
    with pytest.raises(ValueError, match="threads must be positive"):
        ls.map(abs, [1], threads=2**70)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LINESHAFT_WORKERS", "abc"),
        ("LINESHAFT_WORKERS", "0"),
        ("LINESHAFT_WORKERS", "-1"),
        ("LINESHAFT_WORKERS", "99999999999"),
        ("LINESHAFT_MEMORY", "lots"),
    ],
)
def test_of_the_environment(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"{name}.*{value}"):
        ls.Engine()


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"max_workers": 1.5}, TypeError),
        ({"max_workers": "x"}, TypeError),
        ({"max_workers": 2**32}, ValueError),
        ({"max_tasks_per_child": 2**40}, ValueError),
    ],
    ids=str,
)
def test_of_an_executor(method, options, kind):
    (name,) = options
    with pytest.raises(kind, match=f"{name} must be"):
        ls.ProcessPoolExecutor(mp_context=multiprocessing.get_context(method), **options)


@pytest.mark.parametrize("workers", [2.5, 1e18, 10**18, float("inf")])
def test_numbers_of_any_kind_for_threads(workers):
    with ls.ThreadPoolExecutor(workers) as executor:
        assert executor.submit(pow, 2, 3).result() == 8


def test_whole_numbers_of_other_types():
    with ls.Engine(workers=np.int64(1), max_tasks_per_worker=np.int64(5)) as engine:
        assert (engine.workers, engine.submit(pow, 2, 3).result()) == (1, 8)


def test_what_is_no_future():
    with pytest.raises(TypeError, match="as_completed takes futures, not 3"):
        ls.as_completed([3])


def test_a_with_block_of_a_closed_engine():
    with ls.Engine(workers=1) as engine:
        pass
    with pytest.raises(ls.errors.EngineClosed), engine:
        raise AssertionError("it was entered")
