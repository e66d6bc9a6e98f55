"""A task may end before the calls that it made: a worker that reads their answers misses none of its own tasks."""

import lineshaft as ls


def leave_behind(n):
    """Make nested calls with callbacks and do not wait for them."""
    for _ in range(3):
        ls.submit(abs, n).add_done_callback(lambda future: None)
    return n


def test_tasks_that_end_before_their_calls():
    with ls.Engine(workers=2) as engine:
        for _ in range(30):
            assert [engine.submit(leave_behind, n).result(60) for n in range(10)] == list(range(10))
