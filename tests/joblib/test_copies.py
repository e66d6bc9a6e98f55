"""Nested calls where joblib would have processes: what a call changes is its own copy, and results are of their own."""

import asyncio

import numpy as np
import pytest

import joblib
import lineshaft as ls
from lineshaft._serial.settled import keeps_state
from lineshaft.joblib import waiting
from lineshaft.joblib.batch import bind


class Model:
    def __init__(self):
        self.seen = []

    def fit(self, value):
        self.seen.append(value)
        return self


def fit(model, values, value):
    values[0] += value
    return model.fit(value)


def inner(backend, array_bytes=8):
    model, values = Model(), np.zeros(array_bytes // 8)
    with joblib.parallel_config(backend):
        models = joblib.Parallel(n_jobs=2, batch_size=1)(
            joblib.delayed(fit)(model, values, number) for number in range(6)
        )
        bound = joblib.Parallel(n_jobs=2)(joblib.delayed(model.fit)(number) for number in range(6))
    assert [fitted.seen for fitted in models] == [[number] for number in range(6)]
    assert (model.seen, values[0]) == ([], 0)
    return len({id(fitted) for fitted in [*models, *bound, model]})


def outer_batch(backend):
    return joblib.Parallel(n_jobs=2, backend=backend)(joblib.delayed(inner)(backend) for _ in range(2))


@pytest.mark.parametrize("array_bytes", [8, 3 << 20])
def test_in_tasks_of_executors(array_bytes):
    for kind in (ls.ThreadPoolExecutor, ls.ProcessPoolExecutor):
        with kind(2) as executor:
            assert executor.submit(inner, "lineshaft", array_bytes).result() > 6


def test_in_a_thread_of_an_event_loop():
    async def run():
        with ls.ThreadPoolExecutor(2) as executor:
            return await asyncio.get_running_loop().run_in_executor(executor, inner, "lineshaft")

    assert asyncio.run(run()) > 6


def test_where_a_batch_names_the_backend():
    assert all(count > 6 for count in outer_batch("lineshaft"))


def test_what_a_function_is_shown_as_is_no_state_of_it():
    """Or else none of its batches would travel together."""
    assert not keeps_state(bind(abs))


def look_and_change(value, same, *, key):
    assert value is same
    found = repr((value, key)), getattr(value, "flags", None) and value.flags.f_contiguous
    value[0] = -1
    return found


CIRCLE = [1]
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    "value",
    [[1, "a", (2.5, None)], [[1], {"a": [2]}], CIRCLE, list(range(1000)), np.arange(6.0), np.zeros((3, 2), order="F")],
    ids=["list", "nested", "circle", "long", "array", "columns"],
)
def test_calls_that_travel_together_share_nothing(value, monkeypatch):
    monkeypatch.setattr(waiting, "LONG_S", 100.0)
    monkeypatch.setattr(waiting, "GROUP_S", 1e4)
    expected = repr((value, np.float64(0.5))), getattr(value, "flags", None) and value.flags.f_contiguous
    calls = [joblib.delayed(look_and_change)(value, value, key=np.float64(0.5)) for _ in range(20)]
    assert joblib.Parallel(2, "lineshaft", batch_size=1)(calls) == [expected] * 20
