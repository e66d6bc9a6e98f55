"""Collections whose chunks are futures."""

import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import CancelledError, wait

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import pandas as pd
import pytest
from dask.graph_manipulation import bind, clone
from tests.dask.nodes import LoadedIn, Tracked, add, fail, inc
from tests.events import PATIENCE_S, eventually

import lineshaft as ls
from lineshaft.dask import futures_of, get, get_processes, get_threads, persist


def test_what_is_computed_of_chunks_may_be_asked_for_before_they_are_there():
    gate, calls = threading.Event(), []

    def wait(x):
        assert gate.wait(PATIENCE_S)
        calls.append(x)
        return x

    (later,) = persist(dask.delayed(wait)(3))
    (more,) = persist(dask.delayed(inc)(later))
    assert not any(future.done() for future in futures_of(later, more))
    gate.set()
    assert dask.compute(later, more, scheduler=get) == (3, 4)
    assert calls == [3]


@pytest.mark.parametrize("scheduler", [get, get_threads, get_processes, "sync", "threads"])
@pytest.mark.parametrize(
    ("lazy", "expected"),
    [
        (lambda: da.arange(10, chunks=4) + 1, 55),
        (lambda: db.range(10, npartitions=3).map(inc), 55),
        (lambda: dd.from_pandas(pd.DataFrame({"a": range(10)}), npartitions=3)["a"] + 1, 55),
    ],
)
def test_every_scheduler_computes_them(lazy, expected, scheduler):
    (persisted,) = persist(lazy())
    assert len(futures_of(persisted)) == 3
    assert int(persisted.sum().compute(scheduler=scheduler)) == expected
    copied = pickle.loads(pickle.dumps(persisted))
    assert int(copied.sum().compute(scheduler=scheduler)) == expected


def test_keys_of_the_graph_and_futures_side_by_side_in_worker_processes():
    three, five = persist(dask.delayed(inc)(2), dask.delayed(inc)(4))
    eleven, twenty = dask.delayed(inc)(10), dask.delayed(inc)(19)
    total = dask.delayed(sum)([five, eleven, dask.delayed(add)(three, twenty), twenty])
    assert total.compute(scheduler=get_processes) == 5 + 11 + (3 + 20) + 20


def test_chunks_of_bags_stay_where_workers_read_them():
    (bag,) = persist(db.from_sequence([LoadedIn(), LoadedIn()], npartitions=2).map(LoadedIn.again))
    loaded = bag.map(LoadedIn.process).compute(scheduler=get)
    assert os.getpid() not in loaded


def test_an_error_is_raised_where_the_result_is_asked_for():
    (broken,) = persist(dask.delayed(fail)("this"))
    with pytest.raises(ValueError, match="cannot work on 'this'"):
        dask.delayed(inc)(broken).compute(scheduler=get)
    assert isinstance(futures_of(broken)[0].exception(), ValueError)


def test_an_error_goes_to_tasks_in_worker_processes():
    (broken,) = persist(dask.delayed(fail)("this"))
    wait(futures_of(broken))
    with pytest.raises(ValueError, match="cannot work on 'this'"):
        dask.delayed(inc)(broken).compute(scheduler=get_processes)


def test_a_cancelled_chunk_cancels_tasks_in_worker_processes(event):
    leave = event("leave")
    (held,) = persist(dask.delayed(leave.wait)())
    (cancelled,) = persist(dask.delayed(inc)(held))
    assert futures_of(cancelled)[0].cancel()
    with pytest.raises(CancelledError):
        dask.delayed(inc)(cancelled).compute(scheduler=get_processes)
    leave.set()


@pytest.mark.parametrize("scheduler", [get, get_processes, "sync"])
def test_clones(scheduler):
    array, bag, call = persist(da.ones(6, chunks=3), db.range(6, 2).map(inc), dask.delayed(inc)(1))
    assert float(clone(array).sum().compute(scheduler=scheduler)) == 6
    assert float(clone(array + 1).sum().compute(scheduler=scheduler)) == 12
    assert clone(bag).map(inc).compute(scheduler=scheduler) == list(range(2, 8))
    assert dask.delayed(inc)(clone(call)).compute(scheduler=scheduler) == 3
    assert bind(clone(call), array).compute(scheduler=scheduler) == 2
    assert len(futures_of(clone(array))) == 2


