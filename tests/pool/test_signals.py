"""What a signal handler of the program raises while it waits for a result is the program's."""

import signal

import pytest
from tests.events import enter_and_wait

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
    """Return a function after which a signal handler raises soon."""

    def interrupt(*_):
        raise TooSlowError("too slow")

    before = signal.signal(signal.SIGALRM, interrupt)
    yield lambda: signal.setitimer(signal.ITIMER_REAL, 0.05)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("how", WAITS)
def test_a_timeout_of_the_programs_own(pool, how, alarm, event):
    entered, leave = event("entered"), event("leave")
    alarm()
    try:
        with pytest.raises(TooSlowError, match="too slow"):
            WAITS[how](pool, stay, (entered, leave))
    finally:
        leave.set()


@pytest.mark.parametrize("timeout", [None, 60])
def test_an_iteration_goes_on_after_it(pool, timeout, alarm, event):
    entered, leave = event("entered"), event("leave")
    results = pool.imap(stay, [(entered, leave)])
    entered.wait()
    alarm()
    with pytest.raises(TooSlowError):
        results.next(timeout)
    leave.set()
    assert list(results) == ["left"]
