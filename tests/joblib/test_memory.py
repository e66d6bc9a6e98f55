"""Arrays lie in shared memory, each once, and `joblib.Memory` works in workers."""

import functools
from pathlib import Path

import numpy as np
import pytest
from tests.events import eventually
from tests.joblib.calls import square

from joblib import Memory, Parallel, delayed, parallel_config

MB = 1_000_000


def describe(array):
    """Whether the array can be written to here, and its sum."""
    array[0] += 0
    return array.flags.writeable, float(array.sum())


def test_the_same_array_is_stored_once(engine):
    array = np.ones(5 * MB)  # 40 MB

    def inputs():
        for _ in range(16):
            yield delayed(describe)(array)
            most.append(engine._native.stats()["memory_bytes"])

    most = []
    assert Parallel(2, "lineshaft", batch_size=1)(inputs()) == [(True, 5.0 * MB)] * 16
    assert max(most) < 2 * array.nbytes


def file_of(array):
    """The inode of the shared memory that the array lies in."""
    address = array.ctypes.data
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, _, _, _, inode, *_ = line.split()
        start, end = (int(number, 16) for number in span.split("-"))
        if start <= address < end:
            return int(inode)
    raise AssertionError("the array lies nowhere")


@pytest.mark.parametrize("return_as", ["list", "generator"])
def test_an_array_is_kept_between_calls_of_which_each_begins_when_the_last_has_ended(engine, return_as):
    array = np.ones(MB)
    call = Parallel(2, "lineshaft", return_as, batch_size=1, pre_dispatch=1)
    _, *others = call(delayed(file_of)(array) for _ in range(6))
    assert len(set(others)) == 1
    assert others[0] > 0
    eventually(lambda: engine._native.stats()["memory_bytes"] == 0, "nothing is kept when all has ended")


def test_what_a_call_writes_nobody_else_sees():
    array = np.zeros(MB)
    assert Parallel(2, "lineshaft")(delayed(write_and_sum)(array, n) for n in range(8)) == [float(n) for n in range(8)]
    assert array.sum() == 0


def write_and_sum(array, value):
    array[5] += value
    return float(array.sum())


@pytest.mark.parametrize("return_as", ["list", "generator"])
def test_large_results(return_as):
    found = list(Parallel(2, "lineshaft", return_as)(delayed(np.full)(MB, n) for n in range(6)))
    assert [int(array.sum()) for array in found] == [n * MB for n in range(6)]


@pytest.mark.parametrize("max_nbytes", [None, 1, "1M"])
@pytest.mark.parametrize("mmap_mode", [None, "r", "r+", "c"])
def test_options_of_memory_mapping_change_nothing(max_nbytes, mmap_mode, tmp_path):
    options = {"max_nbytes": max_nbytes, "mmap_mode": mmap_mode, "temp_folder": str(tmp_path)}
    assert Parallel(2, "lineshaft", **options)([delayed(describe)(np.ones(1000))] * 3) == [(True, 1000.0)] * 3
    assert not any(tmp_path.iterdir())


def test_memory_map_of_the_user(tmp_path):
    np.save(tmp_path / "array.npy", np.arange(MB, dtype=float))
    array = np.load(tmp_path / "array.npy", mmap_mode="r")
    assert Parallel(2, "lineshaft")(delayed(np.sum)(array[n::4]) for n in range(4)) == [
        array[n::4].sum() for n in range(4)
    ]


def fill(array, at):
    array[at] = at


def test_what_is_written_to_a_mapped_file_is_in_the_file(tmp_path):
    output = np.lib.format.open_memmap(tmp_path / "output.npy", "w+", shape=(40,))
    Parallel(2, "lineshaft")(delayed(fill)(output, at) for at in range(20))
    Parallel(2, "lineshaft")(delayed(fill)(array=output[20:], at=at) for at in range(20))
    assert output.tolist() == [*range(20), *range(20)]


class Filler:
    def __init__(self, output):
        self.output = output

    def fill(self, at):
        self.output[at] = at


def fill_part(parts, at):
    parts["output"][0][at] = at


