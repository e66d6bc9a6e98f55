"""What a user of `Parallel` relies on, through the backend "lineshaft"."""

import _thread
import gc
import os
import threading
import time
import warnings
import weakref
from pathlib import Path
from queue import SimpleQueue

import pytest
from tests.events import PATIENCE_S, FileEvent, eventually
from tests.joblib.calls import append, enter_and_wait, fail_at, inner, make_lock, square, thread_name, wait_for, where

import joblib
import lineshaft as ls
from joblib import Parallel, delayed, parallel_config
from lineshaft.joblib import waiting

RETURN_AS = ["list", "generator", "generator_unordered"]


def parallel(**options):
    return Parallel(**{"n_jobs": 2, "backend": "lineshaft", **options})


@pytest.mark.parametrize("options", [{}, {"batch_size": 1}, {"batch_size": 7}, {"pre_dispatch": "all"}, {"n_jobs": 5}])
@pytest.mark.parametrize("return_as", RETURN_AS)
@pytest.mark.parametrize("require", [None, "sharedmem"])
def test_results(return_as, options, require):
    results = list(parallel(return_as=return_as, require=require, **options)(delayed(square)(x) for x in range(100)))
    if return_as == "generator_unordered":
        results.sort()
    assert results == [x * x for x in range(100)]


def test_nothing_to_do():
    assert parallel()([]) == []
    assert list(parallel(return_as="generator")([])) == []


def test_several_open_calls_of_one_configuration():
    with parallel_config("lineshaft", n_jobs=2):
        first, second = (Parallel(return_as="generator")(delayed(square)(x) for x in range(40)) for _ in range(2))
        assert [next(first), next(second)] == [0, 0]
        assert Parallel()(delayed(square)(x) for x in range(40)) == [x * x for x in range(40)]
        assert list(first) == list(second) == [x * x for x in range(1, 40)]
        with Parallel() as outer, Parallel() as inner:
            for pool in (outer, inner, outer):
                assert pool(delayed(square)(x) for x in range(5)) == [0, 1, 4, 9, 16]


def test_functions_of_every_kind():
    factor = 3
    calls = [delayed(abs)(-1), delayed(lambda x: x * factor)(2), delayed("a b".split)(), delayed(int)("7", base=8)]
    assert parallel()(calls) == [1, 6, ["a", "b"], 7]
    assert parallel(batch_size=4)(calls) == [1, 6, ["a", "b"], 7]


def test_work_is_done_in_two_processes_or_on_threads_of_this_one(event):
    entered, leave = [event("first"), event("second")], event("leave")

    def both(**options):
        call = delayed(enter_and_wait)
        return parallel(return_as="generator", **options)(call(each, leave) for each in entered)

    pids = both()
    eventually(lambda: all(each.is_set() for each in entered), "two calls run at the same time")
    leave.set()
    assert len({*pids, os.getpid()}) == 3
    assert set(both(require="sharedmem")) == {os.getpid()}
    # A preference is for joblib's choice among backends; this one was named.
    assert os.getpid() not in both(prefer="threads")


def test_shared_memory_is_that_of_the_caller():
    found = []
    parallel(require="sharedmem")(delayed(append)(found, x) for x in range(50))
    assert sorted(found) == list(range(50))
    with parallel_config("lineshaft", n_jobs=2):
        found.clear()
        Parallel(require="sharedmem")(delayed(append)(found, x) for x in range(50))
        assert sorted(found) == list(range(50))


def test_how_many():
    with parallel_config("lineshaft"):
        assert joblib.effective_n_jobs(-1) == 2
        assert joblib.effective_n_jobs(-2) == 1
        assert joblib.effective_n_jobs(7) == 7
        assert set(Parallel(n_jobs=-2)(delayed(where)() for _ in range(4))) == {os.getpid()}
        assert set(Parallel()(delayed(where)() for _ in range(4))) == {os.getpid()}
        with pytest.raises(ValueError, match="n_jobs == 0"):
            Parallel(n_jobs=0)(delayed(where)() for _ in range(4))


def test_no_more_cores_than_joblib_is_told_of(monkeypatch):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    with parallel_config("lineshaft"):
        assert joblib.effective_n_jobs(-1) == joblib.cpu_count() == 1
        assert joblib.effective_n_jobs(3) == 3


def test_never_more_than_asked_for(event):
    entered = [event(f"entered-{n}") for n in range(4)]
    leave = event("leave")
    with ls.Engine(workers=4) as engine, parallel_config("lineshaft", engine=engine, n_jobs=2):
        results = Parallel(return_as="generator")(delayed(enter_and_wait)(each, leave) for each in entered)
        eventually(lambda: sum(each.is_set() for each in entered) >= 2, "two run")
        # A third would be running by the time that a fourth worker has started and ended something else.
        engine.submit(where).result()
        assert sum(each.is_set() for each in entered) == 2
        leave.set()
        assert len(list(results)) == 4


