"""Named shared memory outlives the workers that use it, as it does the processes of the standard library's pools.

A script ends without a word on standard error: where there are several trackers, they warn of what others keep.
"""

from pathlib import Path

import pytest

CALLS = """
    import multiprocessing, os, sys
    from multiprocessing import shared_memory
    import lineshaft as ls

    def count(name):
        memory = shared_memory.SharedMemory(name)
        memory.buf[0] += 1
        memory.close()
        return os.getpid()

    def make(number):
        memory = shared_memory.SharedMemory(create=True, size=8)
        memory.buf[0] = number
        memory.close()
        return memory.name

    def take(name):
        memory = shared_memory.SharedMemory(name)
        value = memory.buf[0]
        memory.close()
        memory.unlink()
        return value
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_that_end_leave_it(method, script):
    out = script(f"""{CALLS}
    if __name__ == "__main__":
        name = make(0)
        context = multiprocessing.get_context("{method}")
        with ls.Pool(2, maxtasksperchild=1, context=context) as pool:
            assert len(set(pool.map(count, [name] * 4, chunksize=1))) == 4
            pool.close()
            pool.join()
        with ls.ProcessPoolExecutor(1, context) as executor:
            executor.submit(count, name).result()
        print(take(name))
    """)
    assert out == "5\n"


def test_all_workers_and_the_program_have_one_tracker(script):
    out = script("""
    import os
    import lineshaft as ls

    def tracker():
        from multiprocessing import resource_tracker
        return os.fstat(resource_tracker.getfd()).st_ino

    with ls.Engine(workers=1) as engine:
        first = engine.submit(tracker).result()
    print({first, ls.submit(tracker).result()} == {tracker()})
    """)
    assert out == "True\n"


def test_who_unlinks_it_need_not_be_who_made_it(script):
    out = script(f"""{CALLS}
    name = ls.submit(make, 1).result()
    with ls.Engine(workers=1) as engine:
        print(engine.submit(take, name).result())
    """)
    assert out == "1\n"


def test_a_process_that_a_task_spawns_leaves_it(script):
    out = script(f"""{CALLS}
    def spawn(name):
        process = multiprocessing.get_context("spawn").Process(target=count, args=(name,))
        process.start()
        process.join()

    if __name__ == "__main__":
        name = make(0)
        with ls.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
            executor.submit(spawn, name).result()
        print(take(name))
    """)
    assert out == "1\n"


def test_what_nobody_unlinks_goes_with_the_program(programs):
    programs.write({"script.py": f"{CALLS}\n    print(ls.submit(make, 1).result())\n"})
    out, err = programs.run("script.py")
    # The tracker holds standard error open until it has done that.
    assert not Path("/dev/shm", out.strip()).exists()
    assert "1 leaked shared_memory object" in err


def test_no_tracker_runs_unless_it_is_needed(script):
    out = script("""
    import lineshaft as ls

    def descriptor():
        from multiprocessing import resource_tracker
        return resource_tracker._resource_tracker._fd

    print(ls.submit(descriptor).result(), descriptor())
    """)
    assert out == "None None\n"