def test_futures_of_containers():
    array, call = persist(da.ones(3), dask.delayed(inc)(1))
    assert futures_of([array], {"a": call}, 5) == futures_of(array, call)
    assert len(futures_of(array, call)) == 2


def test_chunks_go_with_the_last_collection_that_has_them():
    before = Tracked.now
    (persisted,) = persist(dask.delayed(Tracked)())
    derived = dask.delayed(id)(persisted)
    del persisted
    derived.compute(scheduler=get)
    assert Tracked.now == before + 1
    del derived
    eventually(lambda: Tracked.now == before, "the chunk is gone")


class Calls:
    """Notes calls of one thread, which wait until they may begin."""

    def __init__(self):
        self.gate, self.noted = threading.Event(), []

    def persist(self, *collections):
        return persist(*collections, num_workers=1)

    def __call__(self, name, *_):
        assert self.gate.wait(PATIENCE_S)
        self.noted.append(name)
        return name

    def delayed(self, name, *needs):
        return dask.delayed(self)(name, *needs)

    def block(self):
        """Have the thread wait in a call."""
        entered = threading.Event()
        (first,) = self.persist(dask.delayed(lambda: (entered.set(), self("first")))())
        assert entered.wait(PATIENCE_S)
        return first

    def end(self):
        self.gate.set()
        assert ls.default_engine()._native.wait_idle(PATIENCE_S)
        return sorted(self.noted)

    def __dask_tokenize__(self):
        return id(self)


def test_chunks_that_nobody_has_any_more_do_not_begin():
    calls = Calls()
    first = calls.block()
    shared, alone = calls.delayed("shared"), calls.delayed("alone")
    left, right = calls.persist(calls.delayed("left", shared, alone), calls.delayed("right", shared))
    del left
    assert calls.end() == ["first", "right", "shared"]
    assert dask.compute(first, right, scheduler=get)[1] == "right"


def test_chunks_that_others_need_begin():
    calls = Calls()
    calls.block()
    (chunk,) = calls.persist(calls.delayed("chunk", calls.delayed("needed")))
    further, other = calls.persist(calls.delayed("further", chunk), calls.delayed("other"))
    (same,) = calls.persist(chunk)
    (future,) = futures_of(other)
    del chunk, other
    assert not any(future.cancelled() for future in futures_of(further, same))
    assert calls.end() == ["chunk", "first", "further", "needed", "other"]
    assert future.result() == "other"
    assert dask.compute(further, same, scheduler=get) == ("further", "chunk")


def test_a_chain_of_chunks_goes_with_the_last():
    calls = Calls()
    first = calls.block()
    (chunk,) = calls.persist(calls.delayed("chunk", calls.delayed("needed")))
    (further,) = calls.persist(calls.delayed("further", chunk))
    del chunk
    del further
    assert calls.end() == ["first"]
    assert futures_of(first)[0].done()


def test_a_failure_among_chunks_of_which_some_are_gone():
    calls = Calls()
    calls.block()
    kept, gone = calls.persist(dask.delayed(fail)(calls.delayed("needed")), calls.delayed("gone"))
    del gone
    assert calls.end() == ["first", "needed"]
    with pytest.raises(ValueError, match="cannot work on"):
        kept.compute(scheduler=get)


@pytest.mark.parametrize("kept", [True, False])
def test_the_end_of_a_program_does_not_wait_for_chunks(tmp_path, kept):
    script = tmp_path / "script.py"
    script.write_text(
        f"""if True:
        import threading, dask
        from lineshaft.dask import persist
        with dask.annotate(lineshaft="processes"):
            endless = dask.delayed(lambda number: threading.Event().wait())
            chunks = persist(*[endless(number) for number in range(10)])
        if not {kept}:
            del chunks
        print("end")
        """
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, str(script)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("end\n", "", 0)


def test_what_is_no_collection_comes_back_as_it_is():
    pair, five = persist({"a": dask.delayed(inc)(1), "b": [2]}, 5)
    assert dask.compute(pair, five, scheduler=get) == ({"a": 2, "b": [2]}, 5)


def test_chunks_of_another_engine_are_named():
    with ls.Engine(workers=1) as engine:
        (persisted,) = persist(dask.delayed(inc)(1), engine=engine)
        with pytest.raises(TypeError, match="belongs to another engine"):
            dask.delayed(inc)(persisted).compute(scheduler=get)
        assert dask.delayed(inc)(persisted).compute(scheduler=get, engine=engine) == 3
