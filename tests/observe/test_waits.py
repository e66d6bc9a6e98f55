"""However a call waits for other tasks, in threads, coroutines and worker processes: its run is the rest."""

import asyncio
import concurrent.futures
import contextlib
import time

import pytest
from tests.events import eventually
from tests.observe.test_metrics import parse

import lineshaft as ls


def submit(event):
    return ls.task(event.wait, processes=True).submit()


def by_result(event):
    return submit(event).result()


def by_wait(event):
    done, _ = concurrent.futures.wait([submit(event), submit(event)])
    return all(future.result() for future in done)


def by_as_completed(event):
    return all(future.result() for future in concurrent.futures.as_completed([submit(event), submit(event)]))


def by_imap_unordered(event):
    with ls.Pool(2) as pool:
        return all(pool.imap_unordered(wait_for, [event, event]))


def wait_for(event):
    return event.wait()


def by_our_as_completed(event):
    return all(future.result() for future in ls.as_completed([submit(event), submit(event)]))


async def by_await(event):
    return await submit(event)


async def by_gather(event):
    return all(await asyncio.gather(submit(event), submit(event)))


async def by_wrap_future(event):
    return await asyncio.wrap_future(submit(event))


async def by_run_in_executor(event):
    with ls.ProcessPoolExecutor(1) as executor:
        return await asyncio.get_running_loop().run_in_executor(executor, event.wait)


ORDINARY = [by_result, by_wait, by_as_completed, by_our_as_completed, by_imap_unordered]
COROUTINES = [by_await, by_gather, by_wrap_future, by_run_in_executor]


def in_a_loop(coroutine):
    def call(*args):
        return asyncio.run(coroutine(*args))

    call.__name__ = call.__qualname__ = f"{coroutine.__name__}_in_a_loop"
    return call


async def in_turn(call, event):
    await asyncio.sleep(0)
    return call(event)


def blocked(engine):
    return parse(engine.metrics())[0]["lineshaft_tasks", "blocked"]


def times(engine, name):
    """Return how long calls of a function ran, and how long they waited."""
    values, _ = parse(engine.metrics())
    (of,) = [of for metric, of in values if metric == "lineshaft_group_wait_seconds_total" and of.endswith(name)]
    return values["lineshaft_group_run_seconds_total", of], values["lineshaft_group_wait_seconds_total", of]


WAYS = [
    *[(call, {"threads": True}) for call in [*ORDINARY, *map(in_a_loop, COROUTINES)]],
    *[(call, {"processes": True}) for call in [*ORDINARY, *COROUTINES]],
    *[(call, {}) for call in COROUTINES],
]


def check(engine, call, options, event, arguments=()):
    go_on = event("go on")
    begun = time.monotonic()
    waits = ls.task(call, engine=engine, **options).submit(*arguments, go_on)
    eventually(lambda: blocked(engine) > 0, "it waits")
    since = time.monotonic()
    time.sleep(0.2)  # what it waits
    waited_s = time.monotonic() - since
    go_on.set()
    assert waits.result()
    took_s = time.monotonic() - begun
    ran_s, known_s = times(engine, call.__name__)
    assert waited_s <= known_s <= took_s
    assert ran_s <= took_s - waited_s


@pytest.mark.parametrize(("call", "options"), WAYS)
def test_what_it_waits_is_no_part_of_its_run(call, options, event):
    with ls.Engine(workers=2) as engine:
        check(engine, call, options, event)


@pytest.mark.parametrize("call", ORDINARY)
def test_nor_in_a_coroutine_that_blocks_its_loop(call, event):
    with ls.Engine(workers=2) as engine:
        check(engine, in_turn, {}, event, (call,))


class Computing:
    """Tells when it has begun, and computes until it is told to stop."""

    def __init__(self, event):
        self.has_begun, self.may_stop = event("has begun"), event("may stop")

    def __call__(self):
        self.has_begun.set()
        while not self.may_stop.is_set():
            pass


def between_results(go_on, compute):
    ended = ls.submit(abs, -1)
    ended.result()
    for future in concurrent.futures.as_completed([ended, submit(go_on)]):
        if future is ended:
            compute()
    return True


def between_our_results(go_on, compute):
    ended = ls.submit(abs, -1)
    ended.result()
    for future in ls.as_completed([ended, submit(go_on)]):
        if future is ended:
            compute()
    return True


def after_a_look(go_on, compute):
    future = submit(go_on)
    concurrent.futures.wait([future], timeout=0.001)
    compute()
    return future.result()


async def before_it_awaits(go_on, compute):
    future = asyncio.wrap_future(submit(go_on))
    await asyncio.sleep(0.001)
    compute()
    return await future


async def after_it_has_given_up(go_on, compute):
    future = submit(go_on)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.wrap_future(future), 0.001)
    compute()
    return True


async def beside_what_awaits(go_on, compute):
    task = asyncio.create_task(by_wrap_future(go_on))
    await asyncio.sleep(0.001)
    compute()
    return await task


LOOKING = [between_results, between_our_results, after_a_look]
AWAITING = [before_it_awaits, after_it_has_given_up, beside_what_awaits]


@pytest.mark.parametrize(
    ("call", "options"),
    [
        *[(call, {"threads": True}) for call in [*LOOKING, *map(in_a_loop, AWAITING)]],
        *[(call, {"processes": True}) for call in [*LOOKING, *AWAITING]],
        *[(call, {}) for call in AWAITING],
    ],
)
def test_what_it_computes_while_others_run_is_its_run(call, options, event):
    go_on, compute = event("go on"), Computing(event)
    with ls.Engine(workers=2) as engine:
        future = ls.task(call, engine=engine, **options).submit(go_on, compute)
        assert compute.has_begun.wait(60)
        eventually(lambda: blocked(engine) == 0, "it does not wait")
        since = time.monotonic()
        time.sleep(0.1)  # what it computes
        computed_s = time.monotonic() - since
        compute.may_stop.set()
        eventually(lambda: blocked(engine) > 0 or future.done(), "it waits")
        go_on.set()
        assert future.result()
        ran_s, _ = times(engine, call.__name__)
    assert ran_s >= computed_s


def test_it_keeps_its_place_unless_what_it_waits_for_needs_it(event):
    go_on, begun = event("go on"), []

    def wait_for_a_process():
        concurrent.futures.wait([engine.submit(go_on.wait)])
        begun.append("first")

    with ls.Engine(workers=2) as engine, ls.ThreadPoolExecutor(1, _engine=engine) as executor:
        first = executor.submit(wait_for_a_process)
        second = executor.submit(begun.append, "second")
        eventually(lambda: blocked(engine) > 0, "the first waits")
        go_on.set()
        assert (first.result(), second.result()) == (None, None)
        assert begun == ["first", "second"]
        inner = executor.submit(lambda: concurrent.futures.wait([executor.submit(abs, -1)]).done.pop().result())
        assert inner.result(60) == 1
