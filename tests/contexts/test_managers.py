"""Managers of `multiprocessing` take the workers for processes of the program, as those of its own pools."""

import pytest

FIRST_CALL = "assert ls.submit(pow, 2, 3).result() == 8"
MANAGER = "import multiprocessing; manager = multiprocessing.Manager()"


@pytest.mark.parametrize("steps", [(MANAGER, FIRST_CALL), (FIRST_CALL, MANAGER)], ids=["before", "after"])
def test_a_manager_made_before_or_after_the_workers(steps, script):
    out = script(f"""
        import lineshaft as ls
        {steps[0]}
        {steps[1]}
        shared, queue = manager.list(), manager.Queue()
        def work(number):
            shared.append(number)
            queue.put(number)
        list(ls.map(work, range(5)))
        print(sorted(shared), sorted(queue.get() for _ in range(5)))
    """)
    assert out == f"{list(range(5))} {list(range(5))}\n"
