"""Threads that sleep are told from those that compute, or would."""

import threading
import time

import pytest
from tests.events import eventually

from lineshaft.joblib.asleep import LOOK_S, QUIET_S, Seen, has_slept, look_after


def compute(stop):
    while not stop.is_set():
        sum(range(1000))


def wait(stop):
    stop.wait()


def poll(stop):
    while not stop.is_set():
        time.sleep(0.005)


@pytest.fixture
def seen_of():
    """Run a function on a thread until the test has ended; return what is seen of the thread."""
    stop, threads = threading.Event(), []

    def start(function):
        seen = []
        thread = threading.Thread(target=lambda: (seen.append(Seen()), function(stop)))
        threads.append(thread)
        thread.start()
        return eventually(lambda: seen, "it is seen")[0]

    yield start
    stop.set()
    for thread in threads:
        thread.join()


def look(seen):
    time.sleep(LOOK_S)
    return seen.is_asleep()


@pytest.mark.parametrize("function", [wait, poll])
def test_who_waits_is_asleep(seen_of, function):
    seen = seen_of(function)
    eventually(lambda: look(seen), "it is asleep")


def test_who_computes_is_awake(seen_of):
    seen = seen_of(compute)
    until_s = time.monotonic() + 3 * QUIET_S
    while time.monotonic() < until_s:
        assert not look(seen)


def test_who_waits_for_the_interpreters_lock_is_awake(seen_of):
    many = [seen_of(compute) for _ in range(3)]
    looks = [[look(seen) for seen in many] for _ in range(50)]
    # One that is asleep would be so in every look; and here nobody is.
    assert not any(all(asleep) for asleep in looks)


def test_who_has_ended_is_not_asleep():
    seen = []
    thread = threading.Thread(target=lambda: seen.append(Seen()))
    thread.start()
    thread.join()
    assert not seen[0].is_asleep()


def stamp():
    return time.monotonic(), time.thread_time()


def test_a_call_that_slept_and_one_that_did_not():
    begun = stamp()
    threading.Event().wait(0.05)
    assert has_slept(*begun)
    begun = stamp()
    sum(range(1_000_000))
    assert not has_slept(*begun)


def test_one_look_that_fails_ends_no_other(capsys):
    looked = threading.Event()

    def fail():
        raise ValueError("of a look")

    look_after(fail)
    eventually(lambda: "of a look" in capsys.readouterr().err, "it is told")
    look_after(looked.set)
    assert looked.wait(20)