@pytest.mark.parametrize("return_as", RETURN_AS)
def test_the_first_error_ends_the_call_and_the_next_one_works(return_as):
    with parallel(return_as=return_as) as pool:
        for _ in range(3):
            with pytest.raises(ValueError, match="at 5") as caught:
                list(pool(delayed(fail_at)(5, x) for x in range(30)))
            if return_as == "list":
                assert "in fail_at" in str(caught.value.__cause__)
            assert sorted(pool(delayed(square)(x) for x in range(5))) == [0, 1, 4, 9, 16]


def test_an_error_stops_what_runs_and_nothing_of_others(event):
    entered, leave, never = event("entered"), event("leave"), event("never")
    other = ls.submit(wait_for, leave, "done")
    calls = [delayed(enter_and_wait)(entered, never), *(delayed(fail_at)(0, 0) for _ in range(1))]
    with pytest.raises(ValueError, match="at 0"):
        parallel(n_jobs=3)(calls)
    leave.set()
    assert other.result() == "done"
    assert parallel()(delayed(square)(x) for x in range(3)) == [0, 1, 4]


@pytest.mark.parametrize("return_as", RETURN_AS)
def test_what_is_no_call(return_as):
    for wrong, error, match in ((3, TypeError, "cannot unpack non-iterable int"), ((abs,), ValueError, "expected 3")):
        with pytest.raises(error, match=match):
            list(parallel(return_as=return_as)([wrong] * 4))


@pytest.mark.parametrize("return_as", RETURN_AS)
@pytest.mark.parametrize("at", [0, 3, 40])
def test_an_error_of_the_input(return_as, at):
    def broken():
        for x in range(100):
            if x == at:
                raise KeyError("input")
            yield delayed(square)(x)

    with pytest.raises(KeyError, match="input"):
        list(parallel(return_as=return_as)(broken()))


@pytest.mark.parametrize("return_as", RETURN_AS)
@pytest.mark.parametrize("at", [0, 40])
def test_what_cannot_be_sent_is_named(return_as, at):
    calls = [delayed(str)(threading.Lock() if x == at else x) for x in range(50)]
    with pytest.raises(ls.errors.SerializationError, match="lock"):
        list(parallel(return_as=return_as, batch_size=1)(calls))


@pytest.mark.parametrize("return_as", RETURN_AS)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_what_cannot_be_sent_is_an_argument_of_the_users_call(return_as, batch_size):
    calls = [delayed(square)(1), delayed(append)([1], value={"a": (2, threading.Lock())}), delayed(square)(3)]
    with pytest.raises(ls.errors.SerializationError) as caught:
        list(parallel(return_as=return_as, batch_size=batch_size)(calls))
    assert str(caught.value) == (
        "cannot send argument 'value' of append() to a worker process: "
        "value['a'][1] is a _thread.lock, which cannot be pickled"
    )


@pytest.mark.parametrize("return_as", RETURN_AS)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_what_cannot_be_sent_back_is_part_of_one_result(return_as, batch_size):
    calls = [delayed(square)(1), delayed(make_lock)(), delayed(square)(3)]
    with pytest.raises(ls.errors.UnsendableResult, match=r"worker: result\['lock'\] is a _thread.lock"):
        list(parallel(return_as=return_as, batch_size=batch_size)(calls))


@pytest.mark.parametrize("return_as", RETURN_AS)
def test_a_result_that_takes_too_long(return_as, event):
    never = event("never")
    with pytest.raises((TimeoutError, joblib.parallel.TimeoutError)):
        list(parallel(return_as=return_as, timeout=0.2)(delayed(wait_for)(never) for _ in range(2)))
    # What hung has been stopped: the workers are free.
    assert parallel()(delayed(square)(x) for x in range(3)) == [0, 1, 4]


@pytest.mark.parametrize("return_as", RETURN_AS)
def test_threads_that_hang_hold_up_nobody(return_as, event):
    never = event("never")
    with pytest.raises((TimeoutError, joblib.parallel.TimeoutError)):
        list(
            parallel(require="sharedmem", return_as=return_as, timeout=0.2)(delayed(wait_for)(never) for _ in range(2))
        )
    for require in ("sharedmem", None):
        assert parallel(require=require)(delayed(square)(x) for x in range(3)) == [0, 1, 4]
    never.set()


def test_input_is_read_ahead_by_as_much_as_was_asked_for(event):
    gate = event("gate")
    read = []

    def calls():
        for x in range(20):
            read.append(x)
            yield delayed(wait_for)(gate, x)

    results = parallel(return_as="generator", pre_dispatch=3, batch_size=1)(calls())
    assert len(read) <= 4
    gate.set()
    assert list(results) == list(range(20))


