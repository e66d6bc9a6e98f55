"""Workers forget definitions that the program no longer has."""

from collections.abc import Callable

import lineshaft as ls
from lineshaft._serial import worker

BATCH = 500
HELD_BYTES = 8_000_000


def held() -> int:
    return len(worker._codes)


def last_of(held_bytes: bytearray) -> Callable[[], int]:
    return lambda: held_bytes[-1]


def test_fresh_functions_do_not_pile_up_in_workers() -> None:
    with ls.Engine(1) as engine:
        for start in range(0, 4 * BATCH, BATCH):
            futures = [engine.submit(lambda x, shift=shift: x + shift, 1) for shift in range(start, start + BATCH)]
            assert [future.result() for future in futures] == [1 + shift for shift in range(start, start + BATCH)]
        del futures
        assert engine.submit(held).result() < 2 * BATCH


def test_what_a_function_holds_goes_with_it() -> None:
    with ls.Engine(1) as engine:
        engine.submit(held).result()
        for value in range(10):
            function = last_of(bytearray([value]) * HELD_BYTES)
            assert engine.submit(function).result() == value
            del function
        assert engine.submit(pow, 2, 2).result() == 4  # the worker is told
        assert engine._native.stats()["memory_bytes"] < 3 * HELD_BYTES


def test_a_function_that_comes_again_works_again() -> None:
    def first(x: int) -> int:
        return x + 1

    with ls.Engine(1) as engine:
        assert engine.submit(first, 1).result() == 2
        for _ in range(10):
            list(engine.map(lambda x, shift: x + shift, range(500), range(500)))
        assert engine.submit(first, 2).result() == 3


def test_old_values_of_globals_go_with_the_next_ones(script: Callable[[str], None]) -> None:
    """At once, and not when the garbage collector comes: they may be large."""
    script("""
        import gc, weakref
        import lineshaft as ls

        class Weights:
            pass

        def use():
            return weights is not None

        alive = weakref.WeakSet()
        gc.disable()
        with ls.Engine(1) as engine:
            for _ in range(10):
                weights = Weights()
                alive.add(weights)
                assert engine.submit(use).result()
        assert len(alive) <= 2
    """)
