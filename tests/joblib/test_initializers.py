"""Calls of `Parallel` whose workers have an initializer."""

import gc
import weakref

import pytest
from tests.events import eventually
from tests.joblib.calls import where

import joblib
from joblib import Parallel, delayed


def parallel(**options):
    return Parallel(**{"backend": "lineshaft", "n_jobs": 2, **options})


def set_global(value):
    import builtins

    builtins.lineshaft_test_value = value


def get_global(_):
    import builtins

    return builtins.lineshaft_test_value


def test_workers_with_an_initializer():
    for value in ("one", "one", "two"):
        found = parallel(initializer=set_global, initargs=(value,))(delayed(get_global)(x) for x in range(10))
        assert set(found) == {value}


def test_calls_with_different_initializers_run_side_by_side():
    one, two = (
        parallel(initializer=set_global, initargs=(value,), return_as="generator", batch_size=1)(
            delayed(get_global)(x) for x in range(10)
        )
        for value in ("one", "two")
    )
    assert [next(one), next(two)] == ["one", "two"]
    assert set(one) == {"one"}
    assert set(two) == {"two"}


def test_workers_with_an_initializer_are_kept_for_the_next_call_with_the_same(engine):
    class Shared:
        pass

    def call(*initargs):
        return set(parallel(initializer=id, initargs=initargs, batch_size=1)(delayed(where)() for _ in range(40)))

    shared = Shared()
    assert len(call(shared) | call(shared)) <= 2
    gone = weakref.ref(shared)
    del shared
    engine.shutdown()
    # What joblib makes for a call refers to itself.
    assert eventually(lambda: gc.collect() is not None and gone() is None, "nothing is kept of an engine that ended")


def fail_once(tried):
    if not tried.is_set():
        tried.set()
        raise LookupError("not there yet")


def test_workers_whose_initializer_raised_are_not_kept(event):
    fail = parallel(n_jobs=2, initializer=fail_once, initargs=(event("tried"),))
    with pytest.raises(joblib.externals.loky.process_executor.TerminatedWorkerError):
        fail(delayed(abs)(x) for x in range(4))
    assert fail(delayed(abs)(x) for x in range(4)) == [0, 1, 2, 3]
