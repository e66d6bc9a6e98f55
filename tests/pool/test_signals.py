"""What a signal handler of the program raises while it waits for a result is the program's."""

import signal
import threading

import pytest
from tests.events import PATIENCE_S, enter_and_wait

from lineshaft.pool.feed import Feed

WAITS = {
    "map": lambda pool, call, events: pool.map(call, [events]),
    "apply": lambda pool, call, events: pool.apply(call, (events,)),
    "get": lambda pool, call, events: pool.apply_async(call, (events,)).get(60),
    "wait": lambda pool, call, events: pool.apply_async(call, (events,)).wait(),
    "imap": lambda pool, call, events: next(pool.imap(call, [events])),
    "imap next": lambda pool, call, events: pool.imap_unordered(call, iter([events])).next(60),
}


class TooSlowError(TimeoutError):
    """As many a program raises by `signal.alarm`."""


def stay(events):
    return enter_and_wait(*events)


@pytest.fixture
def alarm():
    """Return a function after which a signal handler raises soon after an event.

    Not before it, because what a handler raises while workers are forked may be lost: hooks of others run then.
    """

    def interrupt(*_):
        raise TooSlowError("too slow")

    def set_after(event):
        event.wait()
        signal.setitimer(signal.ITIMER_REAL, 0.05)

    before = signal.signal(signal.SIGALRM, interrupt)
    setters = []

    def alarm(event):
        setters.append(threading.Thread(target=set_after, args=(event,)))
        setters[-1].start()

    yield alarm
    for setter in setters:
        setter.join()
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("how", WAITS)
def test_a_timeout_of_the_programs_own(pool, how, alarm, event):
    entered, leave = event("entered"), event("leave")
    alarm(entered)
    try:
        with pytest.raises(TooSlowError, match="too slow"):
            WAITS[how](pool, stay, (entered, leave))
    finally:
        leave.set()


@pytest.mark.parametrize("timeout", [None, 60])
def test_an_iteration_goes_on_after_it(pool, timeout, alarm, event):
    entered, leave = event("entered"), event("leave")
    results = pool.imap(stay, [(entered, leave)])
    alarm(entered)
    with pytest.raises(TooSlowError):
        results.next(timeout)
    leave.set()
    assert list(results) == ["left"]


@pytest.mark.parametrize("make", [list, iter])
def test_an_iteration_in_order_of_completion_loses_nothing_by_it(pool, make, event):
    entered, leave = event("entered"), event("leave")

    def interrupt(_, frame):
        # While it waits for what is done, and nowhere else: the timer asks again.
        while frame is not None and frame.f_code is not Feed.take.__code__:
            frame = frame.f_back
        if frame is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise TooSlowError

    results = pool.imap_unordered(stay, make([(entered, leave)] * 3))
    entered.wait()
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    try:
        with pytest.raises(TooSlowError):
            next(results)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        leave.set()
    assert list(results) == ["left"] * 3


def test_a_pool_is_terminated_in_the_middle_of_a_step():
    class Interrupted(Feed):
        """As if a signal handler terminated the pool while a consumer looks how much room there is."""

        looks = False

        def _room(self):
            if self.looks:
                self.abort()
            return super()._room()

    feed = Interrupted(lambda item: None, range(10_000), ordered=True, workers=1, on_end=lambda feed: None)
    feed.looks = True
    # It ends even if the step does not, for whom the test is to fail.
    consumer = threading.Thread(target=feed.take, args=(None,), daemon=True)
    consumer.start()
    consumer.join(PATIENCE_S)
    assert not consumer.is_alive()
    assert feed.aborted
    feed.check_invariants()