def test_input_is_read_on_the_thread_of_the_caller():
    readers = set()

    def calls():
        for x in range(50):
            readers.add(threading.current_thread())
            yield delayed(square)(x)

    parallel()(calls())
    assert readers == {threading.current_thread()}


def test_results_come_while_the_caller_is_busy_elsewhere(event):
    events = [event(str(x)) for x in range(10)]
    results = parallel(return_as="generator", batch_size=1)(delayed(each.set)() for each in events)
    eventually(lambda: all(each.is_set() for each in events), "all have run though nobody asked for a result")
    assert list(results) == [None] * 10


def test_unordered_results_overtake(event):
    gate = event("gate")
    calls = [delayed(wait_for)(gate, -1), *(delayed(square)(x) for x in range(8))]
    results = parallel(return_as="generator_unordered", batch_size=1)(calls)
    assert sorted(next(results) for _ in range(8)) == [x * x for x in range(8)]
    gate.set()
    assert list(results) == [-1]


def test_unordered_results_overtake_on_a_thread_that_python_did_not_start(event):
    errors = SimpleQueue()

    def call():
        try:
            test_unordered_results_overtake(event)
        except BaseException as error:
            errors.put(error)
        else:
            errors.put(None)

    _thread.start_new_thread(call, ())
    assert errors.get(timeout=PATIENCE_S) is None


def test_one_call_reads_the_results_of_another():
    first = parallel(return_as="generator")(delayed(square)(x) for x in range(30))
    second = parallel(return_as="generator")(delayed(square)(x) for x in first)
    assert parallel()(delayed(square)(x) for x in second) == [x**8 for x in range(30)]


def test_a_generator_that_is_dropped_stops_its_calls(event):
    entered, never = event("entered"), event("never")
    results = parallel(return_as="generator")(delayed(enter_and_wait)(entered, never) for _ in range(10))
    entered.wait()
    gone = weakref.ref(results)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        del results
        gc.collect()
    assert gone() is None
    assert "cancelled" in str(told[0].message)
    assert parallel()(delayed(square)(x) for x in range(3)) == [0, 1, 4]