def filling(kind, output):
    """A function that fills the array it has in some other way than as its argument."""
    if kind == "method":
        return Filler(output).fill
    if kind == "container":
        return functools.partial(fill_part, {"output": [output]})
    return lambda at: fill(output, at)


@pytest.mark.parametrize("return_as", ["list", "generator"])
@pytest.mark.parametrize("kind", ["method", "container", "closure"])
def test_a_mapped_file_is_shared_wherever_a_call_has_it(tmp_path, kind, return_as):
    output = np.lib.format.open_memmap(tmp_path / "output.npy", "w+", shape=(20,))
    call = delayed(filling(kind, output[::2]))
    assert list(Parallel(2, "lineshaft", return_as)(call(at) for at in range(10))) == [None] * 10
    assert output[::2].tolist() == list(range(10))


VIEWS = {
    "backwards": lambda array: array[::-1],
    "columns backwards": lambda array: array[:, ::-2],
    "transposed": lambda array: array.T,
    "transposed backwards": lambda array: array[1:].T[::-1],
    "strided": lambda array: array[1::2, ::2],
    "bytes": lambda array: array.view("u1")[:, 1::3],
    "reshaped": lambda array: array.reshape(-1, 3),
    "broadcast": lambda array: np.broadcast_to(array[1], (3, 4)),
    "empty": lambda array: array[2:2],
}


def as_list(array):
    return array.tolist()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("view", VIEWS)
def test_views_of_a_mapped_file(tmp_path, view, order):
    mapped = np.memmap(tmp_path / "input", np.float64, "w+", shape=(6, 4), order=order)
    mapped[:] = np.arange(24).reshape(6, 4)
    try:
        part = VIEWS[view](mapped)
    except ValueError:
        return  # of Fortran's order there are no bytes
    expected = part.tolist()
    assert Parallel(2, "lineshaft")(delayed(as_list)(part) for _ in range(2)) == [expected] * 2


@pytest.mark.parametrize("turn", [lambda array: array[::-1], lambda array: array.T])
def test_what_is_written_to_a_view_is_in_the_file(tmp_path, turn):
    output = np.lib.format.open_memmap(tmp_path / "output.npy", "w+", shape=(4, 4))
    Parallel(2, "lineshaft")(delayed(fill)(turn(output), at) for at in range(4))
    assert turn(np.load(tmp_path / "output.npy")).tolist() == [[at] * 4 for at in range(4)]


def parts_of(array):
    return {"half": [array[::2]], "whole": array}


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("return_as", ["list", "generator"])
def test_a_mapped_file_comes_back_as_that_file(tmp_path, return_as, batch_size):
    output = np.lib.format.open_memmap(tmp_path / "output.npy", "w+", shape=(20,))
    output[:] = 1
    calls = [delayed(parts_of)(output) for _ in range(4)]
    for at, found in enumerate(Parallel(2, "lineshaft", return_as, batch_size=batch_size)(calls)):
        found["whole"][at] = found["half"][0][5] = 7
    assert output.tolist() == [7, 7, 7, 7, 1, 1, 1, 1, 1, 1, 7, *[1] * 9]


def counted(folder, x):
    """Leave a trace of each call."""
    (folder / f"{x}-{len(list(folder.iterdir()))}").touch()
    return np.full(10, x)


def test_cached_functions(tmp_path):
    traces = tmp_path / "traces"
    traces.mkdir()
    cached = Memory(tmp_path / "cache", verbose=0).cache(counted, ignore=["folder"])
    for _ in range(2):
        found = Parallel(2, "lineshaft")(delayed(cached)(traces, x) for x in range(6))
        assert [array[0] for array in found] == list(range(6))
    assert len(list(traces.iterdir())) == 6
    cached(traces, 3)  # what workers cached is found here
    assert len(list(traces.iterdir())) == 6
    with parallel_config("lineshaft", n_jobs=2):
        assert all(cached.check_call_in_cache(traces, x) for x in range(6))


def test_results_after_the_engine_is_gone(engine):
    found = Parallel(2, "lineshaft")(delayed(np.full)(MB, n) for n in range(2))
    engine.shutdown()
    assert [int(array[-1]) for array in found] == [0, 1]
    assert Parallel(2, "lineshaft")(delayed(square)(x) for x in range(3)) == [0, 1, 4]
