"""Workers forget definitions that the program no longer has."""

import lineshaft as ls
from lineshaft._serial import worker

#: Fresh functions, well beyond what the engine keeps in case they come again.
FUNCTIONS = 10_000


def held() -> int:
    return len(worker._codes)


def test_fresh_functions_do_not_pile_up_in_workers() -> None:
    with ls.Engine(1) as engine:
        for start in range(0, FUNCTIONS, 500):
            futures = [engine.submit(lambda x, shift=shift: x + shift, 1) for shift in range(start, start + 500)]
            assert [future.result() for future in futures] == [1 + shift for shift in range(start, start + 500)]
        assert engine.submit(held).result() < FUNCTIONS / 2


def test_a_function_that_comes_again_works_again() -> None:
    def first(x: int) -> int:
        return x + 1

    with ls.Engine(1) as engine:
        assert engine.submit(first, 1).result() == 2
        for _ in range(10):
            list(engine.map(lambda x, shift: x + shift, range(500), range(500)))
        assert engine.submit(first, 2).result() == 3
