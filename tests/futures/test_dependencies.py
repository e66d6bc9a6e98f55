"""Futures as arguments: the call starts when they are done, with their results in their places."""

import collections
import dataclasses
import os
import threading

import numpy as np
import pytest

import lineshaft as ls

Pair = collections.namedtuple("Pair", "left right")


@dataclasses.dataclass
class Box:
    content: object


def fail(text: str) -> None:
    raise LookupError(text)


def show(*args: object, **options: object) -> tuple[object, object]:
    return args, options


def is_future(value: object) -> bool:
    return isinstance(value, ls.Future)


def describe(values: list[object], cls: type) -> object:
    (value,) = values
    if callable(value):
        return value()
    return isinstance(value, cls), str(value)


@pytest.fixture(params=["processes", "threads"])
def submit(request):
    """Submit to worker processes, or to threads of this process."""
    if request.param == "processes":
        return ls.submit
    return lambda function, *args, **options: ls.task(function, threads=True).submit(*args, **options)


def test_as_an_argument(submit):
    assert submit(abs, submit(pow, -2, 3)).result() == 8
    assert submit(show, submit(pow, 2, 2), key=submit(pow, 2, 3)).result() == ((4,), {"key": 8})


def test_in_containers(submit):
    future = submit(pow, 2, 3)
    nested = [future, (1, future), {"key": [future]}, Pair(future, 2)]
    assert submit(show, nested).result() == (([8, (1, 8), {"key": [8]}, Pair(8, 2)],), {})


def test_the_error_of_a_thread_goes_to_tasks_in_worker_processes():
    failed = ls.task(fail, threads=True).submit("on a thread")
    assert isinstance(failed.exception(), LookupError)
    with pytest.raises(LookupError, match="on a thread"):
        ls.submit(show, [failed]).result()


class Tags(list):
    """A list with an attribute."""


def test_containers_without_a_future_are_handed_to_threads_as_they_are():
    future, log, counts, cycle = ls.submit(pow, 2, 3), [], collections.defaultdict(list), []
    cycle.append(cycle)

    def note(log, options, value, *rest):
        log.append(value)
        options["counts"]["new"].append(value)

    ls.task(note, threads=True).submit(log, {"counts": counts}, future, cycle).result()
    assert (log, counts) == ([8], {"new": [8]})


def test_containers_with_a_future_keep_their_type_on_threads():
    future, inner, tags = ls.submit(pow, 2, 3), [1], Tags()
    tags.color = "red"
    tags.append(future)
    values = [collections.defaultdict(list, a=future, b=inner), collections.OrderedDict(a=future), {future}, tags]
    by_default, ordered, as_set, tagged = ls.task(lambda *args: args, threads=True).submit(*values).result()
    assert (by_default["a"], by_default["new"], by_default["b"] is inner) == (8, [], True)
    assert (type(ordered), ordered, as_set) == (collections.OrderedDict, {"a": 8}, {8})
    assert (type(tagged), tagged, tagged.color) == (Tags, [8], "red")
    assert (values[0]["a"], tags[0]) == (future, future)


def test_in_objects():
    assert ls.submit(show, Box([ls.submit(pow, 2, 3)])).result() == ((Box([8]),), {})


def test_a_tree(submit):
    level = [submit(pow, 2, n) for n in range(16)]
    while len(level) > 1:
        level = [submit(sum, [level[n], level[n + 1]]) for n in range(0, len(level), 2)]
    assert level[0].result() == 2**16 - 1


def test_a_long_chain(submit):
    future = submit(pow, 2, 0)
    for _ in range(500):
        future = submit(sum, [future, 1])
    assert future.result(60) == 501


def test_the_same_future_for_many(submit):
    first = submit(pow, 2, 3)
    assert [submit(sum, [first, n]).result() for n in range(20)] == [8 + n for n in range(20)]


def test_it_waits(event):
    leave = event("leave")
    first = ls.submit(leave.wait)
    second = ls.submit(is_future, first)
    assert not second.done()
    leave.set()
    assert second.result() is False


def test_a_failed_dependency(submit):
    failed = submit(fail, "first")
    second = submit(show, [failed])
    third = submit(show, second)
    for future in (second, third):
        with pytest.raises(LookupError, match="first"):
            future.result(30)
    late = submit(show, failed)
    assert isinstance(late.exception(30), LookupError)


def test_a_failed_dependency_is_not_tried_again():
    failed = ls.submit(fail, "first")
    for where in ("threads", "processes"):
        patient = ls.task(show, retries=3, backoff=3600, **{where: True})
        assert isinstance(patient.submit([failed]).exception(60), LookupError)


def test_a_future_of_another_engine(event):
    leave = event("leave")
    with ls.Engine(workers=1) as other:
        foreign = other.submit(leave.wait)
        here = ls.task(show, threads=True).submit(foreign)
        refused = ls.submit(show, [foreign])
        with pytest.raises(TypeError, match=r"belongs to another engine.*result\(\)"):
            refused.result(60)
        assert not here.done()
        leave.set()
        assert here.result(60) == ((foreign.result(60),), {}), "a thread just waits for it"


def test_between_threads_and_processes():
    here = ls.task(lambda x: (x, os.getpid()), threads=True)
    there = ls.task(lambda x: (x, os.getpid()))
    value, pid = here.submit(there.submit(1)).result(30)
    assert value[0] == 1
    assert pid == os.getpid() != value[1]
    value, pid = there.submit(here.submit(2)).result(30)
    assert value == (2, os.getpid())
    assert pid != os.getpid()


def test_executors_too(processes):
    assert processes.submit(sum, [processes.submit(pow, 2, 2), processes.submit(pow, 2, 3)]).result() == 12
    assert processes.submit(abs, ls.submit(pow, -2, 3)).result() == 8


def test_the_result_of_a_thread_goes_along_by_value(threads):
    value = threads.submit(list, "ab")
    value.result()
    assert ls.submit(show, value).result() == ((["a", "b"],), {})


@pytest.mark.parametrize(
    "value", [[1, 2], Box("content"), np.arange(1_000_000), lambda: 5], ids=lambda v: type(v).__name__
)
def test_processes_wait_for_what_a_thread_has_not_returned_yet(event, value):
    leave = event("leave")
    here = ls.task(lambda: leave.wait() and value, threads=True).submit()
    there = ls.submit(describe, [here], cls=type(value))
    assert not there.done(), "submitting does not wait"
    leave.set()
    assert there.result(60) == describe([value], type(value))
    assert here.result() is value
    assert ls.submit(describe, [here], cls=type(value)).result(60) == describe([value], type(value))


def test_coroutines_too():
    async def double(x: int) -> int:
        return 2 * x

    assert ls.submit(abs, ls.submit(double, ls.submit(double, -2))).result(60) == 8


def test_a_thread_s_result_that_cannot_be_sent(event):
    leave = event("leave")
    here = ls.task(lambda: leave.wait() and threading.Lock(), threads=True).submit()
    there = ls.submit(show, here)
    leave.set()
    with pytest.raises(
        ls.errors.SerializationError, match=r"result of another task.*_thread.lock, which cannot be pickled"
    ):
        there.result(60)
    assert here.result().acquire()


def test_many_threads_submit():
    results: list[int] = []

    def submit_some() -> None:
        results.append(ls.submit(sum, [ls.submit(pow, 2, n) for n in range(5)]).result(30))

    submitting = [threading.Thread(target=submit_some) for _ in range(8)]
    for thread in submitting:
        thread.start()
    for thread in submitting:
        thread.join(60)
    assert results == [31] * 8
