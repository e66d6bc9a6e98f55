"""A worker that dies costs the batch it ran: it runs again if something else killed it, or is the error."""

import os
import pickle
import signal

import pytest
from joblib.externals.loky.process_executor import TerminatedWorkerError
from tests.joblib.calls import die, square

import lineshaft as ls
from joblib import Parallel, delayed, parallel_config

RETURN_AS = ["list", "generator", "generator_unordered"]
BY_ITSELF = [signal.SIGSEGV, signal.SIGABRT]


pytestmark = pytest.mark.usefixtures("engine")


def calls(how, mark=None, count=40, at=17):
    return [delayed(die)(how, mark, at) if x == at else delayed(square)(x) for x in range(count)]


def expected(count=40, at=17):
    return [at if x == at else x * x for x in range(count)]


@pytest.mark.parametrize("options", [{}, {"batch_size": 1}, {"batch_size": 10}], ids=str)
@pytest.mark.parametrize("return_as", RETURN_AS)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_killed_from_outside_once(how, return_as, options, tmp_path):
    results = Parallel(2, "lineshaft", return_as, **options)(calls(how, tmp_path / "mark"))
    assert sorted(results) == sorted(expected())
    assert ls.default_engine_stats()["worker_deaths"] == 1


@pytest.mark.parametrize("return_as", RETURN_AS)
def test_killed_every_time(return_as):
    with pytest.raises(ls.errors.WorkerDied, match="while running 'die': killed by SIGKILL") as caught:
        list(Parallel(2, "lineshaft", return_as, batch_size=1)(calls(signal.SIGKILL)))
    assert caught.value.signal == signal.SIGKILL
    assert ls.default_engine_stats()["worker_deaths"] == 2
    assert Parallel(2, "lineshaft")(delayed(square)(x) for x in range(3)) == [0, 1, 4]


@pytest.mark.parametrize("return_as", RETURN_AS)
@pytest.mark.parametrize("how", BY_ITSELF)
def test_died_of_what_it_ran(how, return_as, tmp_path):
    with pytest.raises(ls.errors.WorkerDied, match=f"while running 'die': killed by {how.name}") as caught:
        list(Parallel(2, "lineshaft", return_as, batch_size=1)(calls(how, tmp_path / "mark")))
    assert "in die" in caught.value.stack
    assert ls.default_engine_stats()["worker_deaths"] == 1


@pytest.mark.parametrize("return_as", RETURN_AS)
def test_programs_may_catch_what_joblibs_own_backend_raises(return_as):
    with pytest.raises(TerminatedWorkerError, match="while running 'die'") as caught:
        list(Parallel(2, "lineshaft", return_as, batch_size=1)(calls(signal.SIGSEGV)))
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy)) == (type(caught.value), str(caught.value))


@pytest.mark.parametrize("return_as", RETURN_AS)
def test_an_initializer_that_raises_is_caught_as_joblibs_own_backend_raises_it(return_as):
    with pytest.raises(TerminatedWorkerError, match="the initializer") as caught:
        list(Parallel(2, "lineshaft", return_as, initializer=int, initargs=("none",))(delayed(square)(x) for x in "ab"))
    assert isinstance(caught.value.__cause__, ValueError)


def test_how_often_is_the_users_choice(tmp_path):
    with parallel_config("lineshaft", n_jobs=2, retries=0), pytest.raises(ls.errors.WorkerDied):
        Parallel()(calls(signal.SIGKILL, tmp_path / "mark"))


def test_the_callback_is_called_once_for_each_batch(tmp_path):
    dispatched = Parallel(2, "lineshaft", batch_size=1)
    assert dispatched(calls(signal.SIGKILL, tmp_path / "mark")) == expected()
    assert dispatched.n_completed_tasks == dispatched.n_dispatched_tasks == 40


def nested(mark):
    return Parallel(2)(calls(signal.SIGKILL, mark, count=8, at=3)), os.getpid()


def test_in_a_nested_call(tmp_path):
    # Whoever of the two runs it dies; if that is the one that called `Parallel`, all of that call runs again.
    found = Parallel(2, "lineshaft")(delayed(nested)(tmp_path / f"mark-{n}") for n in range(2))
    assert [results for results, _ in found] == [expected(8, 3)] * 2


def test_a_call_that_fails_has_failed_and_none_of_its_workers_has_died(tmp_path):
    def fail_or_stay(number):
        if number:
            raise ValueError(number)
        (tmp_path / "began").touch()
        while True:
            pass

    def fail_later(number):
        while not (tmp_path / "began").exists():
            pass
        return fail_or_stay(number)

    with pytest.raises(ValueError, match="1"):
        Parallel(2, "lineshaft", batch_size=1)([delayed(fail_or_stay)(0), delayed(fail_later)(1)])
    ls.default_engine().shutdown()
    stats = ls.default_engine_stats()
    assert (stats["failed"], stats["worker_deaths"]) == (1, 0)


def die_once_changed(changed, given):
    changed.wait()
    return die(signal.SIGKILL, *given)


@pytest.mark.parametrize("return_as", RETURN_AS)
def test_what_runs_again_is_what_was_dispatched(return_as, tmp_path, event):
    given, changed = [tmp_path / "mark", "dispatched"], event("changed")

    def calls():
        yield delayed(die_once_changed)(changed, given)
        yield delayed(str)("first")
        given[1] = "changed"
        changed.set()
        yield delayed(str)("last")

    results = Parallel(2, "lineshaft", return_as, batch_size=1, pre_dispatch=2)(calls())
    assert sorted(results) == ["dispatched", "first", "last"]
    assert ls.default_engine_stats()["worker_deaths"] == 1