def test_from_several_threads_at_a_time():
    found = {}

    def call(n):
        found[n] = parallel()(delayed(square)(x) for x in range(n, n + 40))

    threads = [threading.Thread(target=call, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: [x * x for x in range(n, n + 40)] for n in range(4)}


def test_messages(capsys):
    parallel(verbose=100)(delayed(square)(x) for x in range(10))
    out = capsys.readouterr().out
    assert "Using backend LineshaftBackend with 2 concurrent workers." in out
    assert "Done  10 out of  10" in out


def test_batches_grow_when_calls_are_short():
    with parallel() as pool:
        pool(delayed(square)(x) for x in range(5_000))
        assert pool._backend.compute_batch_size() > 10
    with parallel(require="sharedmem") as pool:
        pool(delayed(square)(x) for x in range(1_000))
        assert pool._backend.compute_batch_size() == 1


def test_an_engine_of_ones_own():
    with ls.Engine(workers=2) as engine:
        with parallel_config("lineshaft", engine=engine, n_jobs=2):
            pids = set(Parallel()(delayed(where)() for _ in range(10)))
            assert Parallel()(delayed(inner)(2, 5) for _ in range(2)) == [[0, 1, 4, 9, 16]] * 2
        assert pids <= {pid for _, pid in engine._native.stats()["workers"]}


def test_summaries_name_the_function():
    parallel()(delayed(square)(x) for x in range(10))
    names = {group["name"] for group in ls.default_engine_stats()["groups"]}
    assert "square" in names


def test_threads_are_the_engines():
    names = parallel(require="sharedmem")(delayed(thread_name)() for _ in range(10))
    assert all(name != threading.current_thread().name for name in names)


def test_threads_are_kept_for_a_few_numbers_of_jobs(engine):
    def count():
        return len(list(Path("/proc/self/task").iterdir()))

    def call_on_threads(n_jobs):
        assert parallel(n_jobs=n_jobs, require="sharedmem")(delayed(square)(x) for x in range(40))

    call_on_threads(2)
    before = count()
    for n_jobs in range(3, 13):
        call_on_threads(n_jobs)
    assert count() > before
    eventually(lambda: count() <= before + 12 + 11 + 10 + 9, "threads of all but the last calls have ended")


def test_processes_are_kept_for_the_last_number_of_jobs(engine):
    def pids(n_jobs):
        return set(parallel(n_jobs=n_jobs, batch_size=1)(delayed(where)() for _ in range(20)))

    first = pids(4)
    assert pids(4) & first
    assert not pids(5) & first
    eventually(lambda: len(engine._native.stats()["workers"]) <= 2 + 5, "those for four jobs have ended")


def test_several_calls_share_the_processes_of_their_number(engine):
    with parallel(n_jobs=4, batch_size=1) as one, parallel(n_jobs=4, batch_size=1) as other:
        for each in (one, other):
            each(delayed(where)() for _ in range(20))
        assert len(engine._native.stats()["workers"]) <= 4
    assert len(parallel(n_jobs=4)(delayed(square)(x) for x in range(4))) == 4


def test_interrupting_ends_at_once(event):
    """A signal handler that raises reaches the caller while it waits."""
    import signal

    entered, never = event("entered"), event("never")

    class StoppedError(Exception):
        pass

    def stop(*_):
        raise StoppedError

    before = signal.signal(signal.SIGALRM, stop)
    try:
        threading.Thread(target=lambda: (entered.wait(), signal.raise_signal(signal.SIGALRM))).start()
        began = time.monotonic()
        with pytest.raises(StoppedError):
            parallel()(delayed(enter_and_wait)(entered, never) for _ in range(2))
        assert time.monotonic() - began < 20
    finally:
        signal.signal(signal.SIGALRM, before)


def test_functions_are_not_kept_until_the_call_ends():
    alive, most = weakref.WeakSet(), 0

    def calls():
        nonlocal most
        for number in range(200):
            function = lambda x, number=number: x + number  # noqa: E731 - each is a function of its own
            alive.add(function)
            yield delayed(function)(1)
            gc.collect()
            most = max(most, len(alive))

    assert parallel(batch_size=1)(calls()) == list(range(1, 201))
    assert most < 100


def at_the_same_time(folder, number):
    """Return how many long calls run while this one does."""
    if number < 400:
        return 0
    (folder / str(number)).touch()
    time.sleep(0.05)
    running = len(list(folder.iterdir()))
    (folder / str(number)).unlink()
    return running


def test_long_calls_after_short_ones_run_on_all_workers(tmp_path):
    counts = parallel(n_jobs=4, batch_size=1)(delayed(at_the_same_time)(tmp_path, n) for n in range(460))
    assert max(counts) == 4


class SlowToSend:
    def __init__(self, started=None):
        self.started = started

    def __reduce__(self):
        if self.started is not None:
            self.started.set()
            time.sleep(0.5)  # the call is dropped meanwhile
        return SlowToSend, ()


def end_late(folder, number, _):
    if number == 0:
        return
    FileEvent(folder / "begun").set()
    time.sleep(2)
    FileEvent(folder / "ended").set()


@pytest.mark.filterwarnings("ignore:.*tasks which were still being processed:UserWarning")
def test_a_batch_that_is_being_sent_while_the_call_is_dropped_does_not_go_on(tmp_path):
    started = threading.Event()
    arguments = [SlowToSend(), SlowToSend(), SlowToSend(started)]
    calls = (delayed(end_late)(tmp_path, number and number - 1, it) for number, it in enumerate(arguments))
    results = parallel(return_as="generator", batch_size=1, pre_dispatch=2)(calls)
    next(results)
    started.wait(20)
    results.close()
    ls.default_engine()._pool("processes", 2).wait_idle()
    assert not FileEvent(tmp_path / "ended").is_set()


limit = 3


def test_local_functions_find_the_globals_of_their_module_as_they_are(monkeypatch):
    def check(x):
        assert x < limit, "too big"  # pytest has made this look up a global of its own
        return x

    def check_all(count):
        return parallel(batch_size=1)(delayed(check)(x) for x in range(count))

    assert check_all(3) == [0, 1, 2]
    with pytest.raises(AssertionError, match="too big"):
        check_all(4)
    monkeypatch.setitem(globals(), "limit", 10)
    assert check_all(4) == [0, 1, 2, 3]


@pytest.mark.parametrize("pre_dispatch", ["all", "2 * n_jobs"])
def test_batches_that_travel_together_are_those_that_were_dispatched(pre_dispatch, monkeypatch):
    monkeypatch.setattr(waiting, "LONG_S", 100.0)
    monkeypatch.setattr(waiting, "GROUP_S", 1e4)

    def look(found=(0,)):
        return limit, found[0]

    def change():
        found = [0]
        for n in range(60):
            monkeypatch.setitem(globals(), "limit", n // 10)
            found[0] = n
            yield delayed(look)(found) if n % 20 >= 10 else delayed(look)()

    expected = [(n // 10, n | 1 if n % 20 >= 10 else 0) for n in range(60)]
    assert parallel(batch_size=1, pre_dispatch=pre_dispatch)(change()) == expected
