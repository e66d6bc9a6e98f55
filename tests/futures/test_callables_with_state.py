"""What a call changes in a callable that has a state is seen by no other call, as where each is pickled for itself."""

import functools
import random

import pytest

import lineshaft as ls


class Reader:
    """Gathers rows; draws numbers."""

    def __init__(self):
        self.rows = []
        self.random = random.Random(1)

    def read(self, row):
        self.rows.append(row)
        return list(self.rows)

    def draw(self):
        return self.random.random()

    def __call__(self, row):
        return self.read(row)

    def fail_once(self, path):
        self.rows.append(1)
        if not path.exists():
            path.touch()
            raise LookupError
        return len(self.rows)


def gather(rows, row):
    rows.append(row)
    return list(rows)


CALLABLES = [Reader().read, Reader(), functools.partial(gather, [])]
ROWS = list(range(10))
ALONE = [[row] for row in ROWS]


@pytest.fixture(scope="module")
def one_process():
    with ls.ProcessPoolExecutor(1) as executor:
        yield executor


@pytest.mark.parametrize("function", CALLABLES, ids=["method", "instance", "partial"])
def test_calls_of_an_executor(one_process, function):
    futures = [one_process.submit(function, row) for row in ROWS]
    assert [future.result() for future in futures] == ALONE
    assert list(one_process.map(function, ROWS)) == ALONE
    assert list(one_process.map(function, ROWS, chunksize=5)) == [ROWS[: i + 1] for i in range(5)] + [
        ROWS[5 : i + 1] for i in range(5, 10)
    ]


@pytest.mark.parametrize("function", CALLABLES, ids=["method", "instance", "partial"])
def test_calls_of_a_pool(function):
    with ls.Pool(1) as pool:
        assert pool.map(function, ROWS, chunksize=1) == ALONE
        assert pool.starmap(function, [(row,) for row in ROWS], chunksize=1) == ALONE
        assert list(pool.imap(function, ROWS)) == ALONE
        assert sorted(pool.imap_unordered(function, ROWS)) == ALONE
        assert [pool.apply(function, (row,)) for row in ROWS] == ALONE
        # As each chunk is pickled once.
        assert pool.map(function, [1, 2, 3, 4], chunksize=2) == [[1], [1, 2], [3], [3, 4]]


@pytest.mark.parametrize("function", CALLABLES, ids=["method", "instance", "partial"])
def test_calls_of_an_engine(function):
    with ls.Engine(workers=1) as engine:
        assert [engine.submit(function, row).result() for row in ROWS] == ALONE
        task = ls.task(function, engine=engine)
        assert [task.submit(row).result() for row in ROWS] == ALONE
        nested = engine.submit(lambda: [ls.submit(function, row).result() for row in ROWS])
        assert nested.result() == ALONE


def test_a_retry(tmp_path):
    with ls.Engine(workers=1) as engine:
        assert ls.task(Reader().fail_once, retries=1, engine=engine).submit(tmp_path / "failed").result() == 1


def test_a_generator_of_random_numbers(one_process):
    assert len({one_process.submit(Reader().draw).result() for _ in range(5)}) == 1


@pytest.mark.parametrize("numbers", [10, 1_000_000])
def test_an_array(one_process, numbers):
    numpy = pytest.importorskip("numpy")

    def scale(array, factor):
        array *= factor
        return array[0]

    half = functools.partial(scale, numpy.ones(numbers))
    assert list(one_process.map(half, [2, 3, 4])) == [2, 3, 4]


def test_changes_in_the_program_are_seen(one_process):
    reader = Reader()
    assert one_process.submit(reader.read, 1).result() == [1]
    reader.rows.append(0)
    assert one_process.submit(reader.read, 1).result() == [0, 1]


def test_a_future_in_a_partial(one_process):
    add = functools.partial(sum, [one_process.submit(abs, -1), one_process.submit(abs, -2)])
    assert one_process.submit(add).result() == 3
