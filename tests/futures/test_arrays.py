"""NumPy arrays go in and come out whole; results may be written to."""

from pathlib import Path

import numpy as np
import pytest

import lineshaft as ls

LARGE = 50_000_000  # bytes; far above what travels inside a message


def total(array: np.ndarray) -> float:
    return float(array.sum())


def make(size: int) -> np.ndarray:
    return np.arange(size, dtype=np.uint8)


def describe(array: np.ndarray) -> tuple[tuple[int, ...], str, bool, bool]:
    return array.shape, array.dtype.str, bool(array.flags.c_contiguous), bool(array.flags.f_contiguous)


def write(array: np.ndarray) -> float:
    copy = array.copy() if not array.flags.writeable else array
    copy[0] = 7
    return float(copy[0])


def identity(value: object) -> object:
    return value


@pytest.mark.parametrize("size", [0, 1, 1000, LARGE])
def test_results_are_whole_and_writable(processes, size):
    array = processes.submit(make, size).result()
    assert np.array_equal(array, make(size))
    assert array.flags.writeable
    array[:1] = 9
    assert size == 0 or array[0] == 9


def test_large_arguments(processes):
    array = np.ones(LARGE // 8)
    assert list(processes.map(total, [array] * 8)) == [array.size] * 8
    assert array.flags.writeable
    array[0] = 2  # each call sees what the array holds when it is submitted
    assert processes.submit(total, array).result() == array.size + 1


def test_changing_an_argument_after_the_call(processes):
    array = np.zeros(LARGE // 8)
    futures = []
    for value in range(3):
        array[:] = value
        futures.append(processes.submit(total, array))
        futures[-1].result()
    assert [future.result() for future in futures] == [0, array.size, 2 * array.size]


def test_writing_to_an_argument_changes_nothing_here(processes):
    array = np.zeros(LARGE // 8)
    assert processes.submit(write, array).result() == 7
    assert array[0] == 0
    small = np.zeros(4)
    assert processes.submit(write, small).result() == 7
    assert small[0] == 0


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 4), order="F"),
        np.arange(24).reshape(2, 3, 4)[:, ::2],
        np.array(["a", "bb"]),
        np.array([{"x": 1}, None], dtype=object),
        np.zeros(3, dtype=[("a", "i4"), ("b", "f8")]),
        np.array("2020-01-01", dtype="M8[D]"),
        np.arange(10**6).reshape(1000, 1000).T,
    ],
    ids=["fortran", "strided", "text", "objects", "records", "dates", "transposed"],
)
def test_all_kinds(executor, array):
    back = executor.submit(identity, array).result()
    assert np.array_equal(back, array)
    assert back.dtype == array.dtype
    assert executor.submit(describe, array).result()[:2] == describe(array)[:2]


def sums(arrays: list[np.ndarray], leave) -> list[float]:
    leave.wait()
    return [float(array.sum()) for array in arrays]


@pytest.mark.parametrize(
    ("count", "items"),
    [(5000, 10), (300, 300), (150, 10_000), (100, 40_000)],
    ids=["tiny", "small", "medium", "large"],
)
def test_many_arrays_in_one_argument(processes, event, count, items):
    leave = event("leave")
    arrays = [np.full(items, index, float) for index in range(count)]
    processes.submit(pow, 2, 2).result()
    before = len(list(Path("/proc/self/fd").iterdir()))
    future = processes.submit(sums, arrays, leave)
    assert len(list(Path("/proc/self/fd").iterdir())) - before <= 80  # not one for each
    leave.set()
    assert future.result() == [float(index) * items for index in range(count)]


def test_many_arrays_in_one_result(processes):
    arrays = processes.submit(lambda: [np.full(10, index) for index in range(5000)]).result()
    assert [int(array[-1]) for array in arrays] == list(range(5000))
    arrays[7][:] = -1  # writable, each for itself
    assert int(arrays[8][0]) == 8


def test_large_among_small_ones_are_stored_once(event):
    leave = event("leave")
    large = np.ones(LARGE // 80)
    with ls.Engine(workers=1) as engine:
        futures = [
            engine.submit(sums, [np.ones(10), large, *(np.ones(10) for _ in range(1000))], leave) for _ in range(50)
        ]
        assert engine._native.stats()["memory_bytes"] < 20 * large.nbytes
        leave.set()
        for future in futures:
            assert future.result() == [10, large.size, *([10] * 1000)]


def test_results_survive_their_executor():
    with ls.ProcessPoolExecutor(1) as executor:
        arrays = [executor.submit(make, LARGE // 10).result() for _ in range(3)]
    assert all(np.array_equal(array, make(LARGE // 10)) for array in arrays)


def test_through_a_chain_of_tasks():
    first = ls.submit(make, LARGE)
    second = ls.submit(np.add, first, np.uint8(1))
    assert np.array_equal(second.result(), make(LARGE) + np.uint8(1))


def test_threads_get_the_array_itself(threads):
    array = np.zeros(3)
    assert threads.submit(identity, array).result() is array
